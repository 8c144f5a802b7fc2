"""Match distances on the CPU: small BLAS products whose minima are taken while in cache.

A product of one image's rows with a block of other images fills a
tile that stays in the L2 cache; one compiled pass takes its row and column minima.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from zeroline.runtime.matching_operand import (
    NEAR,
    left_rows,
    mark_unmatched,
    right_operand,
    rounding_margin,
)
from zeroline.runtime.workers import run_in_threads

Float32 = npt.NDArray[np.float32]

#: Bytes of a tile: small enough for an L2 cache, large enough for BLAS.
TILE_BYTES = 1_250_000
#: Fewer rows than this make BLAS slow, so a tile may be larger than TILE_BYTES.
LEAST_ROWS = 128

_NEAR_BITS = int(np.float32(NEAR).view(np.int32))


def tile_shape(patches: int) -> tuple[int, int]:
    """Return how many rows and how many images wide a tile is, for images of P patches."""
    row_bytes = 4 * patches
    most_rows = min(patches, max(LEAST_ROWS, TILE_BYTES // row_bytes))
    parts = -(-patches // most_rows)
    rows = -(-patches // parts)
    return rows, max(1, TILE_BYTES // (rows * row_bytes))


def half_squared_distances(
    features: Float32,
    ignore: npt.NDArray[np.bool_] | None,
    groups: npt.NDArray[Any] | None,
    *,
    loops: Any,
    threads: int | None,
    progress: Callable[[int], None] | None = None,
) -> Float32:
    """Return ½‖x - y‖² of the best matches, shape (N, N, P), as [image, other image, patch]."""
    images, patches, channels = features.shape
    features = np.ascontiguousarray(features)
    operand = right_operand(features, ignore)
    half_squared = np.empty((images, images, patches), dtype=np.float32)
    rows, block = tile_shape(patches)

    def match(
        left: Float32, rows_of: Float32, start: int, stop: int, row_minima: Float32
    ) -> Float32:
        """Match left rows with a block of images; return the (images, P) column minima."""
        columns = block_minima(
            left,
            operand[:, start * patches : stop * patches],
            rows_of,
            features[start:stop],
            row_minima,
            rows=rows,
            loops=loops,
        )
        return columns.reshape(stop - start, patches)

    def match_image(i: int) -> None:
        # ignored rows are out of reach on both sides here; their own minima follow below
        left = left_rows(features[i])
        if ignore is not None:
            left[:, channels] = operand[channels + 1, i * patches : (i + 1) * patches]
        for start in range(i + 1, images, block):
            stop = min(start + block, images)
            if groups is not None and (groups[start:stop] == groups[i]).all():
                continue
            row_minima = half_squared[i, start:stop]
            half_squared[start:stop, i] = match(left, features[i], start, stop, row_minima)
        if progress is not None:
            progress(1)

    def match_ignored(item: tuple[int, npt.NDArray[np.bool_]]) -> None:
        i, marked = item
        chosen = features[i][marked]
        left = left_rows(chosen)
        minima = np.empty((block, len(left)), dtype=np.float32)
        for start in range(0, images, block):
            stop = min(start + block, images)
            match(left, chosen, start, stop, minima[: stop - start])
            half_squared[i, start:stop, marked] = minima[: stop - start].T

    run_in_threads(match_image, range(images), threads=threads, blas=True)
    if ignore is not None:
        some = [(i, marked) for i, marked in enumerate(ignore) if marked.any()]
        run_in_threads(match_ignored, some, threads=threads, blas=True)
    mark_unmatched(half_squared, groups)
    return half_squared


def block_minima(
    left: Float32,
    right: Float32,
    left_features: Float32,
    right_features: Float32,
    row_minima: Float32,
    *,
    rows: int,
    loops: Any,
) -> Float32:
    """Write the row minima of left·right, image by image; return its column minima.

    left : (R, C + 2); right : (C + 2, images·P); left_features : (R, C); right_features :
    (images, P, C); row_minima : (images, R), written to.
    """
    images, patches, channels = right_features.shape
    columns = np.full(images * patches, np.inf, dtype=np.float32)
    tile_columns = np.empty_like(columns)
    tile = np.empty((min(rows, len(left)), len(columns)), dtype=np.float32)
    for start in range(0, len(left), rows):
        part = slice(start, min(start + rows, len(left)))
        product = tile[: part.stop - start]
        np.matmul(left[part], right, out=product)
        least = loops.tile_minima(
            product.view(np.int32),
            images,
            row_minima.view(np.int32),
            start,
            tile_columns.view(np.int32),
        )
        if least < _NEAR_BITS:
            loops.refine_near(
                product,
                images,
                left_features[part],
                right_features.reshape(-1, channels),
                row_minima,
                start,
                tile_columns,
                NEAR,
                rounding_margin(channels),
            )
        np.minimum(columns, tile_columns, out=columns)
    return columns
