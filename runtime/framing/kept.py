"""A framing as JSON and arrays, for files that keep it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.framing.geometry import Polygon

MASK, TAUGHT = "framing_mask", "framing_taught"


def framing_header(framing: Framing) -> dict[str, Any] | None:
    """Return what of a framing goes into a header in JSON; None for a plain one."""
    if framing.is_plain:
        return None
    return {
        "size": framing.size,
        "crop": _numbers(framing.crop),
        "ignored": [_numbers(polygon) for polygon in framing.ignored],
        "aspect": framing.aspect,
        "align": framing.align,
        "mask": framing.mask is not None,
        "taught": framing.taught is not None,
        "tiles": framing.tiles,
    }


def framing_arrays(framing: Framing) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of a framing, by their names in an archive."""
    arrays = {MASK: framing.mask, TAUGHT: framing.taught}
    return {name: array for name, array in arrays.items() if array is not None}


def kept_framing(
    header: Mapping[str, Any] | None, array: Callable[[str], npt.NDArray[Any]]
) -> Framing:
    """Return the framing of a header and of an archive's arrays, which `array` gives by name.

    Raises
    ------
    FramingError, ValueError, TypeError, KeyError
        For what is none.
    """
    if header is None:
        return Framing()
    height, width = header["size"]
    if type(height) is not int or type(width) is not int or min(height, width) < 1:
        raise ValueError("the framing's size is no height and width")
    mask = array(MASK) if header["mask"] else None
    taught = array(TAUGHT) if header["taught"] else None
    for name, kept, dtype, dimensions in (
        ("mask", mask, bool, 2),
        ("picture", taught, np.uint8, 3),
    ):
        if kept is not None and (kept.dtype != dtype or kept.ndim != dimensions):
            raise ValueError(f"the framing's {name} holds {kept.dtype} {kept.shape}")
    return Framing(
        size=(height, width),
        crop=_polygon(header["crop"]),
        ignored=tuple(_polygon(points) for points in header["ignored"]),
        mask=mask,
        aspect=str(header["aspect"]),
        align=str(header["align"]),
        taught=taught,
        tiles=kept_tiles(header),
    )


def kept_tiles(header: Mapping[str, Any]) -> tuple[int, int]:
    """Return the rows and columns of tiles of a header; one tile where it knows of none."""
    rows, columns = header.get("tiles", (1, 1))
    if type(rows) is not int or type(columns) is not int or min(rows, columns) < 1:
        raise ValueError("tiles are no rows and columns")
    return rows, columns


def _numbers(polygon: Polygon) -> list[list[float]]:
    return [[float(x), float(y)] for x, y in polygon]


def _polygon(points: Any) -> Polygon:
    return tuple((float(x), float(y)) for x, y in points)
