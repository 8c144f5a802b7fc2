"""Where a window keeps the features of its frames: a bank for each scale and tile, or all in one.

`BankStore` serves every form of matching. On a CUDA device `CudaStore` does the same for the form
with float16 features in few launches (`zeroline.runtime.line.cuda_store`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from zeroline.runtime.arrays import Bools, Float32
from zeroline.runtime.grid import Grid
from zeroline.runtime.line.places import place_distances
from zeroline.runtime.line.shape import WindowShape
from zeroline.runtime.matching.forms import FORMS
from zeroline.runtime.matching.operand import IGNORED
from zeroline.runtime.stages.degrees import aggregated, match_count
from zeroline.runtime.workers import WorkerPool


class FeatureStore(Protocol):
    """W slots with the features of as many frames."""

    @property
    def nbytes(self) -> int:
        """Bytes of the large arrays."""

    def features_of(self, layers: Sequence[Any]) -> tuple[Any, ...]:
        """Return LNAMD features (P', C_l) of one frame's tokens (P, C_l), by scale."""

    def features_in(self, slot: int) -> tuple[Any, ...]:
        """Return the features of the frame in a slot, by scale."""

    def matched(
        self, features: Sequence[Any], ignored: Bools, absent: Bools, reachable: Bools
    ) -> tuple[Any, Any, Any]:
        """Return ½d² (scales, W, P') to some slots and from them, and what `put` takes of it.

        Inf where a slot is not reachable (W), or all its patches are ignored; 0 to all frames for
        `absent` patches (P').
        """

    def put(self, slot: int, features: Sequence[Any], prepared: Any, ignored: Bools) -> None:
        """Write a frame that was matched to a slot."""

    def ignore(self, slot: int, ignored: Bools) -> tuple[Any, ...]:
        """Change the patches (P') of a slot that nobody may match; return what `matched` takes."""

    def place_distances(self, features: Sequence[Any], slots: Sequence[int]) -> Float32:
        """Return how far a frame is from those in some slots at the same places."""


class SeenTiles:
    """Which patches of a frame count, by tile.

    Parameters
    ----------
    shape : WindowShape
    roi : array, shape (P,), bool, or None
        Patches that count; None: all.

    Attributes
    ----------
    grid : Grid
    numbers : list of int
        The tiles in which a patch counts.
    parts : tuple of slice
        Where their patches stand among the P' that count.
    counted : array, shape (P',), int
        These patches, of all P.
    """

    def __init__(self, shape: WindowShape, roi: Bools | None) -> None:
        self.grid = Grid.of(shape.patches, shape.tiles)
        parts = self.grid.parts(roi)
        self.numbers = [number for number, part in enumerate(parts) if part.stop > part.start]
        self.parts = tuple(parts[number] for number in self.numbers)
        self.counted = np.arange(shape.patches) if roi is None else np.flatnonzero(roi)
        self.within = None  # places of the P' among the patches of these tiles
        if roi is not None:
            squares = np.asarray(roi).reshape(self.grid.count, -1)[self.numbers]
            self.within = np.flatnonzero(squares)


def runs_of(reachable: Bools, block: int) -> list[tuple[int, int]]:
    """Return the reachable slots as (start, stop) runs of at most `block`."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], reachable, [False])).astype(np.int8)))
    runs = []
    for first, end in edges.reshape(-1, 2).tolist():
        runs += [(start, min(start + block, end)) for start in range(first, end, block)]
    return runs


class BankStore:
    """A bank for each scale and tile.

    Parameters
    ----------
    shape : WindowShape
    tiles : SeenTiles
    pool : WorkerPool
        Threads for the products.
    xp : module
        NumPy or CuPy.
    """

    def __init__(
        self, shape: WindowShape, tiles: SeenTiles, pool: WorkerPool, *, xp: Any = np
    ) -> None:
        self._shape, self._tiles, self._pool, self._xp = shape, tiles, pool, xp
        self._within = None if tiles.within is None else xp.asarray(tiles.within)
        channels = [c for c in shape.channels for _ in range(match_count(shape.degrees))]
        bank, count, slots = FORMS[shape.form].bank, len(tiles.parts), shape.capacity
        # by scale, and in it by tile
        self._banks = [
            [
                bank.empty(slots, part.stop - part.start, c, turn=turn, xp=xp)
                for tile, part in enumerate(tiles.parts)
                for turn in [(scale * count + tile) * slots // (shape.scales * count)]
            ]
            for scale, c in enumerate(channels)
        ]

    @property
    def nbytes(self) -> int:
        """See `FeatureStore`."""
        return sum(bank.nbytes for banks in self._banks for bank in banks)

    def features_of(self, layers: Sequence[Any]) -> tuple[Any, ...]:
        """See `FeatureStore`."""
        found = []
        for layer in layers:
            rows = layer.reshape(self._tiles.grid.count, -1, layer.shape[1])
            if len(self._tiles.numbers) < len(rows):
                rows = rows[self._xp.asarray(self._tiles.numbers)]
            for features in aggregated(rows, self._shape.degrees):
                whole = features.reshape(-1, layer.shape[1])
                found.append(whole if self._within is None else whole[self._within])
        return tuple(found)

    def features_in(self, slot: int) -> tuple[Any, ...]:
        """See `FeatureStore`."""
        if len(self._tiles.parts) == 1:
            return tuple(bank.features[slot] for (bank,) in self._banks)
        return tuple(
            self._xp.concatenate([bank.features[slot] for bank in banks]) for banks in self._banks
        )

    def matched(
        self, features: Sequence[Any], ignored: Bools, absent: Bools, reachable: Bools
    ) -> tuple[Any, Any, Any]:
        """See `FeatureStore`; queries of some forms are no use to `put`."""
        shape, tiles, xp = self._shape, self._tiles.parts, self._xp
        sizes = (shape.scales, shape.capacity, shape.compared)
        to_slots, from_slots = (xp.full(sizes, np.inf, np.float32) for _ in range(2))
        queries = [
            [
                bank.query(frame[part], ignored[part])
                for bank, part in zip(banks, tiles, strict=True)
            ]
            for banks, frame in zip(self._banks, features, strict=True)
        ]

        def match_run(item: tuple[int, int, int, int]) -> None:
            scale, tile, start, stop = item
            bank, part = self._banks[scale][tile], tiles[tile]
            rows, columns = to_slots[scale, start:stop], from_slots[scale, start:stop]
            if len(tiles) == 1:
                bank.minima(queries[scale][tile], start, stop, rows, columns)
                return
            # a bank writes to arrays without gaps
            sizes = stop - start, part.stop - part.start
            own_rows, own_columns = (xp.empty(sizes, np.float32) for _ in range(2))
            bank.minima(queries[scale][tile], start, stop, own_rows, own_columns)
            rows[:, part], columns[:, part] = own_rows, own_columns

        self._pool.run(
            match_run,
            [
                (scale, tile, *run)
                for scale, banks in enumerate(self._banks)
                for tile, bank in enumerate(banks)
                for run in runs_of(reachable, bank.block)
            ],
        )
        to_slots, from_slots = (
            self._with(half_squared, half_squared >= IGNORED / 2, np.inf)
            for half_squared in (to_slots, from_slots)
        )
        if absent.any():
            there = xp.isfinite(to_slots) & xp.asarray(absent)
            to_slots = self._with(to_slots, there, 0)
        return to_slots, from_slots, None

    def _with(self, values: Any, mask: Any, value: float) -> Any:
        """Return values with another one where the mask says so; on a device without a wait."""
        if self._xp is not np:
            return self._xp.where(mask, self._xp.float32(value), values)
        values[mask] = value
        return values

    def put(self, slot: int, features: Sequence[Any], prepared: Any, ignored: Bools) -> None:  # noqa: ARG002
        """See `FeatureStore`."""

        def put(scale: int) -> None:
            for bank, part in zip(self._banks[scale], self._tiles.parts, strict=True):
                bank.put(slot, features[scale][part], ignored[part])

        self._pool.run(put, range(self._shape.scales))

    def ignore(self, slot: int, ignored: Bools) -> tuple[Any, ...]:
        """See `FeatureStore`."""
        features = self.features_in(slot)
        for scale, part in enumerate(features):
            for bank, tile in zip(self._banks[scale], self._tiles.parts, strict=True):
                bank.put(slot, part[tile], ignored[tile])
        return features

    def place_distances(self, features: Sequence[Any], slots: Sequence[int]) -> Float32:
        """See `FeatureStore`."""
        return place_distances(features, (self.features_in(slot) for slot in slots))
