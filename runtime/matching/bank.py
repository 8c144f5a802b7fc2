"""Banks: the features of W frames, kept so that a new frame is matched with all of them at once.

One bank serves one layer and degree. The window (`zeroline.runtime.line.window`) and the set
(`zeroline.runtime.matching.distances`) stand on the same banks; each precision has its own:

- "fp32", `zeroline.runtime.matching.exact`: the whole product, exact;
- "screened-pca" and "screened-int8", `zeroline.runtime.matching.screened`: a cheap product names a
  neighbour, whose distance is then computed exactly;
- "fp16-fused" and "fp16-tiled", `zeroline.runtime.matching.cuda`: on a CUDA device.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from zeroline.runtime.compiled import compiled_loops
from zeroline.runtime.errors import ScoringError

Float32 = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

SCREENED = ("screened-pca", "screened-int8")
ON_CUDA = ("fp16-fused", "fp16-tiled")
#: What `precision` may be on the CPU and on a CUDA device. A name without its second part
#: measures which of both forms is quicker here.
PRECISIONS = ("fp32", "screened", *SCREENED)
CUDA_PRECISIONS = ("fp32", "fp16", *ON_CUDA)


class FeatureBank(Protocol):
    """W slots of P patches with C channels.

    Attributes
    ----------
    features : array, shape (W, P, C), float32 or float16
        Unit rows; zeros in a slot that was never filled.
    block : int
        Slots that one call of `minima` should take, for its tile to stay in the cache.
    """

    block: int

    @property
    def features(self) -> Any:
        """Unit rows (W, P, C), as described above."""

    @property
    def nbytes(self) -> int:
        """Bytes of the large arrays; `bank_bytes` tells them in advance."""

    def put(self, slot: int, features: Any, ignore: Bools) -> None:
        """Write a frame's features (P, C) to a slot; `ignore` (P,): patches nobody may match."""

    def query(self, features: Any, ignore: Bools) -> Any:
        """Prepare a new frame's features (P, C) for `minima`."""

    def minima(self, query: Any, start: int, stop: int, rows: Any, columns: Any) -> None:
        """Match a new frame with the slots from `start` to `stop`.

        Writes to `rows` (slots, P) ½‖x - y‖² from each patch x of the frame to its best match y
        in each slot, and to `columns` (slots, P) the same from each patch of each slot to the
        frame. `IGNORED` or more stands where all patches of the other side are ignored.
        """


def make_bank(
    precision: str, slots: int, patches: int, channels: int, *, turn: int = 0, xp: Any = np
) -> FeatureBank:
    """Return an empty bank.

    Parameters
    ----------
    precision : {"fp32", "screened-pca", "screened-int8", "fp16-fused", "fp16-tiled"}
    slots, patches, channels : int
        W, P, C.
    turn : int
        Where among W admissions a screened bank renews its basis, so that banks take turns.
    xp : module
        CuPy for "fp16-…".
    """
    if precision in ON_CUDA:
        from zeroline.runtime.matching.cuda import CudaBank

        return CudaBank(slots, patches, channels, form=precision, cupy=xp)
    if precision in SCREENED:
        from zeroline.runtime.matching.screened import ScreenedBank

        return ScreenedBank(
            np.zeros((slots, patches, channels), np.float32), form=precision, turn=turn
        )
    from zeroline.runtime.matching.exact import ExactBank

    return ExactBank(np.zeros((slots, patches, channels), np.float32))


def bank_bytes(precision: str, slots: int, patches: int, channels: int) -> int:
    """Return the bytes that a bank holds: features, and what the product takes."""
    if precision in ON_CUDA:
        from zeroline.runtime.matching.cuda import cuda_bank_bytes

        return cuda_bank_bytes(slots, patches, channels)
    features = 4 * slots * patches * channels
    if precision in SCREENED:
        from zeroline.runtime.matching.screens import reduced_bytes

        return features + slots * patches * reduced_bytes(precision, channels)
    return features + 4 * slots * patches * (channels + 2)


def checked_precision(precision: str, *, patches: int, cuda: bool = False) -> None:
    """Refuse a precision that there is not, or not here.

    Raises
    ------
    ScoringError
    """
    allowed, elsewhere = (CUDA_PRECISIONS, PRECISIONS) if cuda else (PRECISIONS, CUDA_PRECISIONS)
    if precision not in allowed:
        here = "on CUDA" if cuda else "on the CPU"
        there = f" {here}" if precision in elsewhere else ""
        raise ScoringError(f'precision is "{precision}", allowed{there}: {", ".join(allowed)}')
    if precision.startswith("screened") and compiled_loops() is None:
        raise ScoringError(
            f'precision "{precision}" needs numba, which is not installed; fp32 does not'
        )
    if precision == "screened-int8" and precision not in screens():
        raise ScoringError(
            'precision "screened-int8" needs onnxruntime, which is not installed; '
            "screened-pca does not"
        )
    if precision != "fp32":
        from zeroline.runtime.matching.screens import MOST_PATCHES

        if patches > MOST_PATCHES:
            raise ScoringError(
                f'precision "{precision}" takes {MOST_PATCHES} patches at most, '
                f"{patches} are given; fp32 takes any number"
            )


def screens() -> tuple[str, ...]:
    """Return the screens that this machine can run: that in 8 bits needs onnxruntime."""
    return SCREENED if find_spec("onnxruntime") is not None else SCREENED[:1]
