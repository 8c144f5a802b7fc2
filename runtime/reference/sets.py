"""A reference set, and what is told of one that was made or loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import nan

import numpy as np

from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.reference.selection import ENOUGH, Selection
from zeroline.runtime.results import Reason
from zeroline.runtime.stages.degrees import Degrees
from zeroline.runtime.tokens import Tokens


@dataclass(frozen=True)
class ReferenceFrame:
    """Where a frame of a reference set comes from, and why it was kept.

    Attributes
    ----------
    name : str
        Of its file, of its part, or "frame" and its number on a line.
    time : float
        Seconds since 1970, when it was taken; the file's time for a file.
    score, threshold : float
        When it was kept: its score, and the one over which it would have been left out.
    confirmed : bool
        Whether a person has called this very frame good, whatever it scores.
    turn : float
        Degrees by which its part is turned from the taught one; 0 where that was not looked for.
    """

    name: str
    time: float
    score: float
    threshold: float
    confirmed: bool = False
    turn: float = 0.0


@dataclass(frozen=True)
class ReferenceSet:
    """Tokens of known-good parts, and how the set was made.

    Attributes
    ----------
    tokens : Tokens
        Of n frames, on the host; the oldest first.
    frames : tuple of ReferenceFrame
        The same n.
    bundle, network : str
        Name of the bundle that made them, and sha256 of its ONNX file.
    degrees : tuple of int, or "fused"
        By which they were scored.
    false_alarm_rate : float
        Of the threshold.
    left_out : int
        Frames that were not kept.
    source : str
        Where the frames come from.
    program : str
        Version of zeroline.
    framing : Framing
        What of the pictures was looked at.
    """

    tokens: Tokens = field(compare=False, repr=False)
    frames: tuple[ReferenceFrame, ...]
    bundle: str
    network: str
    degrees: Degrees
    false_alarm_rate: float
    left_out: int = 0
    source: str = ""
    program: str = ""
    framing: Framing = field(default_factory=Framing)


_WHY = {
    Reason.RECURRING: "has a recurring defect",
    Reason.PART_NOT_WHOLE: "not whole in the picture",
}


@dataclass(frozen=True)
class LeftOut:
    """A frame that a reference set does not hold.

    Attributes
    ----------
    name : str
        See `ReferenceFrame`.
    score : float
        Against the other frames.
    reason : Reason
        `Reason.SCORE`: it is unusual. `Reason.RECURRING`: it has a recurring defect.
        `Reason.PART_NOT_WHOLE`: a part of it lies outside the picture.

    Examples
    --------
    >>> print(LeftOut("part-7.png", 0.52, Reason.SCORE))
    part-7.png: score 0.520, unusual
    """

    name: str
    score: float
    reason: Reason

    def __str__(self) -> str:
        """Return one line."""
        why = _WHY.get(self.reason, "unusual")
        return f"{self.name}: score {self.score:.3f}, {why}"


@dataclass(frozen=True)
class ReferenceReport:
    """What became of the frames that a reference set was made of, or loaded from.

    Attributes
    ----------
    frames : int
        Frames that were written, or are in the window now.
    offered : int
        Frames that there were.
    left_out : tuple of LeftOut
        Those that are not good enough.
    spread : (float, float, float)
        Lowest, median and highest score of the frames that were kept, in distance units.
    warning : str
        What is wrong with the set, in one line; empty where nothing is.

    Examples
    --------
    >>> print(ReferenceReport(48, 64, (), (0.26, 0.30, 0.35)))
    48 of 64 frames, scores 0.260 to 0.350, median 0.300
    """

    frames: int
    offered: int
    left_out: tuple[LeftOut, ...]
    spread: tuple[float, float, float]
    warning: str = ""

    def __str__(self) -> str:
        """Return one line."""
        low, middle, high = self.spread
        left_out = f", {len(self.left_out)} left out" if self.left_out else ""
        return (
            f"{self.frames} of {self.offered} frames{left_out}, "
            f"scores {low:.3f} to {high:.3f}, median {middle:.3f}"
        )

    @property
    def unused(self) -> int:
        """Frames that nothing is wrong with, and for which there was no room."""
        return self.offered - len(self.left_out) - self.frames

    @property
    def note(self) -> str:
        """What so few frames cannot show, in one line; empty where they are enough."""
        if self.offered >= ENOUGH:
            return ""
        return f"{self.offered} frames: in fewer than {ENOUGH} a recurring defect may stay unseen"


def report_of(
    selection: Selection, names: Sequence[str], /, *, frames: int, offered: int
) -> ReferenceReport:
    """Return what is told of a selection.

    Parameters
    ----------
    selection : Selection
    names : sequence of str
        Of the frames that it is of.
    frames, offered : int
        See `ReferenceReport`.
    """
    left_out = tuple(
        LeftOut(name, float(score), reason)
        for name, score, reason, good in zip(
            names, selection.scores, selection.reasons, selection.kept, strict=True
        )
        if reason is not None and not good
    )
    kept = selection.scores[selection.kept]
    low, middle, high = np.quantile(kept, (0, 0.5, 1)).tolist() if kept.size else (nan,) * 3
    return ReferenceReport(frames, offered, left_out, (low, middle, high), selection.warning)
