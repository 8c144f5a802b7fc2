"""Cheap products that order patches by ½‖x - y‖², for the exact distance of the first alone.

A screen keeps K of C dimensions. With m the mean of the rows, V (C, K) the directions of the
largest variance, and y = (x - m)·V, the product of the kept parts and the *whole* norms gives

    ½‖x - m‖² + ½‖x' - m‖² - y·y'  =  ½‖x - x'‖² + the residuals' product,

which is ½‖y - y'‖² and half the squares of both residuals, so never negative. Two forms: float32
with 64 dimensions, and 8 bits with 128 of them, turned at random so that each holds as much of
the whole as the others, by onnxruntime's MatMulInteger, which uses the processor's own 8-bit
products where it has them.

A tile's values become order keys ``(value << shift & mask) + code``: the low bits of a code hold
the patch's number, the others what belongs to the patch alone (its norm in the 8-bit form, and a
penalty where nobody may match it). One minimum of keys then names the neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from zeroline.runtime.arrays import Bools, Float32, Int32
from zeroline.runtime.errors import ScoringError

#: Dimensions kept, by form.
DIMENSIONS = {"pca": 64, "int8": 128}
#: Patches of a frame that the keys have room for.
MOST_PATCHES = 4096

#: Added to the key of a patch that nobody may match; with any value up to 8 it stays an int32.
_FLOAT_PENALTY = 0x3E000000
#: Keeps ½‖x - y‖² from rounding to a negative number, whose bits would not sort.
_OFFSET = 1e-6
#: Above all order keys.
NO_KEY = 0x7FFFFFFF
#: Rows that a screen should be fitted to, drawn from all.
SAMPLE = 4096


def kept_dimensions(form: str, channels: int) -> int:
    """Return K for features of C channels."""
    return min(DIMENSIONS[form], channels)


def reduced_bytes(form: str, channels: int) -> int:
    """Return the bytes that one patch's reduced form and code take in a bank."""
    kept = kept_dimensions(form, channels)
    return 4 + (4 * (kept + 2) if form == "pca" else kept)


class Screen(Protocol):
    """One form of the product.

    Attributes
    ----------
    depth : int
        K of the product; in the float form two more than the dimensions kept.
    dtype : numpy.dtype
        Of the right side.
    shift, bits : int
        Of the order keys; the lowest `bits` hold a patch's number.
    """

    depth: int
    dtype: Any
    shift: int
    bits: int

    def left(self, features: Float32, ignore: Bools) -> tuple[Any, Int32]:
        """Return a frame's values (P, K) and codes (P,) for the left side."""

    def right(self, features: Float32, ignore: Bools) -> tuple[Any, Int32]:
        """Return values (K, P) and codes (P,) for the right side."""

    def product(self, left: Any, right: Any, tile: Int32) -> None:
        """Write left (R, K) by right (images, K, P) to `tile` (images, R, P)."""


@dataclass(frozen=True)
class Basis:
    """Where the variance of some rows lies.

    Attributes
    ----------
    mean : array, shape (C,), float32
    directions : array, shape (C, K), float32
        Orthonormal columns.
    """

    mean: Float32
    directions: Float32

    def reduced(self, features: Float32) -> tuple[Float32, Float32]:
        """Return y (rows, K) and ½‖x - m‖² (rows,)."""
        centred: Float32 = features - self.mean
        half_norm: Float32 = np.einsum("pc,pc->p", centred, centred) / np.float32(2)
        kept: Float32 = centred @ self.directions
        return kept, half_norm


def fit_basis(rows: Float32, dimensions: int) -> Basis:
    """Return the K directions of largest variance (principal components).

    Parameters
    ----------
    rows : array, shape (n, C), float32
    dimensions : int
        K, at most C.
    """
    mean = rows.mean(axis=0)
    centred = rows - mean
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return Basis(mean, np.ascontiguousarray(vectors[:, ::-1][:, :dimensions]))


def fit_screen(form: str, rows: Float32, patches: int) -> Screen:
    """Fit a screen to some rows.

    Parameters
    ----------
    form : {"pca", "int8"}
    rows : array, shape (n, C), float32
    patches : int
        P of a frame, at most 4,096.
    """
    basis = fit_basis(rows, kept_dimensions(form, rows.shape[1]))
    bits = index_bits(patches)
    if form == "pca":
        return FloatScreen(basis, bits)
    return Int8Screen.fit(basis, rows, bits)


def index_bits(patches: int) -> int:
    """Return how many bits a patch's number takes in a key."""
    if patches > MOST_PATCHES:
        raise ScoringError(f"{patches} patches, a screen takes {MOST_PATCHES} at most")
    return max(1, int(patches - 1).bit_length())


