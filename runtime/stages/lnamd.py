"""LNAMD: local neighbourhood aggregation with multiple degrees (MuSc §3.2, docs/algorithms.md)."""

from __future__ import annotations

from typing import Any

import numpy as np

from zeroline.runtime.arrays import ArrayT, array_namespace, as_float32, is_cupy
from zeroline.runtime.compiled import compiled_loops
from zeroline.runtime.errors import ScoringError
from zeroline.runtime.grid import grid_side
from zeroline.runtime.workers import run_in_threads


def lnamd(tokens: ArrayT, /, *, degree: int, threads: int | None = 1) -> ArrayT:
    """Aggregate each patch token over its `degree` × `degree` neighbourhood.

    Per image: subtract the mean over all patches and channels (the rest of the authors'
    LayerNorm is a factor, which the last step cancels), average over the neighbourhood with
    zeros outside the grid, scale every patch to unit length.

    Parameters
    ----------
    tokens : array, shape (B, P, C), float
        Patch tokens of one layer, without the class token; P = g·g.
    degree : int
        Side r of the neighbourhood in patches: odd, at least 1.
    threads : int or None
        Worker threads of the compiled form; None takes all cores.

    Returns
    -------
    array, shape (B, P, C), float32
        Rows of unit length; a row that is zero after aggregation stays zero. On the device
        of `tokens`.

    Raises
    ------
    ScoringError
        For an even or non-positive degree, a P that is not square, or tokens that are not
        three-dimensional floats.

    References
    ----------
    MuSc (arXiv 2401.16753), section 3.2.

    Examples
    --------
    >>> import numpy as np
    >>> tokens = np.arange(18, dtype=np.float32).reshape(1, 9, 2)
    >>> features = lnamd(tokens, degree=3)
    >>> np.linalg.norm(features, axis=2).round(3).tolist()
    [[1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]]
    """
    if degree < 1 or degree % 2 == 0:
        raise ScoringError(f"degree is {degree}, an odd number from 1 on is expected")
    array = as_float32(tokens, name="tokens", ndim=3)
    if array.shape[2] == 0:
        raise ScoringError("tokens have 0 channels, at least 1 is expected")
    side = grid_side(array.shape[1])
    loops = None if is_cupy(array) else compiled_loops()
    if loops is None:
        plain: ArrayT = aggregate_plain(array, degree=degree)
        return plain
    xp = array_namespace(array)
    array = xp.ascontiguousarray(array)
    features: ArrayT = xp.empty(array.shape, dtype=xp.float32)

    def aggregate_image(image: int) -> None:
        loops.aggregate(array[image], side, degree // 2, features[image])

    run_in_threads(aggregate_image, range(len(array)), threads=threads)
    return features


def aggregate_plain(tokens: Any, /, *, degree: int) -> Any:
    """Do the work of `lnamd` in array operations, for NumPy and CuPy."""
    xp = array_namespace(tokens)
    images, patches, channels = tokens.shape
    side, radius = grid_side(patches), degree // 2
    mean = tokens.mean(axis=(1, 2), keepdims=True, dtype=xp.float64).astype(xp.float32)
    padded = xp.zeros((images, side + 2 * radius, side + 2 * radius, channels), dtype=xp.float32)
    inner = slice(radius, radius + side)
    padded[:, inner, inner] = (tokens - mean).reshape(images, side, side, channels)
    rows = sum(padded[:, dy : dy + side] for dy in range(degree))
    total = sum(rows[:, :, dx : dx + side] for dx in range(degree))
    features = total.reshape(images, patches, channels)
    # in double: the square of a large or tiny token leaves float32
    norm = xp.sqrt(xp.square(features, dtype=xp.float64).sum(axis=2, keepdims=True))
    divisor = xp.where(norm > 0, norm, 1.0)
    if xp is not np:  # the double sum stays; a GPU divides in double at a 64th of its rate
        return features / divisor.astype(xp.float32)
    return (features / divisor).astype(xp.float32)
