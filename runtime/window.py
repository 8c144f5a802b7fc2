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
import numpy.typing as npt

from zeroline.runtime.compiled import compiled_loops
from zeroline.runtime.degrees import aggregated, match_count
from zeroline.runtime.errors import ScoringError
from zeroline.runtime.grid import grid_side
from zeroline.runtime.interval import average_rows
from zeroline.runtime.matching_operand import IGNORED, left_rows, right_operand
from zeroline.runtime.workers import WorkerPool

Float32 = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Shape:
    """Sizes of a window.

    Attributes
    ----------
    capacity : int
        W, the number of slots.
    patches : int
        P.
    channels : tuple of int
        C_l of each layer.
    degrees : tuple of int, or "fused"
        Neighbourhood sizes of LNAMD; see `zeroline.runtime.degrees`.
    """

    capacity: int
    patches: int
    channels: tuple[int, ...]
    degrees: tuple[int, ...] | str

    def __post_init__(self) -> None:
        if self.capacity < 2:
            raise ScoringError(f"window is {self.capacity}, at least 2 frames are expected")
        match_count(self.degrees)
        grid_side(self.patches)

    @property
    def units(self) -> int:
        """Number of matches: (layer, degree) pairs, or layers where degrees are fused."""
        return len(self.channels) * match_count(self.degrees)

    @property
    def memory(self) -> int:
        """Bytes that the window holds, all taken at its start.

        With W slots, P patches, R degrees, C_l channels of L layers::

            R·Σ_l 4·W·P·(2·C_l + 2)     features, and the operand that they are multiplied by
            + L·R·4·W²·P                distances
        """
        features = sum(4 * self.capacity * self.patches * (2 * c + 2) for c in self.channels)
        distances = 4 * self.units * self.capacity**2 * self.patches
        return match_count(self.degrees) * features + distances


@dataclass(frozen=True)
class Matches:
    """A new frame matched with the window, not yet part of it.

    Attributes
    ----------
    features : tuple of arrays, shape (P, C_l), float32
        Unit rows, by unit.
    to_slots : array, shape (units, W, P), float32
        ½‖x − y‖² from each patch of the new frame to each slot; inf where it does not match.
    from_slots : array, shape (units, W, P), float32
        The same from each patch of each slot to the new frame.
    ignore : array, shape (P,), bool
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
    shape : Shape
    pool : WorkerPool
        Threads for the products.
    interval : (float, float)
        Part of the sorted distances that is averaged.

    Notes
    -----
    Slots are chosen by the caller: `admit` writes to a slot, whatever was there before.
    """

    def __init__(
        self, shape: Shape, pool: WorkerPool, *, interval: tuple[float, float] = (0.0, 0.3)
    ) -> None:
        self.shape = shape
        self._pool = pool
        self._interval = interval
        slots, patches = shape.capacity, shape.patches
        self._channels = [c for c in shape.channels for _ in range(match_count(shape.degrees))]
        self._features = [np.zeros((slots, patches, c), np.float32) for c in self._channels]
        self._operands = [np.zeros((c + 2, slots * patches), np.float32) for c in self._channels]
        # [unit, image, other image, patch]; an empty slot is out of reach
        self._half_squared = np.full((shape.units, slots, slots, patches), np.inf, np.float32)
        self._ignored: Bools = np.zeros((slots, patches), bool)
        self.filled: Bools = np.zeros(slots, bool)

    def features_of(self, layers: Sequence[Any]) -> tuple[Float32, ...]:
        """Return LNAMD features of one frame's tokens, by unit.

        Parameters
        ----------
        layers : sequence of arrays, shape (P, C_l), float
        """
        expected = [(self.shape.patches, c) for c in self.shape.channels]
        found = [tuple(layer.shape) for layer in layers]
        if found != expected:
            raise ScoringError(f"tokens have the shapes {found}, {expected} is expected")
        return tuple(
            np.asarray(features[0])
            for layer in layers
            for features in aggregated(layer[None], self.shape.degrees)
        )

    def features_in(self, slot: int) -> tuple[Float32, ...]:
        """Return the features of the frame in a slot, by unit."""
        return tuple(ring[slot] for ring in self._features)

    def match(
        self,
        features: Sequence[Float32],
        *,
        ignore: Bools | None = None,
        apart: Bools | None = None,
    ) -> Matches:
        """Match a new frame with all slots; the window stays as it is.

        Parameters
        ----------
        features : sequence of arrays, shape (P, C_l), float32
            From `features_of`.
        ignore : array, shape (P,), bool, optional
            Patches of the new frame that nobody may match.
        apart : array, shape (W,), bool, optional
            Slots that the new frame does not match, nor they it: those of the same part.
        """
        slots, patches = self.shape.capacity, self.shape.patches
        hidden = np.zeros(patches, bool) if ignore is None else np.asarray(ignore, bool)
        if hidden.shape != (patches,):
            raise ScoringError(f"ignore has shape {hidden.shape}, ({patches},) is expected")
        to_slots = np.full((self.shape.units, slots, patches), np.inf, np.float32)
        from_slots = np.full_like(to_slots, np.inf)
        reachable = self.filled if apart is None else self.filled & ~apart
        runs = _runs(reachable, self._pool.block(patches))
        work = [(unit, start, stop) for unit in range(self.shape.units) for start, stop in runs]

        sides = [_Left.of(part, hidden) for part in features]

        def match_run(item: tuple[int, int, int]) -> None:
            unit, start, stop = item
            right = self._operands[unit][:, start * patches : stop * patches]
            ring = self._features[unit][start:stop]
            rows = to_slots[unit, start:stop]
            from_slots[unit, start:stop] = sides[unit].minima(right, ring, rows)

        self._pool.run(match_run, work)
        own = self._ignored & reachable[:, None]
        if own.any():

            def match_ignored(unit: int) -> None:
                from_slots[unit][own] = self._ignored_minima(unit, features[unit], hidden, own)

            self._pool.run(match_ignored, range(self.shape.units))
        to_slots[to_slots >= IGNORED / 2] = np.inf
        from_slots[from_slots >= IGNORED / 2] = np.inf
        return Matches(tuple(features), to_slots, from_slots, hidden)

    def _ignored_minima(self, unit: int, features: Float32, hidden: Bools, own: Bools) -> Float32:
        """Match the slots' patches that nobody may match, `own` (W, P), with a new frame."""
        chosen = self._features[unit][own]
        minima: Float32 = np.empty((1, len(chosen)), np.float32)
        right = right_operand(features[None], hidden[None])
        product_minima(left_rows(chosen), right, chosen, features[None], minima)
        return minima.reshape(-1)

    def admit(self, slot: int, matches: Matches) -> None:
        """Put a matched frame into a slot, in place of what is there."""
        patches = self.shape.patches
        self.evict(slot)
        for unit, features in enumerate(matches.features):
            self._features[unit][slot] = features
            place = slice(slot * patches, (slot + 1) * patches)
            self._operands[unit][:, place] = right_operand(features[None], matches.ignore[None])
            self._half_squared[unit, slot] = matches.to_slots[unit]
            self._half_squared[unit, :, slot] = matches.from_slots[unit]
            self._half_squared[unit, slot, slot] = np.inf
        self._ignored[slot] = matches.ignore
        self.filled[slot] = True

    def evict(self, slot: int) -> None:
        """Empty a slot."""
        self.filled[slot] = False
        self._ignored[slot] = False
        self._half_squared[:, slot] = np.inf
        self._half_squared[:, :, slot] = np.inf

    def score(self, matches: Matches, *, without: int | None = None) -> Float32 | None:
        """Return the patch scores (P,) of a frame that is not in the window; see `patch_scores`.

        Parameters
        ----------
        matches : Matches
        without : int, optional
            A slot that does not count: the one that the frame will take.
        """
        rows = matches.to_slots
        if without is not None:
            rows = rows.copy()
            rows[:, without] = np.inf
        return self._average(rows)

    def patch_scores(self, slot: int) -> Float32 | None:
        """Return the patch scores (P,) of the frame in a slot, against the window as it is now.

        Mean over layers and degrees. None where a patch has no frame to match.
        """
        return self._average(self._half_squared[:, slot])

    def _average(self, half_squared: Float32) -> Float32 | None:
        """Average (units, W, P) half squared distances to patch scores."""
        low, high = self._interval
        there = np.isfinite(half_squared).any(axis=(0, 2))
        total = np.zeros(self.shape.patches, np.float64)
        for unit in half_squared:
            distances = np.sqrt(2 * np.maximum(unit[there], 0)).T
            if not distances.size or not np.isfinite(distances).any(axis=1).all():
                return None
            total += average_rows(distances, low=low, high=high)
        return (total / self.shape.units).astype(np.float32)


