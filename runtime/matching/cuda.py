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
from importlib.resources import files
from typing import Any

import numpy as np

from zeroline.runtime.arrays import array_namespace
from zeroline.runtime.errors import DeviceError
from zeroline.runtime.matching.operand import NEAR, check_finite, rounding_margin
from zeroline.runtime.matching.screens import NO_KEY, index_bits

#: Rows of a tile of `fused_keys`, and of a strip of `tile_keys`; as in kernels/matching.cu.
BLOCK, STRIP = 128, 32
#: Channels are filled up with zeros to a multiple of this.
DEPTH = 32
_THREADS = 256
_LEAST_CAPABILITY = (8, 0)

# cuBLAS's and CUDA's numbers
_FLOAT16, _FLOAT32 = 2, 0
_COMPUTE_FLOAT32 = 68
_PLAIN, _TRANSPOSED = 0, 1
_ANY_ALGORITHM = -1


def kernel_source(primitives: str | None = None) -> str:
    """Return the kernels' source, the GPU's primitives in front of it, or others'."""
    folder = files("zeroline.runtime.matching").joinpath("kernels")
    front = primitives or folder.joinpath("primitives.cuh").read_text(encoding="utf-8")
    return front + folder.joinpath("matching.cu").read_text(encoding="utf-8")


