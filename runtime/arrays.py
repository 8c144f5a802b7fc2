"""Which array library an array belongs to, without importing one to find out."""

from __future__ import annotations

import sys
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

#: A NumPy or a CuPy array of floats. Static types speak of NumPy; CuPy arrays behave alike.
FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]
BoolArray: TypeAlias = npt.NDArray[np.bool_]
IntArray: TypeAlias = npt.NDArray[np.integer[Any]]


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
    from zeroline.runtime.errors import ScoringError

    xp = array_namespace(array)
    array = xp.asarray(array)
    if array.dtype.kind != "f":
        raise ScoringError(f"{name} has dtype {array.dtype}, a floating dtype is expected")
    if array.ndim != ndim:
        raise ScoringError(
            f"{name} has shape {tuple(array.shape)}, an array of {ndim} dimensions is expected"
        )
    return array.astype(xp.float32, copy=False)
