"""A window's features in float16 on a CUDA device, and its scores: few launches, few waits.

Where the host would ask for one score after the other it asks for all at once beforehand
(`FrameAnswers`, `CudaStore.averages`): each answer is a wait for the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zeroline.runtime.arrays import Bools, Float32, to_host
from zeroline.runtime.line.shape import WindowShape
from zeroline.runtime.line.stores import SeenTiles
from zeroline.runtime.matching.launches import SHARES
from zeroline.runtime.matching.units import CudaUnits, Sides
from zeroline.runtime.stages.degrees import FUSED_DEGREES, match_count
from zeroline.runtime.stages.interval import interval_bounds


class CudaFeatures(tuple[Any, ...]):
    """Features (P', C_l) by scale, float16: views of `rows`, which the product takes."""

    rows: Any
    half_norms: Any


@dataclass(frozen=True)
class FrameAnswers:
    """What was asked of a new frame in one transfer, on the host.

    Attributes
    ----------
    distances : dict
        How far it is from the frame in a slot, at the same places.
    scores : dict
        Patch scores (P') by slots that do not count; NaN where a patch has no match.
    """

    distances: dict[int, float]
    scores: dict[tuple[int, ...], Float32]


class CudaStore:
    """The slots of a window on a CUDA device; see `zeroline.runtime.line.stores.FeatureStore`.

    Parameters
    ----------
    shape : WindowShape
        Its form is the one with float16 features.
    tiles : SeenTiles
    interval : (float, float)
        Part of the sorted distances that is averaged.
    cupy : module
    """

    def __init__(
        self, shape: WindowShape, tiles: SeenTiles, *, interval: tuple[float, float], cupy: Any
    ) -> None:
        self._shape, self._tiles, self._cupy = shape, tiles, cupy
        self._fused = isinstance(shape.degrees, str)
        degrees = FUSED_DEGREES if isinstance(shape.degrees, str) else shape.degrees
        self._count = match_count(shape.degrees)
        channels = [c for c in shape.channels for _ in range(self._count)]
        self._units = CudaUnits(shape.capacity, channels, tiles.parts, cupy=cupy)
        self._degrees = cupy.asarray(np.array(degrees, np.int32))
        self._counted = cupy.asarray(tiles.counted.astype(np.int32))
        self._sums = cupy.empty((tiles.grid.count, SHARES), dtype=cupy.float64)
        low, high = interval
        bounds = [interval_bounds(n, low=low, high=high) for n in range(shape.capacity + 1)]
        self._bounds = cupy.asarray(np.array(bounds, np.int32))

    @property
    def nbytes(self) -> int:
        """Bytes of features, norms and codes."""
        return self._units.nbytes

    def features_of(self, layers: Sequence[Any]) -> CudaFeatures:
        """Return LNAMD features by scale; two launches a layer."""
        units, side = self._units, self._tiles.grid.side
        rows, half_norms = units.room()
        start = 0
        for number, layer in enumerate(layers):
            scales = slice(number * self._count, (number + 1) * self._count)
            depth = units.depths[scales.start]
            size = self._count * units.patches * depth
            units.kernels.aggregate(
                self._cupy.ascontiguousarray(layer).reshape(-1, side, side, layer.shape[1]),
                self._sums,
                self._counted,
                self._degrees,
                rows[start : start + size].reshape(self._count, units.patches, depth),
                half_norms[scales],
                fused=self._fused,
            )
            start += size
        return self._features(rows, half_norms)

    def _features(self, rows: Any, half_norms: Any) -> CudaFeatures:
        features = CudaFeatures(self._units.of(rows))
        features.rows, features.half_norms = rows, half_norms
        return features

    def features_in(self, slot: int) -> tuple[Any, ...]:
        """Return the features of the frame in a slot, by scale."""
        return tuple(held[slot] for held in self._units.held())

    def matched(
        self, features: Sequence[Any], ignored: Bools, absent: Bools, reachable: Bools
    ) -> tuple[Any, Any, Sides]:
        """Return ½d² to some slots and from them, and the frame's sides."""
        if isinstance(features, CudaFeatures):
            prepared = features.rows, features.half_norms
        else:
            prepared = self._units.rounded(features)
        marks = self._units.marks(ignored, reachable, absent)
        sides = Sides(*prepared, marks.codes)
        sizes = self._shape.scales, self._shape.capacity, self._shape.compared
        to_slots, from_slots = (self._cupy.empty(sizes, np.float32) for _ in range(2))
        self._units.match(sides, marks, to_slots, from_slots)
        return to_slots, from_slots, sides

    def put(self, slot: int, features: Sequence[Any], prepared: Sides, ignored: Bools) -> None:  # noqa: ARG002
        """Write a frame's sides to a slot."""
        self._units.put(slot, prepared)

    def ignore(self, slot: int, ignored: Bools) -> CudaFeatures:
        """Change the patches of a slot that nobody may match; return its features."""
        codes = self._units.marks(ignored, np.zeros(self._shape.capacity, bool)).codes
        self._units.mark(slot, codes)
        sides = self._units.sides_in(slot, codes)
        return self._features(sides.rows, sides.half_norms)

    def place_distances(self, features: Sequence[Any], slots: Sequence[int]) -> Float32:
        """Return how far a frame is from those in some slots at the same places."""
        made = self._cupy.empty((len(slots), self._units.patches), np.float32)
        self._measure_places(features, slots, made)
        medians: Float32 = np.median(to_host(made), axis=1).astype(np.float32)
        return medians

    def _measure_places(self, features: Sequence[Any], slots: Sequence[int], out: Any) -> None:
        assert isinstance(features, CudaFeatures)  # noqa: S101 - of `features_of`
        units = self._units
        places = self._cupy.asarray(np.array(slots, np.int32))
        units.kernels.place_distances(
            features.rows, units.rows, units.table, units.scales, places, out
        )

    def averages(
        self,
        half_squared: Any,
        starts: Sequence[int],
        without: Sequence[Sequence[int]],
        *,
        apart: int,
        out: Any = None,
    ) -> Any:
        """Return the interval averages of some frames over all scales, on the device.

        Parameters
        ----------
        half_squared : array, float32
            ½d²; the rows (W, P') of a frame follow each other, `apart` values from scale to scale.
        starts : sequence of int
            Where the rows of each frame begin.
        without : sequence of sequences of int
            Slots that do not count, for each.
        out : array, shape (frames, P'), float32, optional

        Returns
        -------
        array, shape (frames, P'), float32
            NaN where a patch has no match. As `stages.interval.average_on_device`.
        """
        cupy, slots = self._cupy, self._shape.capacity
        left_out = np.zeros((len(starts), slots), np.int32)
        for row, some in zip(left_out, without, strict=True):
            row[list(some)] = 1
        if out is None:
            out = cupy.empty((len(starts), self._units.patches), np.float32)
        self._units.kernels.scores(
            half_squared, cupy.asarray(np.array(starts, np.int64)), apart, self._shape.scales,
            cupy.asarray(left_out), self._bounds, out,
        )  # fmt: skip
        return out

    def answers(
        self, features: Sequence[Any], to_slots: Any, recent: Sequence[int], place: int
    ) -> FrameAnswers:
        """Ask all at once what tells whether a new frame is a copy, and what it scores.

        Parameters
        ----------
        features : CudaFeatures
        to_slots : array, shape (scales, W, P'), float32
        recent : sequence of int
            Slots whose frames it may be a copy of.
        place : int
            The slot that it will take.
        """
        count = len(recent)
        without = [(slot,) for slot in dict.fromkeys([*recent, place])]
        made = self._cupy.empty((count + len(without), self._units.patches), np.float32)
        if count:
            self._measure_places(features, recent, made[:count])
        apart = self._shape.capacity * self._shape.compared
        starts = [0] * len(without)
        self.averages(to_slots, starts, without, apart=apart, out=made[count:])
        found = to_host(made)
        medians = np.median(found[:count], axis=1).tolist() if count else []
        return FrameAnswers(
            dict(zip(recent, medians, strict=True)), dict(zip(without, found[count:], strict=True))
        )
