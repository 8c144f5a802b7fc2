"""The rolling window: match distances among the frames that it holds, kept up to date.

A new frame costs one matrix product per layer and degree. Its row minima are the new frame's
distances to every slot, its column minima every slot's distances to the new frame; so the table
of distances is whole after each admission, at a cost that grows with the window and not with its
square (docs/algorithms.md, "Rolling window").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zeroline.runtime.arrays import Bools, Float32, to_host
from zeroline.runtime.errors import ScoringError
from zeroline.runtime.line.cuda_store import CudaStore, FrameAnswers
from zeroline.runtime.line.shape import WindowShape
from zeroline.runtime.line.stores import BankStore, FeatureStore, SeenTiles
from zeroline.runtime.matching.cuda import CudaBank
from zeroline.runtime.matching.forms import FORMS
from zeroline.runtime.stages.degrees import finest_degree, match_count
from zeroline.runtime.stages.interval import average_on_device, average_rows
from zeroline.runtime.workers import WorkerPool


@dataclass
class Asked:
    """What was asked of the device beforehand; None: nothing."""

    answers: FrameAnswers | None = None


@dataclass(frozen=True)
class Matches:
    """A new frame matched with the window, not yet part of it.

    Attributes
    ----------
    features : tuple of arrays, shape (P', C_l), float32
        Unit rows, by scale; float16 where the window holds them so.
    to_slots : array, shape (scales, W, P'), float32
        ½‖x − y‖² from each patch of the new frame to each slot; inf where it does not match.
    from_slots : array, shape (scales, W, P'), float32
        The same from each patch of each slot to the new frame.
    ignore : array, shape (P',), bool
        Patches of the new frame that nobody may match.
    matched : array, shape (W,), bool
        Slots that it has a match in.
    prepared : object
        What the slots take of it, made for the match.
    asked : Asked
        Scores that the host has already.
    """

    features: tuple[Any, ...]
    to_slots: Any
    from_slots: Any
    ignore: Bools
    matched: Bools
    prepared: Any = None
    asked: Asked = field(default_factory=Asked)


class Window:
    """W slots with the features of as many frames, and the distances among them.

    Parameters
    ----------
    shape : WindowShape
    pool : WorkerPool
        Threads for the products.
    interval : (float, float)
        Part of the sorted distances that is averaged.
    roi : array, shape (P,), bool, optional
        Patches that count; the others neither score nor match, and cost nothing.
    xp : module
        CuPy where the window lies on a CUDA device.

    Attributes
    ----------
    tiles : tuple of slice
        Where each tile's patches stand among the P' that count; tiles without one are none.
    ignored : array, shape (W, P'), bool
        Patches of the frames that nobody may match.
    half_squared : array, shape (scales, W, W, P'), float32
        ½d² as [scale, frame, other frame, patch]; inf where a place is empty, or frames do not
        match.
    pool : WorkerPool
        The threads.
    finest : range
        Units of the smallest degree, one for each layer.
    store : FeatureStore
        The features.

    Notes
    -----
    Slots are chosen by the caller: `admit` writes to a slot, whatever was there before.
    """

    def __init__(
        self,
        shape: WindowShape,
        pool: WorkerPool,
        *,
        interval: tuple[float, float] = (0.0, 0.3),
        roi: Bools | None = None,
        xp: Any = np,
    ) -> None:
        self.shape = shape
        self._xp = xp
        self.pool = pool
        self._interval = interval
        self._roi = None if roi is None or roi.all() else np.flatnonzero(roi)
        slots, patches = shape.capacity, shape.compared
        if patches != (shape.patches if self._roi is None else len(self._roi)):
            raise ScoringError(f"{patches} patches counted, the region of interest has others")
        tiles = SeenTiles(shape, None if self._roi is None else roi)
        self.tiles = tiles.parts
        self._on_device: CudaStore | None = None
        if issubclass(FORMS[shape.form].bank, CudaBank):
            self._on_device = CudaStore(shape, tiles, interval=interval, cupy=xp)
        self.store: FeatureStore = self._on_device or BankStore(shape, tiles, pool, xp=xp)
        self._asked: dict[int, Float32] = {}  # scores (P') of slots that the host has already
        count = match_count(shape.degrees)
        place, _ = finest_degree(shape.degrees)
        self.finest = range(place, shape.scales, count)
        self.ignored: Bools = np.zeros((slots, patches), bool)
        self._own_ignored: Bools = np.zeros((slots, patches), bool)  # since they were admitted
        self.half_squared = xp.full((shape.scales, slots, slots, patches), np.inf, np.float32)

    def features_of(self, layers: Sequence[Any]) -> tuple[Any, ...]:
        """Return LNAMD features of one frame's tokens, by scale, of the patches that count.

        Parameters
        ----------
        layers : sequence of arrays, shape (P, C_l), float32
            On the window's device.
        """
        expected = [(self.shape.patches, c) for c in self.shape.channels]
        shapes = [tuple(layer.shape) for layer in layers]
        if shapes != expected:
            raise ScoringError(f"tokens have the shapes {shapes}, {expected} is expected")
        return self.store.features_of(layers)

    def features_in(self, slot: int) -> tuple[Any, ...]:
        """Return the features of the frame in a slot, by scale, of the patches that count."""
        return self.store.features_in(slot)

    def match(
        self,
        features: Sequence[Any],
        *,
        reachable: Bools,
        ignore: Bools | None = None,
        absent: Bools | None = None,
    ) -> Matches:
        """Match a new frame with some slots; the window stays as it is.

        Parameters
        ----------
        features : sequence of arrays, shape (P', C_l), float32
            From `features_of`.
        reachable : array, shape (W,), bool
            Slots that hold a frame of another part.
        ignore : array, shape (P,), bool, optional
            Patches of the new frame that nobody may match.
        absent : array, shape (P,), bool, optional
            Patches of the new frame that show no part: nobody may match them, and they match all
            frames at distance 0.
        """
        shape = self.shape
        ignored, away = (
            np.zeros(shape.patches, bool) if marks is None else np.asarray(marks, bool)
            for marks in (ignore, absent)
        )
        for name, marks in (("ignore", ignored), ("absent", away)):
            if marks.shape != (shape.patches,):
                raise ScoringError(
                    f"{name} has shape {marks.shape}, ({shape.patches},) is expected"
                )
        if self._roi is not None:
            ignored, away = ignored[self._roi], away[self._roi]
        ignored = ignored | away
        to_slots, from_slots, prepared = self.store.matched(features, ignored, away, reachable)
        matched = reachable & ~self.ignored.all(axis=1)
        return Matches(tuple_of(features), to_slots, from_slots, ignored, matched, prepared)

    def admit(self, slot: int, matches: Matches) -> None:
        """Put a matched frame into a slot, in place of what is there."""
        self.store.put(slot, matches.features, matches.prepared, matches.ignore)
        self.half_squared[:, slot] = matches.to_slots
        self.half_squared[:, :, slot] = matches.from_slots
        self.half_squared[:, slot, slot] = np.inf
        self.ignored[slot] = self._own_ignored[slot] = matches.ignore
        self._asked.clear()

    def evict(self, slot: int) -> None:
        """Empty a slot."""
        self.half_squared[:, slot] = np.inf
        self.half_squared[:, :, slot] = np.inf
        self._asked.clear()

    def marked(self, slot: int) -> Bools:
        """Return the patches (P',) of a frame that `ignore_patches` has taken."""
        marked: Bools = self.ignored[slot] & ~self._own_ignored[slot]
        return marked

    def ignore_patches(self, slot: int, patches: Bools, *, reachable: Bools) -> None:
        """Let nobody match some patches of a frame any more; all frames match it anew.

        Parameters
        ----------
        slot : int
        patches : array, shape (P,), bool
            In place of those of an earlier call; none: the frame is as it came.
        reachable : array, shape (W,), bool
            Slots that hold a frame.
        """
        counted = patches if self._roi is None else patches[self._roi]
        self.ignored[slot] = self._own_ignored[slot] | counted
        features = self.store.ignore(slot, self.ignored[slot])
        others = reachable.copy()
        others[slot] = False
        nowhere = np.zeros(self.shape.compared, bool)
        _, from_slots, _ = self.store.matched(features, self.ignored[slot], nowhere, others)
        before = self.half_squared[:, :, slot]
        if self._xp is np:
            kept = before < np.inf  # frames of one part do not match
            before[kept] = from_slots[kept]
        else:
            self.half_squared[:, :, slot] = self._xp.where(before < np.inf, from_slots, before)
        self._asked.clear()

    def look_ahead(self, matches: Matches, *, recent: Sequence[int], place: int) -> None:
        """Ask the device at once for what a new frame's admission needs; see `CudaStore.answers`.

        On the host there is nothing to gain.
        """
        if self._on_device is not None:
            matches.asked.answers = self._on_device.answers(
                matches.features, matches.to_slots, recent, place
            )

    def look_ahead_held(self, slots: Sequence[int]) -> None:
        """Ask the device at once for the scores of some held frames; nothing to gain on the host.

        They hold until the window changes.
        """
        if self._on_device is None or not len(slots):
            return
        size = self.shape.capacity * self.shape.compared
        starts = [slot * size for slot in slots]
        apart, nobody = self.shape.capacity * size, [()] * len(slots)
        found = self._on_device.averages(self.half_squared, starts, nobody, apart=apart)
        self._asked = dict(zip(slots, to_host(found), strict=True))

    def place_distances(self, matches: Matches, slots: Sequence[int]) -> Float32:
        """Return how far a new frame is from those in some slots at the same places.

        See `zeroline.runtime.line.places.place_distances`.
        """
        answers = matches.asked.answers
        if answers is not None and all(slot in answers.distances for slot in slots):
            return np.array([answers.distances[slot] for slot in slots], np.float32)
        return self.store.place_distances(matches.features, slots)

    def score(self, matches: Matches, *, without: Sequence[int] = ()) -> Float32 | None:
        """Return the patch scores (P,) of a frame that is not in the window; see `patch_scores`.

        Parameters
        ----------
        matches : Matches
        without : sequence of int
            Slots that do not count, such as the one that the frame will take.
        """
        answers = matches.asked.answers
        if answers is not None and tuple(without) in answers.scores:
            return self._whole(answers.scores[tuple(without)])
        return self._average(matches.to_slots, without)

    def patch_scores(self, slot: int, *, without: Sequence[int] = ()) -> Float32 | None:
        """Return the patch scores (P,) of the frame in a slot, against the window as it is now.

        Mean over layers and degrees, 0 outside the region of interest. None where a patch has no
        frame to match.

        Parameters
        ----------
        slot : int
        without : sequence of int
            Slots that do not count.
        """
        if slot in self._asked and not len(without):
            return self._whole(self._asked[slot])
        return self._average(self.half_squared[:, slot], without)

    def _average(self, half_squared: Any, without: Sequence[int]) -> Float32 | None:
        """Average ½d² (scales, W, P') to patch scores (P,), without some slots.

        0 outside the region of interest.
        """
        low, high = self._interval
        if len(without):
            half_squared = half_squared.copy()
            half_squared[:, self._xp.asarray(list(without))] = np.inf
        if self._xp is not np:
            return self._whole(to_host(average_on_device(half_squared, low=low, high=high)))
        there = np.isfinite(half_squared).any(axis=(0, 2))
        total = np.zeros(self.shape.compared, np.float64)
        for scale in half_squared:
            distances = np.sqrt(2 * np.maximum(scale[there], 0)).T
            if not distances.size or not np.isfinite(distances).any(axis=1).all():
                return None
            total += average_rows(distances, low=low, high=high)
        return self._placed((total / self.shape.scales).astype(np.float32))

    def _whole(self, mean: Float32) -> Float32 | None:
        """Return scores of all patches; None where one has no match."""
        if np.isnan(mean).any():
            return None
        return self._placed(mean.copy())  # a row would keep all that came with it

    def _placed(self, mean: Float32) -> Float32:
        """Return scores of all patches, 0 outside the region of interest."""
        if self._roi is None:
            return mean
        scores = np.zeros(self.shape.patches, np.float32)
        scores[self._roi] = mean
        return scores


def tuple_of(features: Sequence[Any]) -> tuple[Any, ...]:
    """Return features as a tuple, as they are where they are one."""
    return features if isinstance(features, tuple) else tuple(features)
