"""Image files: which ones there are, what they are called in results, and their pixels."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from zeroline.edge_app.errors import ImageError, InputError
from zeroline.runtime.errors import MissingExtraError
from zeroline.runtime.frames import Frame, to_bgr8

SUFFIXES = frozenset(
    {".bmp", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
#: Larger pictures are refused before a pixel is read.
MOST_PIXELS = 80_000_000
#: A picture with a shorter side shows nothing that a patch could see.
LEAST_SIDE = 16

# what Pillow raises on damaged files, by its documentation and by trying
_DAMAGE = (
    OSError, SyntaxError, ValueError, EOFError, TypeError, KeyError, IndexError, OverflowError,
    struct.error,
)  # fmt: skip


@dataclass(frozen=True)
class ImageFile:
    """An image file and the name that results give it."""

    path: Path
    name: str


def find_images(paths: Sequence[Path]) -> list[ImageFile]:
    """List the images of files and folders (searched through), in the order given.

    In a folder, files count whose suffix is in `SUFFIXES` and whose name does not start with a
    dot; a file named directly always counts. A file reached twice is listed once.

    Returns
    -------
    list of ImageFile
        Names are relative to the folder given, with /; where two would be the same, folders'
        names are put in front until they differ.

    Raises
    ------
    InputError
        If a path does not exist, or nothing is found.
    """
    found: dict[Path, Path] = {}  # resolved path: the folder that it was found below
    for given in paths:
        if given.is_dir():
            for path in sorted(given.rglob("*")):
                hidden = any(part.startswith(".") for part in path.relative_to(given).parts)
                if path.suffix.lower() in SUFFIXES and not hidden and path.is_file():
                    found.setdefault(path.resolve(), given.resolve())
        elif given.exists():
            found.setdefault(given.resolve(), given.resolve().parent)
        else:
            raise InputError(f'"{given}" does not exist')
    if not found:
        raise InputError(
            f"no image in {', '.join(f'{str(p)!r}' for p in paths)} "
            f"(files ending in {' '.join(sorted(SUFFIXES))})"
        )
    return [
        ImageFile(path, name)
        for path, name in zip(found, _distinct_names(list(found.items())), strict=True)
    ]


def _distinct_names(found: Sequence[tuple[Path, Path]]) -> list[str]:
    """Names relative to each file's root, lengthened at the front where they clash."""
    names = [path.relative_to(root).as_posix() for path, root in found]
    for _ in range(max(len(root.parts) for _, root in found)):
        counts = Counter(names)
        if max(counts.values()) == 1:
            break
        for place, (path, _) in enumerate(found):
            if counts[names[place]] > 1:
                parts = path.parts[-len(Path(names[place]).parts) - 1 :]
                names[place] = "/".join(part.strip("/") for part in parts)
    return names


def flat_names(names: Iterable[str], *, suffix: str) -> list[str]:
    """Return one file name for each result name: / becomes __, and all differ.

    `suffix` is appended unless the name ends in it already.
    """
    taken: set[str] = set()
    flat = []
    for name in names:
        base = name.replace("/", "__").removesuffix(suffix)
        candidate, number = base + suffix, 2
        while candidate.casefold() in taken:
            candidate, number = f"{base}_{number}{suffix}", number + 1
        taken.add(candidate.casefold())
        flat.append(candidate)
    return flat


def read_image(path: Path, *, white_level: int | None = None) -> Frame:
    """Read a file as uint8 BGR.

    Grey is repeated in three channels, alpha is dropped, palettes and other colour models
    become RGB, the EXIF orientation is applied, of several pages the first is taken. Values of
    16 bits are scaled from 0..`white_level` (65535 when not given) to 0..255.

    Raises
    ------
    ImageError
        With the reason, if the file is empty, damaged, no image, of a kind without a rule,
        smaller than `LEAST_SIDE` or larger than `MOST_PIXELS`.
    """
    try:
        if path.stat().st_size == 0:
            raise ImageError("the file is empty (0 bytes)")
        with Image.open(path) as image:
            _check_size(image)
            pixels, white = _pixels(path, image, white_level)
            return np.ascontiguousarray(to_bgr8(pixels, white_level=white))
    except UnidentifiedImageError as error:
        raise ImageError("not an image, or of an unknown format") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"more than {MOST_PIXELS // 10**6} million pixels") from error
    except _DAMAGE as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ImageError(f"cannot be read: {reason}") from error


def _check_size(image: Image.Image) -> None:
    width, height = image.size
    if min(width, height) < LEAST_SIDE:
        raise ImageError(
            f"{width}×{height} pixels, at least {LEAST_SIDE}×{LEAST_SIDE} are expected"
        )
    if width * height > MOST_PIXELS:
        raise ImageError(
            f"{width}×{height} pixels, at most {MOST_PIXELS // 10**6} million are read"
        )


def _pixels(
    path: Path, image: Image.Image, white_level: int | None
) -> tuple[npt.NDArray[Any], int | None]:
    """Return array and white level as `to_bgr8` takes them; Pillow's modes decide the rule."""
    raw_modes = [
        str(tile[3]) for tile in getattr(image, "tile", ())
    ]  # gone once the pixels are loaded
    image.load()
    if image.mode.startswith("I;16"):
        return np.asarray(ImageOps.exif_transpose(image)).astype(np.uint16), white_level
    if image.mode == "I" and image.format in ("PNG", "PPM"):  # older Pillow: 16 bits in 32
        return np.asarray(ImageOps.exif_transpose(image)).astype(np.uint16), white_level
    if image.mode in ("I", "F"):
        raise ImageError(f'pixels of mode "{image.mode}" (32 bits), 8 or 16 bits are expected')
    if any(";16" in mode for mode in raw_modes):
        return _deep_colour(path), white_level
    upright = ImageOps.exif_transpose(image)
    if upright.mode == "P":  # a palette may carry transparency
        upright = upright.convert("RGBA")
    return np.asarray(upright.convert("RGB"))[:, :, ::-1], None


def _deep_colour(path: Path) -> npt.NDArray[Any]:
    """Read colour of 16 bits a channel, which Pillow cuts to 8, with OpenCV."""
    try:
        import cv2
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            "OpenCV", extra="app", purpose="to read 16-bit colour images"
        ) from error
    flags = cv2.IMREAD_UNCHANGED
    pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), flags)
    if pixels is None:
        raise ImageError("cannot be read: OpenCV does not decode this 16-bit colour file")
    return pixels