class FloatScreen:
    """The augmented product of 64 dimensions in float32.

    Values are ½‖x - y‖² ≥ 0, whose bit patterns sort as they do; the lowest bits make room for the
    number, which costs the order of values that differ by less than one part in 2¹¹.
    """

    dtype = np.dtype(np.float32)
    shift = 0

    def __init__(self, basis: Basis, bits: int) -> None:
        self._basis = basis
        self.bits = bits
        self.depth = basis.directions.shape[1] + 2

    def left(self, features: Float32, ignore: Bools) -> tuple[Float32, Int32]:
        """Return [y, h, 1] and codes."""
        kept, half_norm = self._basis.reduced(features)
        ones = np.ones_like(half_norm)
        values = np.concatenate((kept, (half_norm + _OFFSET)[:, None], ones[:, None]), axis=1)
        return np.ascontiguousarray(values, np.float32), self._codes(ignore)

    def right(self, features: Float32, ignore: Bools) -> tuple[Float32, Int32]:
        """Return [-y, 1, h] transposed, and codes."""
        kept, half_norm = self._basis.reduced(features)
        values = np.concatenate((-kept.T, np.ones_like(half_norm)[None], half_norm[None]))
        return np.ascontiguousarray(values, np.float32), self._codes(ignore)

    def product(self, left: Float32, right: Float32, tile: Int32) -> None:
        """Multiply by BLAS, one image after the other."""
        np.matmul(left, right, out=tile.view(np.float32))

    def _codes(self, ignore: Bools) -> Int32:
        codes = np.arange(len(ignore), dtype=np.int32)
        codes[ignore] += _FLOAT_PENALTY
        return codes


class Int8Screen:
    """128 dimensions in 8 bits; norms come in with the codes, in the product's own unit.

    Attributes
    ----------
    step_left, step_right : float
        What one unit of the 8-bit values is worth.
    """

    dtype = np.dtype(np.int8)

    def __init__(self, basis: Basis, bits: int, *, step: float, norm: float) -> None:
        self._basis = basis
        self.bits = self.shift = bits
        self.depth = basis.directions.shape[1]
        self._most_right = 127 if _multiplies_exactly() else 63
        # keys must stay int32: values lie from -½M² to 2M², M the largest norm; in their unit
        # they fill two thirds of half the range at most, and the penalty is the other half
        self._penalty = 1 << (30 - bits)
        least_unit = 3 * norm * norm / self._penalty
        self.step_left = step / 127
        self.step_right = max(step / self._most_right, least_unit / self.step_left)
        self._norm = norm

    @classmethod
    def fit(cls, basis: Basis, rows: Float32, bits: int) -> Int8Screen:
        """Turn the basis at random, and find the range of the values."""
        dimensions = basis.directions.shape[1]
        drawn = np.random.default_rng(0).standard_normal((dimensions, dimensions))
        turn = np.linalg.qr(drawn)[0].astype(np.float32)
        turned = Basis(basis.mean, np.ascontiguousarray(basis.directions @ turn))
        kept, half_norm = turned.reduced(rows)
        step = max(float(np.abs(kept).max()), 1e-6)
        norm = max(1.1 * float(np.sqrt(2 * half_norm.max())), 1e-6)
        return cls(turned, bits, step=step, norm=norm)

    def left(self, features: Float32, ignore: Bools) -> tuple[npt.NDArray[np.uint8], Int32]:
        """Return values around 128, and codes."""
        kept, codes = self._reduced(features, ignore)
        values = np.clip(np.rint(kept / self.step_left), -127, 127) + 128
        return values.astype(np.uint8), codes

    def right(self, features: Float32, ignore: Bools) -> tuple[npt.NDArray[np.int8], Int32]:
        """Return values with the sign turned, transposed, and codes."""
        kept, codes = self._reduced(features, ignore)
        most = self._most_right
        values = np.clip(np.rint(-kept.T / self.step_right), -most, most)
        return np.ascontiguousarray(values, np.int8), codes

    def product(self, left: Any, right: Any, tile: Int32) -> None:
        """Multiply by onnxruntime."""
        integer_product(left, right, tile)

    def _reduced(self, features: Float32, ignore: Bools) -> tuple[Float32, Int32]:
        """Return y, and codes.

        A row longer than any that was seen is shortened to that length: the keys have no room for
        it, and its neighbour is hardly another one.
        """
        kept, half_norm = self._basis.reduced(features)
        shrink = np.minimum(1, self._norm / np.sqrt(2 * np.maximum(half_norm, 1e-12)))
        unit = self.step_left * self.step_right
        own = np.rint(half_norm * shrink**2 / unit).astype(np.int64)
        own[ignore] += self._penalty
        codes = (own << self.bits) + np.arange(len(own))
        return kept * shrink[:, None].astype(np.float32), codes.astype(np.int32)


def integer_product(left: npt.NDArray[np.uint8], right: npt.NDArray[np.int8], tile: Int32) -> None:
    """Write (left - 128)·right, left (R, K) and right (images, K, P), to `tile` (images, R, P)."""
    session = _integer_session()
    binding = session.io_binding()
    binding.bind_cpu_input("left", left)
    binding.bind_cpu_input("right", right)
    binding.bind_output("tile", "cpu", 0, np.int32, tile.shape, tile.ctypes.data)
    session.run_with_iobinding(binding)


@lru_cache(maxsize=1)
def _integer_session() -> Any:
    """Return a session of one MatMulInteger that works on the calling thread alone."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    graph = files("zeroline.runtime.matching").joinpath("integer_product.onnx").read_bytes()
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


@lru_cache(maxsize=1)
def _multiplies_exactly() -> bool:
    """Tell whether the largest 8-bit values are multiplied without saturation.

    Processors without VNNI add two products in 16 bits; there the right side keeps to 7 bits.
    """
    left = np.full((16, 128), 255, np.uint8)
    right = np.full((1, 128, 16), 127, np.int8)
    tile = np.empty((1, 16, 16), np.int32)
    integer_product(left, right, tile)
    return bool((tile == 127 * 127 * 128).all())
