"""Features of W frames on a CUDA device, of all scales and tiles, matched in one go.

A unit is one tile of one scale. Their rows lie one behind the other in one array, so that one
launch of a kernel serves them all (kernels/matching.cu).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from zeroline.runtime.arrays import Bools, Int32
from zeroline.runtime.matching.launches import filled, matching_kernels
from zeroline.runtime.matching.operand import NEAR, rounding_margin
from zeroline.runtime.matching.screens import NO_KEY, index_bits

#: Above all values in an order key: nobody may match this patch. As in kernels/matching.cu.
IGNORED_KEY = 0x7F000000
#: Added to values so that rounding leaves none under 0, whose key would win against all. Tensor
#: cores cut sums off instead of rounding them; near matches are measured anew, so it costs nothing.
LEAST_MARGIN = 2e-4


@dataclass(frozen=True)
class Sides:
    """What the product takes of one frame.

    Attributes
    ----------
    rows : array, float16
        Unit rows (P, C') of all scales, one behind the other.
    half_norms : array, shape (S, P), float32
        ½‖x‖² of these rows.
    codes : array, shape (P,), int32
        Each patch's number in its tile; over `IGNORED_KEY` where nobody may match it.
    """

    rows: Any
    half_norms: Any
    codes: Any


@dataclass(frozen=True)
class Marks:
    """What is told of a frame and the slots before they are matched, in one copy to the device.

    Attributes
    ----------
    codes, absent : array, shape (P,), int32
        See `Sides`; not 0 where a patch lies at 0 from all frames.
    reachable : array, shape (W,), int32
        0 where a slot is left out.
    """

    codes: Any
    absent: Any
    reachable: Any


class CudaUnits:
    """W slots for frames of P patches.

    Parameters
    ----------
    slots : int
        W.
    channels : sequence of int
        C of each scale.
    tiles : sequence of slice
        Where each tile's patches stand among the P.
    cupy : module

    Raises
    ------
    DeviceError
        If the device cannot run the kernels.

    Attributes
    ----------
    slots, patches : int
        W, P.
    depths : list of int
        C of each scale, filled up.
    table : array, shape (S · tiles, 7), int64
        The units, for the kernels.
    """

    def __init__(
        self, slots: int, channels: Sequence[int], tiles: Sequence[slice], *, cupy: Any
    ) -> None:
        self._cupy = cupy
        self.kernels = matching_kernels(cupy)
        self.slots, self.patches = slots, tiles[-1].stop
        self._channels, self._tiles = tuple(channels), tuple(tiles)
        self.depths = [filled(count) for count in channels]
        starts = self.patches * np.cumsum([0, *self.depths])
        self._starts = starts.tolist()
        self.rows = cupy.zeros(slots * self._starts[-1], dtype=cupy.float16)
        self._half_norms = cupy.zeros((len(channels), slots, self.patches), dtype=cupy.float32)
        self._codes = cupy.zeros((len(channels), slots, self.patches), dtype=cupy.int32)
        self._margin = max(LEAST_MARGIN, rounding_margin(max(channels)))
        sizes = [tile.stop - tile.start for tile in tiles]
        self._most = max(sizes)
        self._numbers: Int32 = np.concatenate([np.arange(size, dtype=np.int32) for size in sizes])
        table = [
            (scale, start, slots * start, depth, tile.start, size, -(1 << index_bits(size)))
            for scale, (start, depth) in enumerate(zip(self._starts, self.depths, strict=False))
            for tile, size in zip(tiles, sizes, strict=True)
        ]
        self.table = cupy.asarray(np.array(table, np.int64))

    @property
    def nbytes(self) -> int:
        """Bytes of rows, norms and codes."""
        return int(self.rows.nbytes + self._half_norms.nbytes + self._codes.nbytes)

    @property
    def scales(self) -> int:
        """S."""
        return len(self._channels)

    def held(self) -> tuple[Any, ...]:
        """Return the features (W, P, C) of all slots, by scale, float16."""
        return tuple(rows[:, :, :count] for rows, count in self._by_scale(self.rows, self.slots))

    def of(self, rows: Any) -> tuple[Any, ...]:
        """Return the features (P, C) in one frame's `Sides.rows`, by scale."""
        return tuple(part[0, :, :count] for part, count in self._by_scale(rows, 1))

    def _by_scale(self, rows: Any, slots: int) -> list[tuple[Any, int]]:
        parts = []
        for scale, (depth, count) in enumerate(zip(self.depths, self._channels, strict=True)):
            part = rows[slots * self._starts[scale] : slots * self._starts[scale + 1]]
            parts.append((part.reshape(slots, self.patches, depth), count))
        return parts

    def room(self) -> tuple[Any, Any]:
        """Return room for the rows and the norms of one frame."""
        rows = self._cupy.empty(self._starts[-1], dtype=self._cupy.float16)
        return rows, self._cupy.empty((self.scales, self.patches), dtype=self._cupy.float32)

    def rounded(self, features: Sequence[Any]) -> tuple[Any, Any]:
        """Return rows and norms of a frame's features (P, C) by scale, any float type.

        In array operations; a kernel writes those of a frame's tokens.
        """
        cupy = self._cupy
        rows, half_norms = self.room()
        parts = self._by_scale(rows, 1)
        for scale, ((part, count), given) in enumerate(zip(parts, features, strict=True)):
            part[0, :, :count] = cupy.asarray(given)
            part[0, :, count:] = 0
            wide = part[0].astype(cupy.float32)  # of the rounded rows: so a row and its copy cancel
            half_norms[scale] = (wide * wide).sum(axis=1) / 2
        return rows, half_norms

    def marks(self, ignored: Bools, reachable: Bools, absent: Bools | None = None) -> Marks:
        """Bring marks to the device: patches (P,) of a frame, and slots (W,)."""
        codes = self._numbers + np.int32(IGNORED_KEY) * ignored.astype(np.int32)
        away = np.zeros(self.patches, bool) if absent is None else absent
        sent = self._cupy.asarray(np.concatenate([codes, away, reachable]).astype(np.int32))
        ends = self.patches, 2 * self.patches
        return Marks(sent[: ends[0]], sent[ends[0] : ends[1]], sent[ends[1] :])

    def put(self, slot: int, sides: Sides) -> None:
        """Write a frame to a slot."""
        width = 0
        for depth, scales in groupby(self.depths):  # a run of one width is one array
            count = len(list(scales))
            size = count * self.patches * depth
            shape = count, self.slots, self.patches * depth
            bank = self.rows[self.slots * width : self.slots * (width + size)].reshape(shape)
            bank[:, slot] = sides.rows[width : width + size].reshape(count, -1)
            width += size
        self._half_norms[:, slot] = sides.half_norms
        self._codes[:, slot] = sides.codes

    def mark(self, slot: int, codes: Any) -> None:
        """Change which patches of a slot nobody may match."""
        self._codes[:, slot] = codes

    def sides_in(self, slot: int, codes: Any) -> Sides:
        """Return what a slot holds as the sides of a frame, with codes of its own."""
        parts = [part[slot].reshape(-1) for part, _ in self._by_scale(self.rows, self.slots)]
        return Sides(self._cupy.concatenate(parts), self._half_norms[:, slot].copy(), codes)

    def match(
        self,
        sides: Sides,
        marks: Marks,
        to_slots: Any,
        from_slots: Any,
        *,
        place: slice = slice(None),
    ) -> None:
        """Write ½d² to some slots and from them: (S, W, P), inf where nobody is to be matched.

        Parameters
        ----------
        sides : Sides
        marks : Marks
        to_slots, from_slots : array, shape (S, W, P), float32
        place : slice
            Slots that take part at all; others than all only where there is one unit.
        """
        cupy = self._cupy
        slots = to_slots.shape[1]
        bank = self.rows
        if slots < self.slots:
            first, stop, _ = place.indices(self.slots)
            bank = bank[first * self._starts[-1] : stop * self._starts[-1]]
        norms, codes = self._half_norms[:, place], self._codes[:, place]
        row_keys = cupy.empty(to_slots.shape, dtype=cupy.int32)
        column_keys = cupy.full(to_slots.shape, NO_KEY, dtype=cupy.int32)
        keys = self._margin, row_keys, column_keys
        others = sides.half_norms, sides.codes, bank, norms, codes
        self.kernels.fused_keys(
            (sides.rows, *others), self.table, marks.reachable, slots, self.patches,
            self._most, *keys,
        )  # fmt: skip
        self.kernels.measure(
            sides.rows, bank, row_keys, column_keys, self.table, marks.reachable, marks.absent,
            slots, self.patches, self._most, self._margin, NEAR, to_slots, from_slots,
        )  # fmt: skip
