"""A false alarm's part joins the reference set of its recipe: a person has called it good."""

from __future__ import annotations

from functools import partial
from typing import Any

from zeroline.edge_app.events import Event, EventName
from zeroline.edge_app.station.lines import CameraLine
from zeroline.edge_app.station.running import RunningStation
from zeroline.runtime.errors import ZerolineError
from zeroline.runtime.line.files import HeldPart
from zeroline.runtime.reference.written import add_frame


def join_reference(running: RunningStation, part: str, *, by: str) -> None:
    """Have a part's frames added to the reference sets of the recipes that run.

    The inspection takes them out of the window between two frames. What comes of it is told by
    the event `reference.changed`. The set is used from the next start on.
    """

    def look() -> None:
        for line in running.inspection.lines:
            found = line.inspector.held(part)
            running.recipes.later(partial(_add, running, line, part, found, by))

    running.inspection.between(look)


def _add(
    running: RunningStation, line: CameraLine, part: str, found: HeldPart | None, by: str
) -> None:
    """Add a frame to a set, and tell what came of it."""
    path, frames = line.settings.reference, 0
    if path is None:
        warning = f'the recipe "{line.recipe}" has no reference set'
    elif found is None:
        warning = "the window does not hold it whole any more"
    else:
        warning = ""
        try:
            frames = add_frame(path, found.tokens, found.frame)
        except ZerolineError as error:
            warning = str(error)
    text = f'part "{part}" has joined the reference set, which has {frames} frames now'
    if warning:
        text = f'part "{part}" joins no reference set: {warning}'
    data: dict[str, Any] = {
        "reference": None if path is None else str(path), "frames": frames, "left_out": [],
        "warning": warning, "by": by,
    }  # fmt: skip
    running.events(Event(EventName.REFERENCE_CHANGED, text, data, camera=line.camera, part=part))
