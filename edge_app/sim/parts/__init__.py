"""The parts that the line can show, each drawn in a module of its own."""

from zeroline.edge_app.sim.parts.connector import CONNECTOR
from zeroline.edge_app.sim.parts.part import Part
from zeroline.edge_app.sim.parts.plate import PLATE
from zeroline.edge_app.sim.parts.ring import RING

PARTS: dict[str, Part] = {"plate": PLATE, "ring": RING, "connector": CONNECTOR}
"""By the setting ``part``."""
