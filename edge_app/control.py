"""What a running station can be asked and told, by its local interface."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol

from zeroline.edge_app.captured import Captured
from zeroline.edge_app.errors import InputError
from zeroline.runtime.results import Inspection


class RefusedError(InputError):
    """Something that a station does not do now; the text says why.

    Attributes
    ----------
    kind : str
        `unknown` (there is no such thing), `busy` (a queue is full), `not_now` (the station stands
        in a way of it), `invalid`.
    """

    def __init__(self, text: str, *, kind: str = "not_now") -> None:
        super().__init__(text)
        self.kind = kind


class Answer(str, Enum):
    """What a person says of a part's verdict."""

    FALSE_ALARM = "false_alarm"
    RIGHTLY_NG = "rightly_ng"
    MISSED = "missed"
    NOTE = "note"


@dataclass(frozen=True)
class Health:
    """How a station is.

    Attributes
    ----------
    alive : bool
        Whether its threads work: a stage that hangs makes it False.
    ready : bool
        Whether the next part would get a verdict that is not FAULT for the station's own reasons.
    reasons : tuple of str
        Why not, in words.
    """

    alive: bool
    ready: bool
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Newest:
    """The newest frame of a camera, with its verdict.

    Attributes
    ----------
    number : int
        Rises with each frame.
    captured : Captured
    inspection : Inspection
    """

    number: int
    captured: Captured
    inspection: Inspection


class Control(Protocol):
    """A running station; every method may be called from any thread, and returns at once."""

    def state(self) -> dict[str, Any]:
        """Return what it is and how it is, as JSON.

        Station, run, cameras with their recipes, counts, triggers, outputs, store, paused, setup.
        """

    def health(self) -> Health:
        """Return how it is."""

    def trigger(
        self,
        name: str,
        *,
        part: str | None,
        lot: str | None,
        serial: str | None,
        recipe: str | None = None,
    ) -> str:
        """Ask for a part; return its id. With a recipe its cameras run that one from it on.

        Raises
        ------
        RefusedError
            `unknown`: no trigger, or no recipe, has that name; `busy`: its queue is full.
        """

    def feedback(
        self, part: str, answer: Answer, *, note: str, by: str, join: bool = False
    ) -> None:
        """Keep what a person says of a part; `join`: a false alarm joins the reference set.

        Raises
        ------
        RefusedError
            `unknown`: there is no such part.
        """

    def reset_operator(self, *, by: str) -> None:
        """Take all answers back that have moved thresholds.

        Raises
        ------
        RefusedError
            `not_now`: the operator's rule is off.
        """

    def switch(self, camera: str | None, recipe: str, *, by: str) -> None:
        """Let a camera, or all, run another recipe.

        Raises
        ------
        RefusedError
            `unknown`: there is no such camera or recipe; `invalid`: it cannot be run.
        """

    def pause(self, on: bool, *, by: str) -> None:
        """Stop inspecting, or go on; paused outputs stand safe."""

    def setup(self, on: bool, *, by: str) -> None:
        """Show live frames with outputs safe and nothing counted, or go on."""

    def newest(self, camera: str) -> Newest | None:
        """Return the newest frame of a camera; None before the first.

        Raises
        ------
        RefusedError
            `unknown`: there is no such camera.
        """
