"""The CUDA kernels of matching, compiled for the device at hand when first used."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import numpy as np

from zeroline.runtime.errors import DeviceError

#: Rows of a tile of `fused_keys`, and of a strip of `tile_keys`; as in kernels/matching.cu.
BLOCK, STRIP = 128, 32
#: Channels are filled up with zeros to a multiple of this.
DEPTH = 32
_THREADS = 256
_WARPS = _THREADS // 32
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
            found = ".".join(map(str, capability))
            raise DeviceError(f"the matching kernels need compute capability 8.0, found {found}")
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
            (-(-slots * patches // _WARPS),),
            (_THREADS,),
            (frame, bank, keys, np.int32(slots), np.int32(patches), np.int32(channels),
             np.int32(mask), np.float32(margin), np.float32(limit), np.int32(to_frame),
             half_squared),
        )  # fmt: skip

    def product(self, frame: Any, bank: Any, tile: Any) -> None:
        """Write frame·slotᵀ, float16 in and float32 out, to `tile` (slots, P, P) by cuBLAS."""
        slots, patches, channels = bank.shape
        one, zero = np.ones(1, np.float32), np.zeros(1, np.float32)
        # cuBLAS counts columns first: what it calls (P columns of the slot) × (P of the frame)
        # is our rows of the frame × columns of the slot
        self._cupy.cuda.cublas.gemmStridedBatchedEx(
            self._cupy.cuda.get_cublas_handle(), _TRANSPOSED, _PLAIN,
            patches, patches, channels, one.ctypes.data,
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
