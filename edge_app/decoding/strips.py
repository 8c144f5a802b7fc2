"""Values of 9 to 16 bits that lie in the strips of a TIFF file as they are.

Pillow cuts colour of 16 bits to 8, and knows few packed depths.
"""

from __future__ import annotations

from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from zeroline.edge_app.decoding.tiff import Page
from zeroline.edge_app.errors import ImageError

_BLOCK = 2**20  # values that are unpacked at once


def plain_pixels(
    file: BinaryIO, page: Page, white_level: int | None
) -> tuple[npt.NDArray[np.uint16], int | None]:
    """Read values of 9 to 16 bits that lie in strips as they are.

    Parameters
    ----------
    file : binary file
    page : Page
        For which `is_plain` holds.
    white_level : int or None
        White of 16-bit values; with fewer bits, the largest value is white.

    Returns
    -------
    pixels : array, shape (H, W) or (H, W, 3), uint16
        Grey or BGR, upright.
    white_level : int or None
        Of these values.
    """
    planes = page.samples if page.separate else 1
    values = page.width * (1 if page.separate else page.samples)
    rows = np.empty((planes * page.height, values), np.uint16)
    filled = 0
    for offset, height in _strips(page, planes):
        _read_strip(file, page, offset, rows[filled : filled + height])
        filled += height
    if page.separate:
        pixels = np.moveaxis(rows.reshape(planes, page.height, page.width), 0, 2)
    else:
        pixels = rows.reshape(page.height, page.width, page.samples)
    white = white_level if page.bits == 16 else 2**page.bits - 1
    pixels = pixels[:, :, 2::-1] if page.photometric == 2 else pixels[:, :, 0]
    if page.white_is_zero:
        pixels = inverted(pixels, white)
    return upright(pixels, page.orientation), white


def inverted(pixels: npt.NDArray[np.uint16], white_level: int | None) -> npt.NDArray[np.uint16]:
    """Return grey in which 0 is black from grey in which 0 is white."""
    white = np.uint16(65535 if white_level is None else white_level)
    turned: npt.NDArray[np.uint16] = white - np.minimum(pixels, white)
    return turned


def upright(pixels: npt.NDArray[Any], orientation: int) -> npt.NDArray[Any]:
    """Turn and mirror an array as the EXIF orientation (1 to 8) says."""
    if orientation in (2, 4, 5, 7):  # mirrored
        pixels = pixels[:, ::-1]
    quarter_turns = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}.get(orientation, 0)
    return np.rot90(pixels, quarter_turns)


def _strips(page: Page, planes: int) -> list[tuple[int, int]]:
    """Return where each strip begins, and its rows."""
    each = page.rows_of_strips
    whole, rest = divmod(page.height, each)
    heights = ([each] * whole + [rest] * (rest > 0)) * planes
    if len(page.strips) != len(heights):
        raise ImageError(f"TIFF with {len(page.strips)} strips, {len(heights)} are expected")
    return list(zip(page.strips, heights, strict=True))


def _read_strip(file: BinaryIO, page: Page, offset: int, rows: npt.NDArray[np.uint16]) -> None:
    """Read one strip into rows of values."""
    height, values = rows.shape
    row_bytes = -(-values * page.bits // 8)
    file.seek(offset)
    content = file.read(height * row_bytes)
    if len(content) < height * row_bytes:
        raise ImageError(
            f"cannot be read: a strip has {len(content)} bytes, {height * row_bytes} are expected"
        )
    if page.bits == 16:
        order = ">u2" if page.big_endian else "<u2"
        rows[:] = np.frombuffer(content, order).reshape(rows.shape)
    else:
        packed = np.frombuffer(content, np.uint8).reshape(height, row_bytes)
        rows[:] = unpack(packed, values, page.bits)


def unpack(rows: npt.NDArray[np.uint8], values: int, bits: int) -> npt.NDArray[np.uint16]:
    """Unpack values of 9 to 15 bits, the highest bit first; each row begins at a byte.

    Parameters
    ----------
    rows : array, shape (rows, bytes), uint8
    values : int
        In a row.
    bits : int
        Of a value.

    Returns
    -------
    array, shape (rows, values), uint16

    Examples
    --------
    >>> unpack(np.array([[0x12, 0x3A, 0xBC]], np.uint8), 2, 12).tolist()
    [[291, 2748]]
    """
    first, shift = np.divmod(np.arange(values) * bits, 8)
    padded = np.pad(rows, ((0, 0), (0, 2)))
    unpacked = np.empty((len(rows), values), np.uint16)
    step = max(1, _BLOCK // max(values, 1))
    for top in range(0, len(rows), step):
        block = padded[top : top + step].astype(np.uint32)
        three = block[:, first] << 16 | block[:, first + 1] << 8 | block[:, first + 2]
        unpacked[top : top + step] = three >> (24 - bits - shift).astype(np.uint32) & (2**bits - 1)
    return unpacked
