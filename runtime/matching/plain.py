"""Match distances in plain array operations: the form for CuPy, and for NumPy without numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zeroline.runtime.arrays import array_namespace
from zeroline.runtime.matching.operand import (
    IGNORED,
    NEAR,
    left_rows,
    mark_unmatched,
    right_operand,
)

#: Elements of the similarity tile that one step may hold.
_TILE_ELEMENTS = 2**24


def match_distances_plain(
    features: Any, ignore: Any, groups: Any, *, progress: Callable[[int], None] | None = None
) -> Any:
    """Return ½‖x - y‖² of the best matches, shape (N, N, P), as [image, other image, patch]."""
    xp = array_namespace(features)
    images, patches, _ = features.shape
    operand = right_operand(features, None)
    half_squared = xp.full((images, images, patches), xp.inf, dtype=xp.float32)
    penalty = xp.zeros((images, patches), dtype=xp.float32)
    if ignore is not None:
        penalty[ignore] = IGNORED
    block = max(1, _TILE_ELEMENTS // (patches * patches))
    for i in range(images):
        left = left_rows(features[i])
        for start in range(i + 1, images, block):
            stop = min(start + block, images)
            right = operand[:, start * patches : stop * patches]
            tile = (left @ right).reshape(patches, stop - start, patches)
            half_squared[i, start:stop] = (tile + penalty[start:stop]).min(axis=2).T
            half_squared[start:stop, i] = (tile + penalty[i][:, None, None]).min(axis=0)
        if progress is not None:
            progress(1)
    mark_unmatched(half_squared, groups)
    _refine_near(features, half_squared, penalty)
    return half_squared


def _refine_near(features: Any, half_squared: Any, penalty: Any) -> None:
    """Compute near matches anew, in place, as ½‖x - y‖² over all patches of the other image."""
    xp = array_namespace(features)
    _, patches, channels = features.shape
    near = half_squared < NEAR
    rows_at_once = max(1, _TILE_ELEMENTS // (patches * channels))
    for i, j in zip(*(axis.tolist() for axis in xp.nonzero(near.any(axis=2))), strict=True):
        rows = xp.nonzero(near[i, j])[0]
        for start in range(0, len(rows), rows_at_once):
            some = rows[start : start + rows_at_once]
            difference = features[i][some][:, None, :] - features[j][None, :, :]
            exact = xp.float32(0.5) * (difference * difference).sum(axis=2)
            half_squared[i, j, some] = (exact + penalty[j]).min(axis=1)


def block_minima(
    left: Any, right: Any, left_features: Any, right_features: Any, row_minima: Any
) -> Any:
    """Write row minima of left·right image by image, return its column minima.

    As `zeroline.runtime.matching_cpu.block_minima`, in plain array operations: left (R, C + 2),
    right (C + 2, images·P), left_features (R, C), right_features (images, P, C), row_minima
    (images, R).
    """
    xp = array_namespace(left)
    images, patches, _ = right_features.shape
    columns = xp.empty(images * patches, dtype=xp.float32)
    for image in range(images):
        place = slice(image * patches, (image + 1) * patches)
        tile = left @ right[:, place]
        near = xp.nonzero((tile < NEAR) & (tile < IGNORED))
        difference = left_features[near[0]] - right_features[image][near[1]]
        tile[near] = xp.float32(0.5) * (difference * difference).sum(axis=1)
        row_minima[image] = tile.min(axis=1)
        columns[place] = tile.min(axis=0)
    return columns
