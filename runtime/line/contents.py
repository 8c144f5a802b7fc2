"""The contents of a window: frames enter and leave here, and nowhere else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np

from zeroline.runtime.arrays import Bools, Float32, to_host
from zeroline.runtime.errors import ScoringError
from zeroline.runtime.line.known import Recognition
from zeroline.runtime.line.slots import REFERENCE_ID, Slot, Slots
from zeroline.runtime.line.tracker import DefectTracker
from zeroline.runtime.line.window import Matches, Window
from zeroline.runtime.reference.sets import ReferenceFrame
from zeroline.runtime.tokens import Tokens, joined

#: Share of the slots that pinned frames leave to the line: it has to follow light and metal.
FREE_SHARE = 0.25


@dataclass(frozen=True)
class Comparison:
    """A new frame beside the window.

    Attributes
    ----------
    place : int
        The place that it takes, if it enters.
    admitted : bool
        Whether it enters: it is no copy of a recent frame, and of this product.
    left_out : int
        The place that it was not compared with: that of the frame that leaves, or its original's.
    patch_scores : array, shape (P,), float32, or None
        Against all frames but the one that leaves, or its original; None where nothing matches.
    count : int
        Frames that it was compared with.
    other : bool
        Whether it shows another product.
    """

    place: int
    admitted: bool
    left_out: int
    patch_scores: Float32 | None
    count: int
    other: bool = False

    @property
    def near_duplicate(self) -> bool:
        """Whether it is a copy of a recent frame."""
        return not (self.admitted or self.other)


class Contents:
    """Slots and distances of a window, changed together.

    Parameters
    ----------
    window : Window
        The distances.
    slots : Slots
        One record for each frame.
    tracker : DefectTracker or None
        Is told when a frame leaves.
    xp : module
        NumPy or CuPy: where the window lies.
    """

    def __init__(
        self, window: Window, slots: Slots, tracker: DefectTracker | None, *, xp: Any
    ) -> None:
        self._window, self._slots, self._tracker, self._xp = window, slots, tracker, xp
        self._to_ignore: dict[int, Bools] = {}  # by place

    def placed(self, tokens: Tokens) -> Tokens:
        """Return tokens where they are needed: layers beside the window, class tokens here.

        Raises
        ------
        ScoringError
            For other tiles than the window's.
        """
        if tokens.tiles != self._window.shape.tiles:
            (rows, columns), (mine, own) = tokens.tiles, self._window.shape.tiles
            raise ScoringError(f"tokens of {rows}×{columns} tiles, {mine}×{own} are expected")
        if self._xp is np:
            return tokens.on_host()
        layers = tuple(self._xp.asarray(layer, dtype=np.float32) for layer in tokens.layers)
        return Tokens(layers, to_host(tokens.class_tokens), tokens.tiles)

    def matched(self, slot: Slot, *, ignore: Bools | None = None) -> Matches:
        """Match a frame that is not in the window with all frames of other parts.

        Parameters
        ----------
        slot : Slot
            The frame.
        ignore : array, shape (P,), bool, optional
            Its patches that nobody may match.
        """
        features = self._window.features_of([layer[0] for layer in slot.tokens.layers])
        same = np.zeros(len(self._slots.filled), bool)
        if not slot.reference:
            same = self._slots.same_part(slot.frame_id, slot.part_id)
        reachable = self._slots.filled & ~same
        return self._window.match(features, reachable=reachable, ignore=ignore, absent=slot.absent)

    def compared(
        self, matches: Matches, *, roi: Bools, copies: bool, other: bool = False
    ) -> Comparison:
        """Compare a new frame with the window, and say whether it may enter.

        Parameters
        ----------
        matches : Matches
            From `matched`.
        roi : array, shape (P,), bool
            Patches that count.
        copies : bool
            Whether copies of recent frames may enter.
        other : bool
            Whether the frame shows another product, and so may not.
        """
        place, original = self._slots.next_place(), None
        looked_for = not (copies or other)
        recent = self._slots.newest(RECENT) if looked_for else []
        self._window.look_ahead(matches, recent=recent, place=place)
        if looked_for:
            original = original_of(matches, self._window, self._slots, roi=roi)
        left_out = place if original is None else original
        patch_scores = self._window.score(matches, without=[left_out])
        others = matches.matched.copy()
        others[left_out] = False
        admitted = original is None and not other
        return Comparison(place, admitted, left_out, patch_scores, int(others.sum()), other)

    def admit(
        self, place: int, slot: Slot, matches: Matches, known: Recognition | None = None
    ) -> None:
        """Put a frame into a place; the frame that was there is forgotten.

        Parameters
        ----------
        place : int
            From `compared`, or the next one.
        slot : Slot
            The frame.
        matches : Matches
            From `matched`.
        known : Recognition, optional
            The recurring defect that it has.
        """
        self._window.admit(place, matches)
        slot.tokens = slot.tokens.sent_home()  # the window has all that it takes from them
        self._slots.put(place, slot)
        self._to_ignore.pop(place, None)
        if self._tracker is not None:
            self._tracker.forget(place)
            if known is not None:
                self._to_ignore[place] = self._tracker.add_member(place, known)

    def withdraw(self, place: int) -> None:
        """Empty a place whose new frame was not taken whole."""
        self._slots.remove(place)
        self._to_ignore.pop(place, None)
        if self._tracker is not None:
            self._tracker.forget(place)
        self._window.evict(place)

    def tokens(self) -> Tokens | None:
        """Return the tokens of all frames, the oldest first, on the host; None of none.

        Those of a window on a device are rounded to float16.
        """
        parts = self.tokens_of([slot for _, slot in self._slots.in_order()])
        if not parts:
            return None
        tokens = joined(parts)
        layers = tuple(layer.astype(np.float32, copy=False) for layer in tokens.layers)
        return Tokens(layers, tokens.class_tokens, tokens.tiles)

    def tokens_of(self, slots: Sequence[Slot]) -> tuple[Tokens, ...]:
        """Return the tokens of frames in the window, on the host; nothing changes them later."""
        if self._xp is not np:
            self._xp.cuda.runtime.deviceSynchronize()  # they may be on their way
        return tuple(slot.tokens for slot in slots)

    def room(self, *, pinned: bool) -> int:
        """Return how many frames of a reference set there is room for.

        Pinned ones leave `FREE_SHARE` of the slots to the line.
        """
        capacity = len(self._slots.filled)
        most = capacity - ceil(FREE_SHARE * capacity) if pinned else capacity
        return max(0, most - self._slots.pinned)

    def admit_reference(
        self, tokens: Tokens, frames: Sequence[ReferenceFrame], *, pinned: bool
    ) -> None:
        """Admit frames of a reference set; `room` says how many.

        Parameters
        ----------
        tokens : Tokens
            On the host.
        frames : sequence of ReferenceFrame
            Where they come from.
        pinned : bool
            Keep these frames; else they leave as others do.
        """
        for number, about in enumerate(frames):
            frame = self.placed(tokens.select(slice(number, number + 1)))
            slot = Slot(
                REFERENCE_ID, None, frame,
                pinned=pinned, settled=True,
                time=about.time, name=about.name, confirmed=about.confirmed, turn=about.turn,
            )  # fmt: skip
            matches = self.matched(slot)
            slot.tokens = tokens.select(slice(number, number + 1))  # they are here already
            self.admit(self._slots.next_place(), slot, matches)

    def admit_again(self, slot: Slot) -> None:
        """Admit a frame of the line's own that an earlier run has kept; its tokens on the host."""
        kept = slot.tokens
        slot.tokens = self.placed(kept)
        matches = self.matched(slot)
        slot.tokens = kept
        self.admit(self._slots.next_place(), slot, matches)

    def clear(self) -> None:
        """Forget all frames, and the recurring defects that they have."""
        for place, _ in list(self._slots.in_order()):
            self._window.evict(place)
            if self._tracker is not None:
                self._tracker.forget(place)
        self._slots.clear()
        self._to_ignore = {}

    def ignore_later(self, ignored: dict[int, Bools]) -> None:
        """Remember which patches (P,) nobody may match from now on, by the place of their frame."""
        self._to_ignore.update(ignored)

    def ignore_next(self) -> bool:
        """Change the patches that nobody may match of one frame that waits; False where none does.

        All frames match that frame anew, which is work: so it is done for one frame with each
        push.
        """
        if not self._to_ignore:
            return False
        place, patches = next(iter(self._to_ignore.items()))
        self._window.ignore_patches(place, patches, reachable=self._slots.filled)
        del self._to_ignore[place]  # it waits on where a device fails
        return True


