"""Parts: what gets a verdict, from one or several cameras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zeroline.edge_app.captured import Captured
from zeroline.runtime.frames import CaptureTime
from zeroline.runtime.results import Inspection, Reason, Verdict

#: From the best verdict to the worst: a part has the worst one of its cameras.
ORDER = (Verdict.OK, Verdict.UNCERTAIN, Verdict.NG, Verdict.FAULT)


@dataclass(frozen=True)
class PartName:
    """What a part is called.

    Attributes
    ----------
    id : str
        Unique in a store.
    given : bool
        Whether its source or a trigger named it; else the station has numbered it.
    lot, serial : str or None
        As the trigger told them.
    """

    id: str
    given: bool = False
    lot: str | None = None
    serial: str | None = None


@dataclass(frozen=True)
class CameraView:
    """What one camera saw of a part, and what is said of it.

    Attributes
    ----------
    camera : str
        Its name.
    recipe : str
        Name of the recipe that it was judged by.
    recipe_version : str
        Hash of that recipe's full text, see `zeroline.edge_app.configuration.versions`.
    captured : Captured
        The frame, where one came.
    inspection : Inspection
        The verdict on it.
    bundle : str
        Name of the bundle; empty where no camera has looked.
    """

    camera: str
    recipe: str
    recipe_version: str
    captured: Captured
    inspection: Inspection
    bundle: str = ""


@dataclass(frozen=True)
class JudgedPart:
    """A part and its verdict.

    Attributes
    ----------
    name : PartName
    verdict : Verdict
        The worst one of its views, by `ORDER`; FAULT where a view is missing at the deadline.
    reason : Reason or None
        Why it is not OK.
    views : tuple of CameraView
        In the order of the station's cameras; those that are there.
    time : CaptureTime
        When its trigger or its first frame came.
    decided : float
        When the verdict was there, monotonic seconds.
    late : bool
        Whether the part was FAULT, reason `late`, before: its deadline had passed.
    """

    name: PartName
    verdict: Verdict
    reason: Reason | None
    views: tuple[CameraView, ...]
    time: CaptureTime
    decided: float
    late: bool = False

    @property
    def decisive(self) -> CameraView | None:
        """The view whose verdict the part has; None where there is none, or none has it."""
        return next((v for v in self.views if v.inspection.verdict is self.verdict), None)


def worst(views: Sequence[CameraView]) -> tuple[Verdict, Reason | None]:
    """Return the worst verdict of some views, and its reason; that of the first one counts."""
    view = max(views, key=lambda one: ORDER.index(one.inspection.verdict))
    return view.inspection.verdict, view.inspection.reason
