"""The bank on a CUDA device: float16 features, products with float32 sums, minima beside them.

Two forms give the same: "fp16-fused" multiplies and takes minima in one kernel, "fp16-tiled" lets
cuBLAS multiply some slots at a time, whose tile stays in the L2 cache, and takes the minima there.
Which is quicker depends on device and channels.

A bank in float16 halves memory and its traffic. Against the exact form the distances of unit rows
come out some 1e-4 off (docs/algorithms.md); near matches are measured anew from the same rows.
Nothing here waits for the device: all is queued on CuPy's current stream.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zeroline.runtime.matching.cuda_kernels import BLOCK, DEPTH, matching_kernels
from zeroline.runtime.matching.operand import NEAR, rounding_margin
from zeroline.runtime.matching.screens import index_bits

#: Above all values in an order key: nobody may match this patch. As in kernels/matching.cu.
_IGNORED = 0x7F000000
_NO_KEY = 0x7FFFFFFF


@dataclass(frozen=True)
class CudaQuery:
    """A new frame on the device, ready for the products.

    Attributes
    ----------
    features : array, shape (P, C'), float16
        C' is C filled up to a multiple of 32.
    half_norms : array, shape (P'',), float32
        Filled up to a multiple of 128 patches, as the codes.
    codes : array, shape (P'',), int32
    """

    features: Any
    half_norms: Any
    codes: Any


class CudaBank:
    """Features in float16; see `zeroline.runtime.matching.bank`.

    Parameters
    ----------
    slots, patches, channels : int
        W, P, C.
    form : {"fp16-fused", "fp16-tiled"}
    cupy : module

    Raises
    ------
    DeviceError
        If the device cannot run the kernels.
    """

    def __init__(self, slots: int, patches: int, channels: int, *, form: str, cupy: Any) -> None:
        self._cupy, self._form = cupy, form
        self._kernels = matching_kernels(cupy)
        self._patches, self._channels = patches, channels
        self._held = cupy.zeros((slots, patches, filled(channels)), dtype=cupy.float16)
        self._half_norms = cupy.zeros((slots, patches), dtype=cupy.float32)
        self._codes = cupy.zeros((slots, patches), dtype=cupy.int32)
        self._mask = -(1 << index_bits(patches))
        self._margin = rounding_margin(channels)
        self.block = slots

    @property
    def features(self) -> Any:
        """Features (W, P, C), float16, on the device."""
        return self._held[:, :, : self._channels]

    @property
    def nbytes(self) -> int:
        """Bytes of features, norms and codes."""
        return int(self._held.nbytes + self._half_norms.nbytes + self._codes.nbytes)

    def put(self, slot: int, features: Any, ignore: Any) -> None:
        """Write a frame to a slot."""
        query = self.query(features, ignore)
        self._held[slot] = query.features
        self._half_norms[slot] = query.half_norms[: self._patches] - self._cupy.float32(
            self._margin
        )
        self._codes[slot] = query.codes[: self._patches]

    def query(self, features: Any, ignore: Any) -> CudaQuery:
        """Prepare a frame for `minima`."""
        cupy, patches = self._cupy, self._patches
        held = cupy.zeros((patches, self._held.shape[2]), dtype=cupy.float16)
        held[:, : self._channels] = cupy.asarray(features)
        rows = -(-patches // BLOCK) * BLOCK
        half_norms = cupy.zeros(rows, dtype=cupy.float32)
        # of the rounded rows: so a row and its copy cancel
        wide = held.astype(cupy.float32)
        half_norms[:patches] = (wide * wide).sum(axis=1) / 2 + cupy.float32(self._margin)
        codes = cupy.full(rows, _NO_KEY, dtype=cupy.int32)
        hidden = cupy.asarray(ignore).astype(cupy.int32)
        codes[:patches] = cupy.arange(patches, dtype=cupy.int32) + hidden * cupy.int32(_IGNORED)
        return CudaQuery(held, half_norms, codes)

    def minima(self, query: CudaQuery, start: int, stop: int, rows: Any, columns: Any) -> None:
        """Match a frame with some slots; see `FeatureBank.minima`."""
        cupy, kernels = self._cupy, self._kernels
        place = slice(start, stop)
        bank, half_norms, codes = self._held[place], self._half_norms[place], self._codes[place]
        row_keys = cupy.empty((stop - start, self._patches), dtype=cupy.int32)
        column_keys = cupy.full((stop - start, self._patches), _NO_KEY, dtype=cupy.int32)
        of_frame = query.half_norms, query.codes
        if self._form == "fp16-fused":
            kernels.fused_keys(
                query.features,
                *of_frame,
                bank,
                half_norms,
                codes,
                self._mask,
                row_keys,
                column_keys,
            )
        else:
            step = min(stop - start, max(1, kernels.cache // (8 * self._patches**2)))
            tile = cupy.empty((step, self._patches, self._patches), dtype=cupy.float32)
            for first in range(0, stop - start, step):
                some = slice(first, min(first + step, stop - start))
                part = tile[: some.stop - first]
                kernels.product(query.features, bank[some], part)
                kernels.tile_keys(
                    part, *of_frame, half_norms[some], codes[some], self._mask, row_keys[some],
                    column_keys[some],
                )  # fmt: skip
        for keys, out, to_frame in ((row_keys, rows, False), (column_keys, columns, True)):
            kernels.measure(
                query.features, bank, keys, self._mask, self._margin, NEAR, out, to_frame=to_frame
            )


def filled(channels: int) -> int:
    """Return C filled up to a multiple of what the kernels take at once."""
    return -(-channels // DEPTH) * DEPTH


def cuda_bank_bytes(slots: int, patches: int, channels: int) -> int:
    """Return the bytes that a bank holds on the device."""
    return slots * patches * (2 * filled(channels) + 8)