class MatchingKernels:
    """The three kernels, and the product between them; all on CuPy's current stream.

    Parameters
    ----------
    cupy : module

    Raises
    ------
    DeviceError
        If the device is older than sm_80, or the kernels cannot be compiled.

    Notes
    -----
    kernels/matching.cu says what each array is.
    """

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        device = cupy.cuda.runtime.getDevice()
        properties = cupy.cuda.runtime.getDeviceProperties(device)
        capability = int(properties["major"]), int(properties["minor"])
        if capability < _LEAST_CAPABILITY:
            version = ".".join(map(str, capability))
            raise DeviceError(f"the matching kernels need compute capability 8.0, found {version}")
        #: Bytes of the device's L2 cache.
        self.cache = int(properties["l2CacheSize"])
        try:
            module = cupy.RawModule(code=kernel_source(), options=("-std=c++17",))
            self._fused, self._tile, self._measure = (
                module.get_function(name) for name in ("fused_keys", "tile_keys", "measure")
            )
        except Exception as error:  # CuPy's own classes are many
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DeviceError(f"the matching kernels cannot be compiled: {reason}") from error

    def fused_keys(
        self, frame: Any, half_frame: Any, frame_codes: Any, bank: Any, half_bank: Any,
        bank_codes: Any, mask: int, row_keys: Any, column_keys: Any,
    ) -> None:  # fmt: skip
        """Multiply a frame with slots and take the least keys, in one kernel."""
        slots, patches, channels = bank.shape
        self._fused(
            (-(-patches // BLOCK), slots),
            (_THREADS,),
            (frame, half_frame, frame_codes, bank, half_bank, bank_codes, np.int32(patches),
             np.int32(channels), np.int32(mask), row_keys, column_keys),
        )  # fmt: skip

    def tile_keys(
        self, tile: Any, half_frame: Any, frame_codes: Any, half_bank: Any, bank_codes: Any,
        mask: int, row_keys: Any, column_keys: Any,
    ) -> None:  # fmt: skip
        """Take the least keys of a product that lies in memory."""
        slots, patches, _ = tile.shape
        self._tile(
            (-(-patches // STRIP), slots),
            (_THREADS,),
            (tile, half_frame, frame_codes, half_bank, bank_codes, np.int32(patches),
             np.int32(mask), row_keys, column_keys),
        )  # fmt: skip

    def measure(
        self, frame: Any, bank: Any, keys: Any, mask: int, margin: float, limit: float,
        half_squared: Any, *, to_frame: bool,
    ) -> None:  # fmt: skip
        """Turn keys into ½‖x - y‖², those under `limit` measured anew."""
        slots, patches, channels = bank.shape
        self._measure(
            (-(-slots * patches // (_THREADS // 32)),),
            (_THREADS,),
            (frame, bank, keys, np.int32(slots), np.int32(patches), np.int32(channels),
             np.int32(mask), np.float32(margin), np.float32(limit), np.int32(to_frame),
             half_squared),
        )  # fmt: skip

    def product(self, frame: Any, bank: Any, tile: Any) -> None:
        """Write frame·slotᵀ, float16 in and float32 out, to `tile` (slots, P, P) by cuBLAS."""
        slots, patches, channels = bank.shape
        unity, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
        # cuBLAS counts columns first: what it calls (P columns of the slot) × (P of the frame)
        # is our rows of the frame × columns of the slot
        self._cupy.cuda.cublas.gemmStridedBatchedEx(
            self._cupy.cuda.get_cublas_handle(), _TRANSPOSED, _PLAIN,
            patches, patches, channels, unity.ctypes.data,
            bank.data.ptr, _FLOAT16, channels, patches * channels,
            frame.data.ptr, _FLOAT16, channels, 0, zero.ctypes.data,
            tile.data.ptr, _FLOAT32, patches, patches * patches,
            slots, _COMPUTE_FLOAT32, _ANY_ALGORITHM,
        )  # fmt: skip


_compiled: dict[int, MatchingKernels] = {}


def matching_kernels(cupy: Any) -> MatchingKernels:
    """Return the kernels of CuPy's current device, compiled once."""
    device = int(cupy.cuda.runtime.getDevice())
    if device not in _compiled:
        _compiled[device] = MatchingKernels(cupy)
    return _compiled[device]


#: Above all values in an order key: nobody may match this patch. As in kernels/matching.cu.
_IGNORED = 0x7F000000


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
    """Features in float16; see `zeroline.runtime.matching.forms`.

    Parameters
    ----------
    slots, patches, channels : int
        W, P, C.
    cupy : module

    Raises
    ------
    DeviceError
        If the device cannot run the kernels.

    Attributes
    ----------
    fused : bool
        Whether one kernel multiplies and takes the minima.
    """

    fused: bool

    def __init__(self, slots: int, patches: int, channels: int, *, cupy: Any) -> None:
        self._cupy = cupy
        self._kernels = matching_kernels(cupy)
        self._patches, self._channels = patches, channels
        self._held = cupy.zeros((slots, patches, filled(channels)), dtype=cupy.float16)
        self._half_norms = cupy.zeros((slots, patches), dtype=cupy.float32)
        self._codes = cupy.zeros((slots, patches), dtype=cupy.int32)
        self._mask = -(1 << index_bits(patches))
        self._margin = rounding_margin(channels)
        self.block = slots

    @classmethod
    def empty(cls, slots: int, patches: int, channels: int, *, turn: int, xp: Any) -> CudaBank:  # noqa: ARG003
        """Return an empty bank; see `FeatureBank`."""
        return cls(slots, patches, channels, cupy=xp)

    @classmethod
    def patch_bytes(cls, channels: int) -> int:
        """Return the bytes of one patch in a bank."""
        return 2 * filled(channels) + 8

    @classmethod
    def holding(cls, features: Any, ignore: Any) -> CudaBank:
        """Return a bank that holds a set; see `FeatureBank`.

        Raises
        ------
        ScoringError
            For NaN or inf; names the image.
        """
        cupy = array_namespace(features)
        images, patches, channels = features.shape
        bank = cls(images, patches, channels, cupy=cupy)
        nothing = cupy.zeros(patches, dtype=bool)
        for image in range(images):
            check_finite(features[image], image=image)
            bank.put(image, features[image], nothing if ignore is None else ignore[image])
        return bank

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
        codes = cupy.full(rows, NO_KEY, dtype=cupy.int32)
        ignored = cupy.asarray(ignore).astype(cupy.int32)
        codes[:patches] = cupy.arange(patches, dtype=cupy.int32) + ignored * cupy.int32(_IGNORED)
        return CudaQuery(held, half_norms, codes)

    def minima(self, query: CudaQuery, start: int, stop: int, rows: Any, columns: Any) -> None:
        """Match a frame with some slots; see `FeatureBank.minima`."""
        cupy, kernels = self._cupy, self._kernels
        place = slice(start, stop)
        bank, half_norms, codes = self._held[place], self._half_norms[place], self._codes[place]
        row_keys = cupy.empty((stop - start, self._patches), dtype=cupy.int32)
        column_keys = cupy.full((stop - start, self._patches), NO_KEY, dtype=cupy.int32)
        of_frame = query.half_norms, query.codes
        if self.fused:
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


class FusedBank(CudaBank):
    """One kernel multiplies and takes the minima."""

    fused = True


class TiledBank(CudaBank):
    """cuBLAS multiplies some slots at a time, a kernel takes the minima."""

    fused = False
