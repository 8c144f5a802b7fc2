"""Compiled CPU loops (numba): everything per element that NumPy would spread over many passes.

Signatures are given, so compilation happens at import, once per machine (cached on disk, where a
folder can be written), and never in the middle of a line. They run without the interpreter lock, so
that threads help.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba as nb
import numpy as np
from numba import types

_LARGEST = np.int32(2**31 - 1)
_float_in = types.Array(types.float32, 2, "C", readonly=True)
_floats = types.float32[:, ::1]
_bits = types.int32[:, ::1]

# sums may be taken in any order (vector lanes); NaN and inf keep their meaning
_REORDER = {"reassoc", "contract", "nsz"}


def _compiled(signature: Any, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a function; what comes out is kept on disk where that can be.

    A user without a home who may not write beside this file has no place for it (RuntimeError, of
    numba), a full disk has none either (OSError): each process then compiles for itself.
    """

    def compiled(function: Callable[..., Any]) -> Any:
        try:
            return nb.njit(signature, nogil=True, cache=True, **options)(function)
        except (RuntimeError, OSError):
            return nb.njit(signature, nogil=True, **options)(function)

    return compiled


@_compiled(
    types.void(_float_in, types.int64, types.int64, _floats),
    fastmath=_REORDER,
)
def aggregate(tokens, side, radius, out):  # type: ignore[no-untyped-def]
    """LNAMD of one image; see `zeroline.runtime.stages.lnamd`. tokens and out are (P, C)."""
    patches, channels = tokens.shape
    total = 0.0
    for p in range(patches):
        part = 0.0
        for c in range(channels):
            part += tokens[p, c]
        total += part
    mean = np.float32(total / (patches * channels))
    column = np.empty((side, channels), np.float32)  # sums over the rows in reach of row y
    for y in range(side):
        top, bottom = max(0, y - radius), min(side, y + radius + 1)
        for x in range(side):
            for c in range(channels):
                column[x, c] = tokens[top * side + x, c] - mean
            for row in range(top + 1, bottom):
                p = row * side + x
                for c in range(channels):
                    column[x, c] += tokens[p, c] - mean
        for x in range(side):
            p = y * side + x
            left, right = max(0, x - radius), min(side, x + radius + 1)
            for c in range(channels):
                out[p, c] = column[left, c]
            for near in range(left + 1, right):
                for c in range(channels):
                    out[p, c] += column[near, c]
            square = 0.0  # in double: the square of a large or tiny token leaves float32
            for c in range(channels):
                square += np.float64(out[p, c]) * np.float64(out[p, c])
            if square > 0:
                scale = 1.0 / np.sqrt(square)
                for c in range(channels):
                    out[p, c] = np.float32(out[p, c] * scale)


@_compiled(
    types.int32(_bits, types.int64, _bits, types.int64, types.int32[::1]),
)
def tile_minima(tile, images, row_minima, row_start, column_minima):  # type: ignore[no-untyped-def]
    """Row and column minima of a tile in one pass; returns the least of the row minima.

    All values are the bit patterns of float32 seen as int32, which order like the floats
    while these are not negative (a value just under zero still sorts under all positive ones).

    tile : (R, images·P); row_minima : (images, ·), written from column `row_start` on, the
    minimum of each row over each image's P columns; column_minima : (images·P,), overwritten.
    """
    rows, width = tile.shape
    patches = width // images
    least = _LARGEST
    for image in range(images):
        start = image * patches
        stop = start + patches
        columns = column_minima[start:stop]
        columns[:] = _LARGEST
        r = 0
        # four rows at once: a column minimum is then read and written once for the four
        while r + 4 <= rows:
            row_0, row_1 = tile[r, start:stop], tile[r + 1, start:stop]
            row_2, row_3 = tile[r + 2, start:stop], tile[r + 3, start:stop]
            least_0, least_1, least_2, least_3 = _LARGEST, _LARGEST, _LARGEST, _LARGEST
            for j in range(patches):
                v_0, v_1, v_2, v_3 = row_0[j], row_1[j], row_2[j], row_3[j]
                least_0, least_1 = min(least_0, v_0), min(least_1, v_1)
                least_2, least_3 = min(least_2, v_2), min(least_3, v_3)
                columns[j] = min(columns[j], min(min(v_0, v_1), min(v_2, v_3)))
            row_minima[image, row_start + r] = least_0
            row_minima[image, row_start + r + 1] = least_1
            row_minima[image, row_start + r + 2] = least_2
            row_minima[image, row_start + r + 3] = least_3
            least = min(least, min(min(least_0, least_1), min(least_2, least_3)))
            r += 4
        while r < rows:
            row = tile[r, start:stop]
            least_0 = _LARGEST
            for j in range(patches):
                least_0 = min(least_0, row[j])
                columns[j] = min(columns[j], row[j])
            row_minima[image, row_start + r] = least_0
            least = min(least, least_0)
            r += 1
    return least


