"""The rolling window: match distances among the frames that it holds, kept up to date.

A new frame costs one matrix product per layer and degree. Its row minima are the new frame's
distances to every slot, its column minima every slot's distances to the new frame; so the table
of distances is whole after each admission, at a cost that grows with the window and not with its
square (docs/algorithms.md, "Rolling window").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zeroline.runtime.arrays import Bools, Float32, to_host
from zeroline.runtime.errors import ScoringError
from zeroline.runtime.grid import Grid
from zeroline.runtime.line.shape import WindowShape
from zeroline.runtime.matching.forms import FORMS
from zeroline.runtime.matching.operand import IGNORED
from zeroline.runtime.stages.degrees import aggregated, finest_degree, match_count
from zeroline.runtime.stages.interval import average_on_device, average_rows
from zeroline.runtime.workers import WorkerPool


@dataclass(frozen=True)
class Matches:
    """A new frame matched with the window, not yet part of it.

    Attributes
    ----------
    features : tuple of arrays, shape (P', C_l), float32
        Unit rows, by scale.
    to_slots : array, shape (scales, W, P'), float32
        ½‖x − y‖² from each patch of the new frame to each slot; inf where it does not match.
    from_slots : array, shape (scales, W, P'), float32
        The same from each patch of each slot to the new frame.
    ignore : array, shape (P',), bool
        Patches of the new frame that nobody may match.
    """

    features: tuple[Any, ...]
    to_slots: Any
    from_slots: Any
    ignore: Any


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
        channels = [c for c in shape.channels for _ in range(match_count(shape.degrees))]
        self._grid = Grid.of(shape.patches, shape.tiles)
        parts = self._grid.parts(None if self._roi is None else roi)
        self._seen = [number for number, part in enumerate(parts) if part.stop > part.start]
        self.tiles = tuple(parts[number] for number in self._seen)
        self._within = None  # places of the P' among the patches of these tiles
        if self._roi is not None:
            assert roi is not None  # noqa: S101 - see above
            squares = np.asarray(roi).reshape(self._grid.count, -1)[self._seen]
            self._within = xp.asarray(np.flatnonzero(squares))
        bank, count = FORMS[shape.form].bank, len(self.tiles)
        # by scale, and in it by tile
        self._banks = [
            [
                bank.empty(slots, part.stop - part.start, c, turn=turn, xp=xp)
                for tile, part in enumerate(self.tiles)
                for turn in [(scale * count + tile) * slots // (shape.scales * count)]
            ]
            for scale, c in enumerate(channels)
        ]
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
        found = []
        for layer in layers:
            rows = layer.reshape(self._grid.count, -1, layer.shape[1])
            if len(self._seen) < len(rows):
                rows = rows[self._xp.asarray(self._seen)]
            for features in aggregated(rows, self.shape.degrees):
                whole = features.reshape(-1, layer.shape[1])
                found.append(whole if self._within is None else whole[self._within])
        return tuple(found)

    def features_in(self, slot: int) -> tuple[Any, ...]:
        """Return the features of the frame in a slot, by scale, of the patches that count."""
        if len(self.tiles) == 1:
            return tuple(bank.features[slot] for (bank,) in self._banks)
        return tuple(
            self._xp.concatenate([bank.features[slot] for bank in banks]) for banks in self._banks
        )

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
        to_slots, from_slots = self._matched(features, ignored, reachable)
        if away.any():
            rows = to_slots[:, :, self._xp.asarray(away)]
            rows[self._xp.isfinite(rows)] = 0
            to_slots[:, :, self._xp.asarray(away)] = rows
        return Matches(tuple(features), to_slots, from_slots, ignored)

    def admit(self, slot: int, matches: Matches) -> None:
        """Put a matched frame into a slot, in place of what is there."""
        self.evict(slot)

        def put(scale: int) -> None:
            self._put(scale, slot, matches.features[scale], matches.ignore)
            self.half_squared[scale, slot] = matches.to_slots[scale]
            self.half_squared[scale, :, slot] = matches.from_slots[scale]
            self.half_squared[scale, slot, slot] = np.inf

        self.pool.run(put, range(self.shape.scales))
        self.ignored[slot] = self._own_ignored[slot] = to_host(matches.ignore)

    def _put(self, scale: int, slot: int, features: Any, ignore: Any) -> None:
        """Write a frame's features (P', C) of a scale to the banks."""
        for bank, part in zip(self._banks[scale], self.tiles, strict=True):
            bank.put(slot, features[part], ignore[part])

    def evict(self, slot: int) -> None:
        """Empty a slot."""
        self.half_squared[:, slot] = np.inf
        self.half_squared[:, :, slot] = np.inf

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
        ignored, features = self.ignored[slot], self.features_in(slot)
        for scale, part in enumerate(features):
            self._put(scale, slot, part, ignored)
        others = reachable.copy()
        others[slot] = False
        _, from_slots = self._matched(features, ignored, others)
        before = self.half_squared[:, :, slot]
        kept = before < np.inf  # frames of one part do not match
        before[kept] = from_slots[kept]

    def _matched(self, features: Sequence[Any], ignored: Any, reachable: Bools) -> tuple[Any, Any]:
        """Return ½d² (scales, W, P') to some slots and from them; inf for all others."""
        shape = self.shape
        sizes = (shape.scales, shape.capacity, shape.compared)
        to_slots, from_slots = (self._xp.full(sizes, np.inf, np.float32) for _ in range(2))
        queries = [
            [
                bank.query(frame[part], ignored[part])
                for bank, part in zip(banks, self.tiles, strict=True)
            ]
            for banks, frame in zip(self._banks, features, strict=True)
        ]

        def match_run(item: tuple[int, int, int, int]) -> None:
            scale, tile, start, stop = item
            bank, part = self._banks[scale][tile], self.tiles[tile]
            rows, columns = to_slots[scale, start:stop], from_slots[scale, start:stop]
            if len(self.tiles) == 1:
                bank.minima(queries[scale][tile], start, stop, rows, columns)
                return
            # a bank writes to arrays without gaps
            sizes = stop - start, part.stop - part.start
            own_rows, own_columns = (self._xp.empty(sizes, np.float32) for _ in range(2))
            bank.minima(queries[scale][tile], start, stop, own_rows, own_columns)
            rows[:, part], columns[:, part] = own_rows, own_columns

        self.pool.run(
            match_run,
            [
                (scale, tile, *run)
                for scale, banks in enumerate(self._banks)
                for tile, bank in enumerate(banks)
                for run in _runs(reachable, bank.block)
            ],
        )
        to_slots[to_slots >= IGNORED / 2] = np.inf
        from_slots[from_slots >= IGNORED / 2] = np.inf
        return to_slots, from_slots

    def score(self, matches: Matches, *, without: Sequence[int] = ()) -> Float32 | None:
        """Return the patch scores (P,) of a frame that is not in the window; see `patch_scores`.

        Parameters
        ----------
        matches : Matches
        without : sequence of int
            Slots that do not count, such as the one that the frame will take.
        """
        return self._average(self._left(matches.to_slots, without))

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
        return self._average(self._left(self.half_squared[:, slot], without))

    def _left(self, rows: Any, without: Sequence[int]) -> Any:
        """Return ½d² (scales, W, P') with some slots out of reach."""
        if len(without):
            rows = rows.copy()
            rows[:, self._xp.asarray(list(without))] = np.inf
        return rows

    def _average(self, half_squared: Any) -> Float32 | None:
        """Average ½d² (scales, W, P') to patch scores (P,); 0 outside the region of interest."""
        low, high = self._interval
        if self._xp is not np:
            mean = to_host(average_on_device(half_squared, low=low, high=high))
            return None if np.isnan(mean).any() else self._placed(mean)
        there = np.isfinite(half_squared).any(axis=(0, 2))
        total = np.zeros(self.shape.compared, np.float64)
        for scale in half_squared:
            distances = np.sqrt(2 * np.maximum(scale[there], 0)).T
            if not distances.size or not np.isfinite(distances).any(axis=1).all():
                return None
            total += average_rows(distances, low=low, high=high)
        return self._placed((total / self.shape.scales).astype(np.float32))

    def _placed(self, mean: Float32) -> Float32:
        """Return scores of all patches, 0 outside the region of interest."""
        if self._roi is None:
            return mean
        scores = np.zeros(self.shape.patches, np.float32)
        scores[self._roi] = mean
        return scores


def _runs(reachable: Bools, block: int) -> list[tuple[int, int]]:
    """Return the reachable slots as (start, stop) runs of at most `block`."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], reachable, [False])).astype(np.int8)))
    runs = []
    for first, end in edges.reshape(-1, 2).tolist():
        runs += [(start, min(start + block, end)) for start in range(first, end, block)]
    return runs
