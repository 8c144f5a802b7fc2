"""One picture of any kind, decoded whole: a part of a picture is no picture."""

from __future__ import annotations

import io
import re
import struct
import zlib
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from zeroline.edge_app.decoding import strips, tiff
from zeroline.edge_app.decoding.kinds import unknown_kind
from zeroline.edge_app.errors import ImageError
from zeroline.edge_app.opencv import opencv
from zeroline.runtime.errors import FrameError
from zeroline.runtime.frames import Frame, to_bgr8

#: Larger pictures are refused before a pixel is read.
MOST_PIXELS = 80_000_000
#: A picture with a shorter side shows nothing that a patch could see.
LEAST_SIDE = 16

_ORIENTATION = 0x0112  # EXIF tag
_ROWS = 256  # that are converted at once
_MOST_BYTES = 2**30  # of a file that is read whole
# Pillow's names of raw pixels with 16 bits a channel ("BGR;16" is 5-6-5 bits)
_DEEP_COLOUR = re.compile(r"\b(RGB|LA)\w*;16")

_PNG, _PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"

# what Pillow raises on damaged files, by its documentation and by trying
_DAMAGE = (
    OSError, SyntaxError, ValueError, EOFError, TypeError, KeyError, IndexError, OverflowError,
    AttributeError, AssertionError, MemoryError, RuntimeError, ZeroDivisionError, struct.error,
    zlib.error,
)  # fmt: skip