#: Frames back in which a copy is looked for.
RECENT = 8
#: A frame is a copy when its patches lie, in the median, nearer than this share of a typical
#: match to the same places of a recent frame.
COPY_SHARE = 0.5
#: Nearer than this is a copy, whatever is typical: the least distance that sensors' noise leaves.
COPY_DISTANCE = 0.02


def original_of(matches: Matches, window: Window, slots: Slots, *, roi: Bools) -> int | None:
    """Return the place of the recent frame that a new one is a copy of, None where it is none.

    Parameters
    ----------
    matches : Matches
        Of the new frame with the window.
    window : Window
        The features of the frames in it.
    slots : Slots
        Which frames are recent.
    roi : array, shape (P,), bool
        Patches that count.
    """
    recent = slots.newest(RECENT)
    if not recent:
        return None
    distances = window.place_distances(matches, recent)
    nearest = int(np.argmin(distances))
    others = window.score(matches, without=[recent[nearest]])
    typical = None if others is None else float(np.median(others[roi]))
    return recent[nearest] if is_copy(float(distances[nearest]), typical) else None


def is_copy(distance: float, typical: float | None) -> bool:
    """Tell whether a frame at that distance of a recent one is a copy of it.

    Parameters
    ----------
    distance : float
        From `place_distances`.
    typical : float or None
        Median patch score of the frame against the window without its likely original; None
        where there is none yet.
    """
    return distance < max(COPY_DISTANCE, COPY_SHARE * (typical or 0.0))
