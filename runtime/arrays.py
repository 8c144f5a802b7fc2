"""Arrays: their types, and which library one belongs to, without importing one to find out."""

from __future__ import annotations

import sys
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from zeroline.runtime.errors import ScoringError

Float32: TypeAlias = npt.NDArray[np.float32]
Float64: TypeAlias = npt.NDArray[np.float64]
Bools: TypeAlias = npt.NDArray[np.bool_]
Int32: TypeAlias = npt.NDArray[np.int32]


class Array(Protocol):
    """A NumPy or a CuPy array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each axis."""

    @property
    def ndim(self) -> int:
        """Number of axes."""

    @property
    def dtype(self) -> Any:
        """Type of the elements."""

    def __getitem__(self, key: Any, /) -> Any:
        """Return a part."""


#: The kind of array that went in: what comes out is of the same library.
ArrayT = TypeVar("ArrayT", bound=Array)


def is_cupy(array: object) -> bool:
    """Tell whether `array` lives on a CUDA device, as a CuPy array."""
    return type(array).__module__.partition(".")[0] == "cupy"


def array_namespace(array: object) -> Any:
    """Return the module (`numpy` or `cupy`) whose functions take `array`.

    CuPy is never imported here: an array of CuPy's cannot exist unless its owner imported it.
    """
    return sys.modules["cupy"] if is_cupy(array) else np


def to_host(array: Any) -> npt.NDArray[Any]:
    """Return `array` as a NumPy array; the one place where results leave the device."""
    return np.asarray(array.get() if is_cupy(array) else array)


def as_float32(array: Any, /, *, name: str, ndim: int) -> Any:
    """Return `array` as float32 of the same library, checked for its number of dimensions.

    Raises
    ------
    ScoringError
        If `array` is not a real floating array or has another number of dimensions.
    """
    xp = array_namespace(array)
    array = xp.asarray(array)
    if array.dtype.kind != "f":
        raise ScoringError(f"{name} has dtype {array.dtype}, a floating dtype is expected")
    if array.ndim != ndim:
        raise ScoringError(
            f"{name} has shape {tuple(array.shape)}, an array of {ndim} dimensions is expected"
        )
    return array.astype(xp.float32, copy=False)
