"""The CUDA kernels, compiled once for a device, and how each is launched.

All is queued on CuPy's current stream; nothing here waits for the device. What the arrays are is
told in kernels/matching.cu and kernels/frame.cu.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import numpy as np

from zeroline.runtime.errors import DeviceError

#: Rows of a tile of `fused_keys`; as in kernels/matching.cu.
BLOCK = 128
#: Channels are filled up with zeros to a multiple of this.
DEPTH = 32
#: Blocks that add up the tokens of a tile; as in kernels/frame.cu.
SHARES = 32
_THREADS = 256
_WARPS = _THREADS // 32
_AGGREGATE_THREADS = 128
_LEAST_CAPABILITY = (8, 0)
#: Bytes of shared memory that every device gives to a block without being asked.
_SHARED = 48 << 10
_SOURCES = ("matching.cu", "frame.cu")
_KERNELS = ("fused_keys", "measure", "token_sums", "aggregate", "place_distances", "scores")

_MOST_SHARED = 100  # percent of what a multiprocessor shares out


def kernel_source(primitives: str | None = None) -> str:
    """Return the kernels' source, the GPU's primitives in front of it, or others'."""
    folder = files("zeroline.runtime.matching").joinpath("kernels")
    front = primitives or folder.joinpath("primitives.cuh").read_text(encoding="utf-8")
    return front + "".join(folder.joinpath(name).read_text(encoding="utf-8") for name in _SOURCES)


class MatchingKernels:
    """The kernels; all on CuPy's current stream.

    Parameters
    ----------
    cupy : module

    Raises
    ------
    DeviceError
        If the device is older than sm_80, or the kernels cannot be compiled.
    """

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        device = cupy.cuda.runtime.getDevice()
        properties = cupy.cuda.runtime.getDeviceProperties(device)
        capability = int(properties["major"]), int(properties["minor"])
        if capability < _LEAST_CAPABILITY:
            version = ".".join(map(str, capability))
            raise DeviceError(f"the matching kernels need compute capability 8.0, found {version}")
        try:
            module = cupy.RawModule(code=kernel_source(), options=("-std=c++17",))
            #: The kernels by their names in the source.
            self.by_name = {name: module.get_function(name) for name in _KERNELS}
            # two blocks of fused_keys need 98 of the 100 KiB that some devices have
            self.by_name["fused_keys"].preferred_shared_memory_carveout = _MOST_SHARED
        except Exception as error:  # CuPy's own classes are many
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DeviceError(f"the matching kernels cannot be compiled: {reason}") from error

    def fused_keys(
        self, sides: tuple[Any, ...], units: Any, reachable: Any, slots: int, patches: int,
        most: int, margin: float, row_keys: Any, column_keys: Any,
    ) -> None:  # fmt: skip
        """Multiply a frame with slots and take the least keys, all units in one launch.

        `sides`: rows, norms and codes of the frame, then those of the bank. `most`: patches of the
        largest unit.
        """
        self.by_name["fused_keys"](
            (-(-most // BLOCK), slots, len(units)),
            (_THREADS,),
            (*sides, units, reachable, np.int32(slots), np.int32(patches), np.float32(margin),
             row_keys, column_keys),
        )  # fmt: skip

    def measure(
        self, frame: Any, bank: Any, row_keys: Any, column_keys: Any, units: Any, reachable: Any,
        absent: Any, slots: int, patches: int, most: int, margin: float, limit: float,
        to_slots: Any, from_slots: Any,
    ) -> None:  # fmt: skip
        """Turn keys into ½‖x - y‖², those under `limit` measured anew."""
        self.by_name["measure"](
            (-(-slots * most // _WARPS), len(units), 2),
            (_THREADS,),
            (frame, bank, row_keys, column_keys, units, reachable, absent, np.int32(slots),
             np.int32(patches), np.float32(margin), np.float32(limit), to_slots, from_slots),
        )  # fmt: skip

    def aggregate(
        self, tokens: Any, sums: Any, counted: Any, degrees: Any, features: Any, half_norms: Any,
        *, fused: bool,
    ) -> None:  # fmt: skip
        """Write LNAMD features of one layer's tokens (tiles, g, g, C), in all degrees.

        `sums`: room for (tiles, SHARES) float64. `features` (degrees, P', C'), float16, and
        `half_norms` (degrees, P') are written.
        """
        tiles, side, _, channels = tokens.shape
        _, patches, depth = features.shape
        self.by_name["token_sums"](
            (SHARES, tiles), (_THREADS,), (tokens, np.int64(tokens.size // tiles), sums)
        )
        self.by_name["aggregate"](
            (patches,),
            (_AGGREGATE_THREADS,),
            (tokens, sums, counted, degrees, np.int32(len(degrees)), np.int32(fused),
             np.int32(side), np.int32(channels), np.int32(depth), np.int32(patches), features,
             half_norms),
            shared_mem=4 * channels * (2 if fused else 1),
        )  # fmt: skip

    def place_distances(
        self, frame: Any, bank: Any, units: Any, scales: int, places: Any, distances: Any
    ) -> None:
        """Write the mean distances over scales (n, P') to the same places of n slots."""
        count, patches = distances.shape
        self.by_name["place_distances"](
            (-(-patches // _WARPS), count),
            (_THREADS,),
            (frame, bank, units, np.int32(len(units) // scales), np.int32(scales),
             np.int32(patches), places, distances),
        )  # fmt: skip

    def scores(
        self, half_squared: Any, rows: Any, apart: int, scales: int, left_out: Any, bounds: Any,
        means: Any,
    ) -> None:  # fmt: skip
        """Write interval averages (jobs, P') of rows of ½d² that begin at `rows`."""
        jobs, patches = means.shape
        slots = left_out.shape[1]
        width = 32
        while 4 * width * (slots | 1) > _SHARED:
            width //= 2
        self.by_name["scores"](
            (-(-patches // width), jobs),
            (_THREADS,),
            (half_squared, rows, np.int64(apart), np.int32(scales), np.int32(slots),
             np.int32(patches), left_out, bounds, np.int32(width), means),
            shared_mem=4 * width * (slots | 1),
        )  # fmt: skip


_compiled: dict[int, MatchingKernels] = {}


def matching_kernels(cupy: Any) -> MatchingKernels:
    """Return the kernels of CuPy's current device, compiled once."""
    device = int(cupy.cuda.runtime.getDevice())
    if device not in _compiled:
        _compiled[device] = MatchingKernels(cupy)
    return _compiled[device]


def filled(channels: int) -> int:
    """Return C filled up to a multiple of what the kernels take at once."""
    return -(-channels // DEPTH) * DEPTH