@_compiled(
    types.void(
        _floats,
        types.int64,
        _float_in,
        _float_in,
        _floats,
        types.int64,
        types.float32[::1],
        types.float32,
        types.float32,
    ),
    fastmath=_REORDER,
)
def refine_near(  # type: ignore[no-untyped-def]
    tile, images, left, right, row_minima, row_start, column_minima, near, margin
):
    """Replace minima under `near` by exact ½‖x - y‖², in the same layout as `tile_minima`.

    left : (R, C) features x of the rows; right : (images·P, C) features y of the columns.
    Every pair within `margin` of its row's or column's minimum is a candidate, since the
    product's rounding may have put another one first.
    """
    rows, width = tile.shape
    channels = left.shape[1]
    patches = width // images
    exact_columns = np.full(width, np.float32(np.inf), np.float32)
    column_limit = np.empty(width, np.float32)
    for j in range(width):
        minimum = column_minima[j]
        column_limit[j] = minimum + margin if minimum < near else np.float32(-np.inf)
    for r in range(rows):
        for image in range(images):
            minimum = row_minima[image, row_start + r]
            if minimum >= near + margin:
                continue
            row_limit = minimum + margin if minimum < near else np.float32(-np.inf)
            exact_row = np.float32(np.inf)
            start = image * patches
            for chunk in range(start, start + patches, 32):
                end = min(chunk + 32, start + patches)
                candidates = 0
                for j in range(chunk, end):
                    candidates += (tile[r, j] <= row_limit) | (tile[r, j] <= column_limit[j])
                if candidates == 0:
                    continue
                for j in range(chunk, end):
                    value = tile[r, j]
                    if value > row_limit and value > column_limit[j]:
                        continue
                    if exact_row == 0 and exact_columns[j] == 0:
                        continue
                    square = np.float32(0)
                    for c in range(channels):
                        difference = left[r, c] - right[j, c]
                        square += difference * difference
                    half = np.float32(0.5) * square
                    exact_row = min(exact_row, half)
                    exact_columns[j] = min(exact_columns[j], half)
            if minimum < near:
                row_minima[image, row_start + r] = exact_row
    for j in range(width):
        if column_minima[j] < near:
            column_minima[j] = exact_columns[j]


