"""TIFF with values of any number of bits, which common writers do not pack."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np


def write_packed(
    path: Path,
    values: Any,
    bits: int,
    *,
    compression: int = 1,
    photometric: int = 1,
    rows: int | None = None,
    fill_order: int = 1,
    big_endian: bool = False,
    samples: int = 1,
    more: dict[int, int] | None = None,
) -> None:
    """Write a page whose values have any number of bits, each row from a byte on.

    Parameters
    ----------
    path : Path
    values : array, shape (H, W) or (H, W, samples)
    bits : int
        Of a value.
    rows : int, optional
        Of a strip; without, all are in one.
    compression, photometric, fill_order, samples, more
        Tags, whether they are true or not; `more` by their numbers.
    big_endian : bool
    """
    height, columns = values.reshape(len(values), -1).shape
    rows = rows or height
    shifts = np.arange(bits - 1, -1, -1)
    spread = (values.reshape(height, columns)[:, :, None].astype(np.int64) >> shifts) & 1
    lines = np.packbits(spread.reshape(height, columns * bits).astype(np.uint8), axis=1)
    strips = [lines[top : top + rows].tobytes() for top in range(0, height, rows)]
    order = ">" if big_endian else "<"
    places = np.cumsum([8, *map(len, strips)]).tolist()
    tags: dict[int, tuple[int, ...]] = {
        256: (columns // samples,), 257: (height,), 258: (bits,) * samples, 259: (compression,),
        262: (photometric,), 266: (fill_order,), 273: tuple(places[:-1]), 277: (samples,),
        278: (rows,), 279: tuple(map(len, strips)),
    } | {tag: (value,) for tag, value in (more or {}).items()}  # fmt: skip
    entries, beyond = b"", b""
    start = places[-1] + places[-1] % 2
    after = start + 2 + 12 * len(tags) + 4
    for tag, numbers in sorted(tags.items()):
        body = struct.pack(f"{order}{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            body, beyond = struct.pack(f"{order}I", after + len(beyond)), beyond + body
        entries += struct.pack(f"{order}HHI", tag, 4, len(numbers)) + body
    head = (b"MM" if big_endian else b"II") + struct.pack(f"{order}HI", 42, start)
    pages = struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + beyond
    path.write_bytes(head + b"".join(strips) + bytes(places[-1] % 2) + pages)