@dataclass(frozen=True)
class _Left:
    """The left side of a new frame's products.

    Attributes
    ----------
    features : array, shape (P, C), float32
    operand : array, shape (P, C + 2), float32
        Ignored patches are out of everybody's reach.
    ignore : array, shape (P,), bool
    own : array, shape (ignored patches, C + 2), float32
        Nobody matches them, but they match others.
    """

    features: Float32
    operand: Float32
    ignore: Bools
    own: Float32

    @classmethod
    def of(cls, features: Float32, ignore: Bools) -> _Left:
        operand = left_rows(features)
        own = operand[ignore]
        operand[ignore, features.shape[1]] = IGNORED
        return cls(features, operand, ignore, own)

    def minima(self, right: Float32, ring: Float32, rows: Float32) -> Float32:
        """Write row minima to `rows` (slots, P); return the column minima likewise."""
        slots, patches, _ = ring.shape
        columns = product_minima(self.operand, right, self.features, ring, rows)
        if len(self.own):
            least = np.empty((slots, len(self.own)), np.float32)
            product_minima(self.own, right, self.features[self.ignore], ring, least)
            rows[:, self.ignore] = least
        return columns.reshape(slots, patches)


def product_minima(
    left: Float32, right: Float32, left_features: Float32, right_features: Float32, rows: Float32
) -> Float32:
    """Write row minima by slot, return column minima; compiled where that can be."""
    loops = compiled_loops()
    if loops is None:
        from zeroline.runtime.matching_plain import block_minima

        plain: Float32 = block_minima(left, right, left_features, right_features, rows)
        return plain
    from zeroline.runtime.matching_cpu import block_minima as compiled_minima
    from zeroline.runtime.matching_cpu import tile_shape

    height, _ = tile_shape(right_features.shape[1])
    return compiled_minima(
        left, right, left_features, right_features, rows, rows=height, loops=loops
    )


def _runs(reachable: Bools, block: int) -> list[tuple[int, int]]:
    """Return the reachable slots as (start, stop) runs of at most `block`."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], reachable, [False])).astype(np.int8)))
    runs = []
    for first, end in edges.reshape(-1, 2).tolist():
        runs += [(start, min(start + block, end)) for start in range(first, end, block)]
    return runs