@_compiled(
    types.void(
        types.int32[:, :, ::1],
        types.int64,
        types.int64,
        types.int32[::1],
        _bits,
        types.int64,
        _bits,
        _bits,
    ),
)
def least_keys(  # type: ignore[no-untyped-def]
    tile, shift, bits, row_codes, column_codes, row_start, row_keys, column_keys
):
    """Least order keys of a screened tile, by row and by column, in one pass.

    Keys are ``(value << shift & -2**bits) + code``, in int32 (`zeroline.runtime.matching.screens`).

    tile : (images, R, P); row_codes : (·,), used from `row_start` on; column_codes : (images, P);
    row_keys : (images, ·), written from column `row_start` on, over the P columns with *their*
    codes; column_keys : (images, P), lowered, over the rows with *theirs*.
    """
    images, rows, patches = tile.shape
    by = np.int32(shift & 31)
    mask = np.int32(-(1 << (bits & 31)))
    for image in range(images):
        codes = column_codes[image]
        least = column_keys[image]
        r = 0
        # four rows at once, as in tile_minima
        while r + 4 <= rows:
            row_0, row_1 = tile[image, r], tile[image, r + 1]
            row_2, row_3 = tile[image, r + 2], tile[image, r + 3]
            at = row_start + r
            code_0, code_1 = row_codes[at], row_codes[at + 1]
            code_2, code_3 = row_codes[at + 2], row_codes[at + 3]
            least_0, least_1, least_2, least_3 = _LARGEST, _LARGEST, _LARGEST, _LARGEST
            for j in range(patches):
                v_0 = np.int32((row_0[j] << by) & mask)
                v_1 = np.int32((row_1[j] << by) & mask)
                v_2 = np.int32((row_2[j] << by) & mask)
                v_3 = np.int32((row_3[j] << by) & mask)
                code = codes[j]
                least_0 = min(least_0, np.int32(v_0 + code))
                least_1 = min(least_1, np.int32(v_1 + code))
                least_2 = min(least_2, np.int32(v_2 + code))
                least_3 = min(least_3, np.int32(v_3 + code))
                upper = min(np.int32(v_0 + code_0), np.int32(v_1 + code_1))
                lower = min(np.int32(v_2 + code_2), np.int32(v_3 + code_3))
                least[j] = min(least[j], min(upper, lower))
            row_keys[image, at] = least_0
            row_keys[image, at + 1] = least_1
            row_keys[image, at + 2] = least_2
            row_keys[image, at + 3] = least_3
            r += 4
        while r < rows:
            row = tile[image, r]
            own = row_codes[row_start + r]
            least_0 = _LARGEST
            for j in range(patches):
                value = np.int32((row[j] << by) & mask)
                least_0 = min(least_0, np.int32(value + codes[j]))
                least[j] = min(least[j], np.int32(value + own))
            row_keys[image, row_start + r] = least_0
            r += 1


_bools_in = types.Array(types.bool_, 2, "C", readonly=True)
_floats_in = types.Array(types.float32, 3, "C", readonly=True)


@_compiled(
    types.void(
        _float_in,
        _floats_in,
        types.Array(types.bool_, 1, "C", readonly=True),
        _bools_in,
        _bits,
        _bits,
        types.int64,
        types.float32,
        _floats,
        _floats,
    ),
    fastmath=_REORDER,
)
def measure_named(  # type: ignore[no-untyped-def]
    frame, bank, frame_ignored, bank_ignored, row_keys, column_keys, bits, ignored, rows, columns
):
    """Exact ½‖x - y‖² between the patches of a frame and those that their keys name.

    frame : (P, C); bank : (images, P, C); row_keys, column_keys : (images, P), which name patches
    of the images and of the frame; rows, columns : (images, P), written, `ignored` where the named
    patch is one that nobody may match (then all are).
    """
    images, patches, channels = bank.shape
    number = (1 << (bits & 31)) - 1
    for image in range(images):
        for p in range(patches):
            named = row_keys[image, p] & number
            square = np.float32(0)
            for c in range(channels):
                difference = frame[p, c] - bank[image, named, c]
                square += difference * difference
            rows[image, p] = ignored if bank_ignored[image, named] else np.float32(0.5) * square
        for p in range(patches):
            named = column_keys[image, p] & number
            square = np.float32(0)
            for c in range(channels):
                difference = frame[named, c] - bank[image, p, c]
                square += difference * difference
            columns[image, p] = ignored if frame_ignored[named] else np.float32(0.5) * square
