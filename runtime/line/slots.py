"""The slots of a window: one record for each frame in it, and which frame leaves next."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import isfinite, nan

import numpy as np

from zeroline.runtime.arrays import Bools, Float32
from zeroline.runtime.errors import ScoringError
from zeroline.runtime.results import Reason, Verdict
from zeroline.runtime.tokens import Tokens

#: The number of every frame of a reference set.
REFERENCE_ID = -1


@dataclass
class Slot:
    """A frame in the window; each fact has one writer (`Slots`, `WindowScorer`, `LineJudge`).

    Attributes
    ----------
    frame_id : int
        Number of the frame; `REFERENCE_ID` for frames of a reference set.
    part_id : str or None
        Name of its part.
    tokens : Tokens
        Of this one frame; on the host in float16 once it is in a window on a CUDA device.
    pinned : bool
        Whether it stays in the window.
    raw_score : float
        Before RsCIN, as it was scored last; NaN before that.
    verdict, reason
        What was said of it last.
    settled : bool
        Whether it was judged a second time.
    recurring : bool
        Whether it has a recurring defect that is known.
    time : float
        Seconds since 1970, when it was taken; 0 where that is not known.
    name : str
        What a reference set called it; empty for frames of the line.
    confirmed : bool
        Whether a person has called this very frame good.
    absent : array, shape (P,), bool, or None
        Patches whose part lies outside the frame; None: none does.
    turn : float
        Degrees by which the part is turned from the taught one; 0 where that is not known.
    patch_scores : array, shape (P,), float32, or None
        As it was scored last, as matched.
    """

    frame_id: int
    part_id: str | None
    tokens: Tokens
    pinned: bool = False
    raw_score: float = nan
    verdict: Verdict = Verdict.UNCERTAIN
    reason: Reason | None = Reason.WARMING_UP
    settled: bool = False
    recurring: bool = False
    time: float = 0.0
    name: str = ""
    confirmed: bool = False
    absent: Bools | None = field(default=None, repr=False)
    turn: float = 0.0
    patch_scores: Float32 | None = field(default=None, repr=False)

    @property
    def reference(self) -> bool:
        """Whether a person has called the part good: it came from a reference set."""
        return self.frame_id == REFERENCE_ID

    @property
    def scored(self) -> bool:
        """Whether it has a score."""
        return isfinite(self.raw_score)

    @property
    def label(self) -> str:
        """What people call it: the name in its reference set, its part, or its number."""
        return self.name or self.part_id or f"frame {self.frame_id}"


class Slots:
    """W places for frames, and their order.

    Parameters
    ----------
    capacity : int
        W.
    exclusion : int
        Frames of so many last pushes are of one part.

    Raises
    ------
    ScoringError
        For a negative exclusion.

    Attributes
    ----------
    filled : array, shape (W,), bool
        Places that hold a frame.
    """

    def __init__(self, capacity: int, *, exclusion: int = 0) -> None:
        if exclusion < 0:
            raise ScoringError(f"exclusion is {exclusion}, a number from 0 on is expected")
        self._exclusion = exclusion
        self.filled: Bools = np.zeros(capacity, bool)
        self._slots: list[Slot | None] = [None] * capacity
        self._order: list[int] = []  # the place filled first in front

    def __len__(self) -> int:
        """Return how many places hold a frame."""
        return len(self._order)

    def __getitem__(self, place: int) -> Slot:
        """Return the frame in a place that holds one."""
        slot = self._slots[place]
        if slot is None:
            raise KeyError(place)
        return slot

    def in_order(self) -> Iterator[tuple[int, Slot]]:
        """Yield places and their frames, the oldest first."""
        for place in self._order:
            yield place, self[place]

    def holds(self, place: int, frame_id: int) -> bool:
        """Tell whether a place holds the frame of that number."""
        slot = self._slots[place]
        return slot is not None and slot.frame_id == frame_id

    @property
    def pinned(self) -> int:
        """How many frames stay."""
        return sum(slot.pinned for _, slot in self.in_order())

    def newest(self, count: int) -> list[int]:
        """Return the places of the newest frames, the newest first."""
        return self._order[::-1][:count]

    def next_place(self) -> int:
        """Return the place that the next frame takes: an empty one, or the oldest frame's.

        Pinned frames stay. A place that is taken again forgets its frame in `put`.
        """
        if len(self) < len(self._slots):
            return int(np.flatnonzero(~self.filled)[0])
        return next(place for place, slot in self.in_order() if not slot.pinned)

    def put(self, place: int, slot: Slot) -> None:
        """Put a frame into a place, instead of what is there."""
        if self.filled[place]:
            self._order.remove(place)
        self._slots[place] = slot
        self._order.append(place)
        self.filled[place] = True

    def remove(self, place: int) -> None:
        """Empty a place, if it holds a frame."""
        if self.filled[place]:
            self._order.remove(place)
            self._slots[place] = None
            self.filled[place] = False

    def clear(self) -> None:
        """Forget all frames."""
        self.filled[:] = False
        self._slots = [None] * len(self._slots)
        self._order = []

    def same_part(self, frame_id: int, part_id: str | None) -> Bools:
        """Return which places hold frames that must not match a new one: frames of its part.

        Parameters
        ----------
        frame_id : int
            Of the new frame.
        part_id : str or None
            Its part's name; two frames with one name are of one part.
        """
        same = np.zeros(len(self._slots), bool)
        for place, slot in self.in_order():
            near = not slot.reference and frame_id - slot.frame_id <= self._exclusion
            same[place] = near or (part_id is not None and slot.part_id == part_id)
        return same