def decode(file: BinaryIO, *, name: str = "", white_level: int | None = None) -> Frame:
    """Decode a picture as uint8 BGR.

    Grey is repeated in three channels, alpha is dropped, palettes and other colour models
    become RGB, the EXIF orientation is applied, of several pages the first is taken that is no
    preview. Values of 16 bits are scaled from 0..`white_level` (65535 when not given) to 0..255;
    PGM and PPM files, and TIFF files of 9 to 15 bits, state their own white.

    Parameters
    ----------
    file : binary file
        Opened for reading, at its begin.
    name : str
        Of the file, as a help to tell what it is.
    white_level : int, optional
        White of 16-bit values, 1 to 65535.

    Raises
    ------
    ImageError
        With the reason, if the picture is cut or damaged, no image, of a kind without a rule,
        smaller than `LEAST_SIDE` or larger than `MOST_PIXELS`.
    """
    page = None
    try:
        head = file.read(16)
        if tiff.is_tiff(head):
            tiff.silence_libtiff()
            page = tiff.main_page(file, head)
            check_size(page.width, page.height)
            page.check()
            if page.is_plain:
                pixels, white = strips.plain_pixels(file, page, white_level)
                return _converted(pixels, white)
            if not page.is_first:
                file = io.BytesIO(tiff.as_first_page(_whole(file), page))
        if head.startswith(_PNG):
            _demand_sums(file)
        file.seek(0)
        with Image.open(file) as image:
            check_size(*image.size)
            pixels, white = _pixels(file, image, white_level, page)
        return _converted(pixels, white)
    except UnidentifiedImageError as error:
        reason = page.refused if page is not None else unknown_kind(head, name)
        raise ImageError(reason) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageError(f"more than {MOST_PIXELS // 10**6} million pixels") from error
    except FrameError as error:
        raise ImageError(str(error)) from error
    except _DAMAGE as error:
        raise ImageError(f"cannot be read: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """Return why Pillow failed; what Python says of damage that Pillow did not foresee is none."""
    if isinstance(error, (OSError, SyntaxError, ValueError)):
        return getattr(error, "strerror", None) or str(error) or "it is damaged"
    return f"it is damaged ({type(error).__name__})"


def refused_kind(file: BinaryIO, name: str) -> str:
    """Return why no decoder here takes a file, by its begin; empty where one takes it.

    Parameters
    ----------
    file : binary file
        Opened for reading, at its begin.
    name : str
        Of the file.
    """
    head = file.read(16)
    file.seek(0)
    try:
        Image.open(file).close()
    except UnidentifiedImageError:
        return "" if tiff.is_tiff(head) else unknown_kind(head, name)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, *_DAMAGE):
        return ""  # an image that is too large or damaged, as `decode` will say
    return ""


def decode_bytes(content: bytes) -> Frame:
    """Decode a picture that a camera or a video has sent; see `decode`."""
    if not content:
        raise ImageError("the picture is empty (0 bytes)")
    return decode(io.BytesIO(content))


def check_size(width: int, height: int) -> None:
    """Refuse pictures that are too small or too large."""
    if min(width, height) < LEAST_SIDE:
        raise ImageError(
            f"{width}×{height} pixels, at least {LEAST_SIDE}×{LEAST_SIDE} are expected"
        )
    if width * height > MOST_PIXELS:
        raise ImageError(
            f"{width}×{height} pixels, at most {MOST_PIXELS // 10**6} million are read"
        )


def _demand_sums(file: BinaryIO) -> None:
    """Refuse PNG whose checksums do not fit; Pillow decodes such pixels without a word."""
    file.seek(0)
    with Image.open(file) as image:
        check_size(*image.size)
        image.verify()


def _converted(pixels: npt.NDArray[Any], white: int | None) -> Frame:
    """Return an array as a frame, some rows at a time: deep values need room while they are."""
    if pixels.dtype == np.uint8 and pixels.ndim == 3:
        return np.ascontiguousarray(to_bgr8(pixels, white_level=white))
    frame = np.empty((*pixels.shape[:2], 3), np.uint8)
    for top in range(0, len(pixels), _ROWS):
        rows = slice(top, top + _ROWS)
        frame[rows] = to_bgr8(pixels[rows], white_level=white)
    return frame


def _pixels(
    file: BinaryIO, image: Image.Image, white_level: int | None, page: tiff.Page | None
) -> tuple[npt.NDArray[Any], int | None]:
    """Return array and white level as `to_bgr8` takes them; Pillow's modes decide the rule."""
    raw_modes = [
        str(tile[3]) for tile in getattr(image, "tile", ())
    ]  # gone once the pixels are loaded
    image.load()
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PNG", "PPM")):
        # PGM states its own white, and Pillow has scaled it to 65535 already
        white_level = None if image.format == "PPM" else white_level
        pixels = np.asarray(ImageOps.exif_transpose(image)).astype(np.uint16)
        if page is not None and page.white_is_zero:
            pixels = strips.inverted(pixels, white_level)
        return pixels, white_level
    if image.mode in ("I", "F"):
        raise ImageError(f'pixels of mode "{image.mode}" (32 bits), 8 or 16 bits are expected')
    if any(_DEEP_COLOUR.search(mode) for mode in raw_modes):
        pixels = _deep_colour(file)
        if page is None:  # OpenCV turns TIFF files itself
            pixels = strips.upright(pixels, image.getexif().get(_ORIENTATION, 1))
        return pixels, white_level if pixels.dtype == np.uint16 else None
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode in ("P", "La"):  # a palette may carry transparency
        image = image.convert({"P": "RGBA", "La": "LA"}[image.mode])
    rgb = image if image.mode == "RGB" else image.convert("RGB")
    # Pillow swaps the channels while it copies, ten times as fast as NumPy
    values = np.frombuffer(rgb.tobytes("raw", "BGR"), np.uint8).reshape(rgb.height, rgb.width, 3)
    return values.copy(), None


def _deep_colour(file: BinaryIO) -> npt.NDArray[Any]:
    """Read colour of 16 bits a channel, which Pillow cuts to 8, with OpenCV."""
    cv2 = opencv("to read 16-bit colour images")
    content = _whole(file)
    if content.startswith(_PNG):
        content = _bare_png(content)
    pixels: npt.NDArray[Any] | None
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise ImageError("cannot be read: OpenCV does not decode this 16-bit colour file")
    return pixels


def _bare_png(content: bytes) -> bytes:
    """Return a PNG with nothing but its pixels: of all else libpng warns in lines of its own."""
    kept, place = [_PNG], len(_PNG)
    while place + 12 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, place)
        chunk = content[place : place + 12 + length]
        if kind in (b"IHDR", b"IDAT"):
            kept.append(chunk)
        elif kind == b"IEND":
            if chunk[4:] != _PNG_END:
                break
            return b"".join([*kept, chunk])
        place += 12 + length
    raise ImageError("cannot be read: the file has no whole end")


def _whole(file: BinaryIO) -> bytes:
    file.seek(0)
    content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ImageError("the file has more than 1 GiB")
    return content
