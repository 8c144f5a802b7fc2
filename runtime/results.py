"""What a line gets for each frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from zeroline.runtime.recurring.codegraph import Community


class Verdict(str, Enum):
    """What is said of a frame.

    Attributes
    ----------
    OK, NG
    UNCERTAIN
        Too few frames to compare with, or a score within the band round the threshold.
    FAULT
        The frame could not be scored.
    """

    OK = "OK"
    NG = "NG"
    UNCERTAIN = "UNCERTAIN"
    FAULT = "FAULT"


@dataclass(frozen=True)
class Revision:
    """A frame scored anew after later frames have come.

    Attributes
    ----------
    frame_id : int
    part_id : str or None
    raw_score, score : float
        Before and after RsCIN, against the window as it is now.
    verdict : Verdict
        NG where it was NG before; a later look may raise a verdict to NG, never clear one.
    first : Verdict
        What was said when the frame came.
    consistent : bool
        Whether the frame was found to have a recurring defect; its scores are then those against
        the frames without it.
    """

    frame_id: int
    part_id: str | None
    raw_score: float
    score: float
    verdict: Verdict
    first: Verdict
    consistent: bool = False


@dataclass(frozen=True)
class RecurringDefect:
    """A recurring defect: an alarm of its own, since it means that a tool is broken.

    Attributes
    ----------
    number : int
        From 1; the same defect keeps its number while a frame of the window has it.
    since : int
        The first frame known to have it.
    since_part : str or None
    frames : tuple of int
        Frames of the window that have it, ascending.
    share : float
        Their share of the window's frames from the first of them on.
    marks : array, shape (frames, P), bool
        Where they have it.
    """

    number: int
    since: int
    since_part: str | None
    frames: tuple[int, ...]
    share: float
    marks: npt.NDArray[np.bool_] = field(compare=False, repr=False)

    def __str__(self) -> str:
        """Return one line."""
        part = "" if self.since_part is None else f' (part "{self.since_part}")'
        return (
            f"recurring defect {self.number} since frame {self.since}{part}: "
            f"{len(self.frames)} frames, {self.share:.0%} of those since"
        )


@dataclass(frozen=True)
class Inspection:
    """A frame's verdict and what it rests on; distance units (docs/algorithms.md).

    Attributes
    ----------
    frame_id : int
        Number of the frame, from 0.
    part_id : str or None
    verdict : Verdict
    raw_score, score : float or None
        Before and after RsCIN; None where there was nothing to compare with.
    threshold, pixel_threshold : float or None
        For `score`, and for the map.
    patch_scores : array, shape (P,), float32, or None
        0 outside the region of interest.
    near_duplicate : bool
        So like a recent frame that it was scored and not admitted.
    admitted : bool
        Whether the frame is now in the window.
    fill : int
        Frames that it was compared with.
    consistent : bool
        Whether the frame has a recurring defect that is known by now.
    revisions : tuple of Revision
        Earlier frames, settled or found to have a recurring defect now.
    alarms : tuple of RecurringDefect
        Recurring defects that were found now.
    fault : str
        Why it could not be scored; empty else.
    wall_time, monotonic_time : float
        Seconds, when the frame came.
    latency : mapping
        Seconds by stage.
    """

    frame_id: int
    part_id: str | None
    verdict: Verdict
    raw_score: float | None = None
    score: float | None = None
    threshold: float | None = None
    pixel_threshold: float | None = None
    patch_scores: npt.NDArray[np.float32] | None = None
    near_duplicate: bool = False
    admitted: bool = False
    fill: int = 0
    consistent: bool = False
    revisions: tuple[Revision, ...] = ()
    alarms: tuple[RecurringDefect, ...] = ()
    fault: str = ""
    wall_time: float = 0.0
    monotonic_time: float = 0.0
    latency: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class ScoreResult:
    """Scores of a set of N images; all in distance units, higher is more anomalous.

    Attributes
    ----------
    patch_scores : array, shape (N, P), float32
        Mean over layers and degrees; rows of the g·g grid one after the other.
    raw_scores : array, shape (N,), float32
        Maximum of the map at the network's input size, before RsCIN.
    scores : array, shape (N,), float32
        After RsCIN; the raw scores where it is off.
    consistent : array, shape (N,), bool
        Images marked as carrying a recurring defect; False where that was not looked for.
    communities : tuple of Community
        The recurring defects, the clearest first (`zeroline.runtime.recurring.codegraph`).
    """

    patch_scores: Any
    raw_scores: Any
    scores: Any
    consistent: Any
    communities: tuple[Community, ...] = ()
