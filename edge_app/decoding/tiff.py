"""TIFF: which page is the picture, and whether its kind is read.

Tags are of TIFF 6.0 (Adobe, 1992) and its supplements, by their numbers there.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from typing import Any, BinaryIO, Literal

from PIL import _imaging
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from zeroline.edge_app.decoding.kinds import CAMERA_RAW
from zeroline.edge_app.errors import ImageError

_BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_MOST_PAGES = 1000  # that are looked through for one that is no preview

_KIND, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_FILL_ORDER, _OFFSETS, _ORIENTATION, _SAMPLES, _ROWS = 266, 273, 274, 277, 278
_PLANAR, _TILE_WIDTH, _SUB_PAGES, _INKS, _EXTRA, _FORMAT = 284, 322, 330, 332, 338, 339
_SUBSAMPLING, _DNG = 530, 50706
_NO_PICTURE = 0b101  # of tag 254: a reduced page, a mask

_COMPRESSIONS = {
    1: "none", 2: "CCITT", 3: "CCITT group 3", 4: "CCITT group 4", 5: "LZW", 6: "old JPEG",
    7: "JPEG", 8: "Deflate", 32773: "PackBits", 32946: "Deflate", 34712: "JPEG 2000",
    34887: "LERC", 34925: "LZMA", 50000: "Zstandard", 50001: "WebP", 50002: "JPEG XL",
}  # fmt: skip
_PHOTOMETRICS = {
    0: "grey, 0 is white", 1: "grey", 2: "RGB", 3: "palette", 4: "mask", 5: "CMYK", 6: "YCbCr",
    8: "CIELab", 9: "ICCLab", 10: "ITULab", 32844: "LogL", 32845: "LogLuv",
}  # fmt: skip
_FORMATS = {1: "unsigned", 2: "signed", 3: "floating point", 5: "complex", 6: "complex"}
#: Colours of a pixel, by the photometric interpretations that are read.
_COLOURS = {0: 1, 1: 1, 2: 3, 3: 1, 5: 4, 6: 3}
_CAMERA_RAW = (32803, 34892)  # colour filters in a mosaic, linear raw
_MOST_SAMPLES = 6  # as in Pillow
_PREMULTIPLIED = 1  # of tag 338


@cache
def silence_libtiff() -> None:
    """Stop libtiff in Pillow from writing lines to stderr; its errors reach Pillow all the same."""
    try:
        handler = ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler
    except (OSError, AttributeError):  # Pillow is linked in another way
        return
    handler.argtypes, handler.restype = [ctypes.c_void_p], ctypes.c_void_p
    handler(None)


def is_tiff(head: bytes) -> bool:
    """Tell whether a file begins like TIFF or BigTIFF."""
    return head.startswith(_BEGINNINGS)


@dataclass(frozen=True)
class Page:
    """One page, by its tags.

    Attributes
    ----------
    place : int
        Where its tags begin in the file.
    tags : mapping
        Values by numbers of tags.
    big_endian : bool
        Byte order of the file.
    is_first : bool
        Whether no other page lies before it.
    """

    place: int
    tags: dict[int, Any]
    big_endian: bool
    is_first: bool

    def one(self, tag: int, default: int) -> int:
        """Return the value of a tag, or its first one."""
        value = self.tags.get(tag, default)
        value = value[0] if isinstance(value, tuple) and value else value
        return value if isinstance(value, int) else default

    def every(self, tag: int, default: tuple[int, ...]) -> tuple[int, ...]:
        """Return all values of a tag."""
        value = self.tags.get(tag, default)
        return value if isinstance(value, tuple) else (value,)

    @property
    def width(self) -> int:
        """Pixels in a row, as stored."""
        return self.one(_WIDTH, 0)

    @property
    def height(self) -> int:
        """Rows, as stored."""
        return self.one(_HEIGHT, 0)

    @property
    def samples(self) -> int:
        """Values of a pixel."""
        return self.one(_SAMPLES, 3 if self.compression == 6 else 1)

    @property
    def bits(self) -> int:
        """Bits of a value; 0 where values differ in them."""
        depths = set(self.every(_BITS, (1,)))
        return depths.pop() if len(depths) == 1 else 0

    @property
    def compression(self) -> int:
        """How pixels are packed; 1 is not at all."""
        return self.one(_COMPRESSION, 1)

    @property
    def photometric(self) -> int:
        """What values mean: 0 and 1 are grey, 2 is RGB."""
        return self.one(_PHOTOMETRIC, 0)

    @property
    def white_is_zero(self) -> bool:
        """Whether 0 is white."""
        return self.photometric == 0

    @property
    def orientation(self) -> int:
        """As in EXIF: 1 is upright."""
        return self.one(_ORIENTATION, 1)

    @property
    def strips(self) -> tuple[int, ...]:
        """Where each strip begins in the file."""
        return self.every(_OFFSETS, ())

    @property
    def rows_of_strips(self) -> int:
        """Rows of each strip but the last one."""
        return min(max(self.one(_ROWS, self.height), 1), self.height)

    @property
    def separate(self) -> bool:
        """Whether each colour has a plane of its own."""
        return self.one(_PLANAR, 1) == 2

    @property
    def is_plain(self) -> bool:
        """Whether values of 9 to 16 bits lie in strips as they are, so that NumPy reads them."""
        highest_first = self.one(_FILL_ORDER, 1) == 1
        as_they_are = highest_first and self.compression == 1 and _TILE_WIDTH not in self.tags
        return as_they_are and 9 <= self.bits <= 16

    @property
    def refused(self) -> str:
        """Why this kind is not read: depth, samples, compression and the rest."""
        depth = "/".join(map(str, dict.fromkeys(self.every(_BITS, (1,)))))
        form = self.every(_FORMAT, (1,))[0]
        photometric = _PHOTOMETRICS.get(self.photometric, f"photometric {self.photometric}")
        how = _COMPRESSIONS.get(self.compression, f"number {self.compression}")
        planes = ", one plane after the other" if self.separate and self.samples > 1 else ""
        order = "" if self.one(_FILL_ORDER, 1) == 1 else ", lowest bit first"
        return (
            f"TIFF of {depth} bits ({_FORMATS.get(form, f'format {form}')}), {self.samples} "
            f"sample(s) ({photometric}), compression {how}{planes}{order}: this kind is not read"
        )

    def check(self) -> None:
        """Refuse kinds that no decoder here reads rightly.

        Raises
        ------
        ImageError
            With depth, samples and compression.
        """
        if _PHOTOMETRIC not in self.tags:
            raise ImageError("TIFF without tag 262 (photometric interpretation): it is damaged")
        if self.photometric in _CAMERA_RAW or _DNG in self.tags:
            raise ImageError(CAMERA_RAW)
        if not self._is_read():
            raise ImageError(self.refused)

    def _is_read(self) -> bool:
        colours = _COLOURS.get(self.photometric, 0)
        unsigned = set(self.every(_FORMAT, (1,))) == {1}
        if not (colours and unsigned and 0 < self.bits <= 16 and self.compression != 6):
            return False
        if self.samples > _MOST_SAMPLES:
            return False
        if self.photometric == 6:  # a JPEG decoder knows its subsampling, others would shear it
            plain = self.every(_SUBSAMPLING, (2, 2)) == (1, 1)
            return self.bits == 8 and (self.compression == 7 or (plain and self.samples == 3))
        inks = self.photometric != 5 or self.one(_INKS, 1) == 1
        return self.samples >= colours and inks and (self.bits <= 8 or self._is_read_deep())

    def _is_read_deep(self) -> bool:
        """Tell whether values of 9 to 16 bits are read."""
        grey, rgb = self.photometric in (0, 1), self.photometric == 2
        if not (grey or rgb) or _PREMULTIPLIED in self.every(_EXTRA, ()):
            return False
        if grey and self.samples == 1 and not (self.big_endian and self.white_is_zero):
            return self.bits == 16 or self.is_plain
        return self.is_plain or (self.bits == 16 and rgb and not self.separate)


def main_page(file: BinaryIO, head: bytes) -> Page:
    """Return the first page that is neither a reduced one nor a mask.

    Parameters
    ----------
    file : binary file
    head : bytes
        Its first 16 bytes.

    Raises
    ------
    ImageError
        If there is none.
    """
    big_endian = head.startswith(b"MM")
    large = 43 in head[2:4]
    if big_endian and large:
        raise ImageError("BigTIFF with big-endian bytes, which is not read")
    if head[8:10] == b"CR":
        raise ImageError(CAMERA_RAW)
    directory = ImageFileDirectory_v2(head if large else head[:8])
    seen: set[int] = set()
    first: Page | None = None
    while directory.next and directory.next not in seen and len(seen) < _MOST_PAGES:
        place = directory.next
        seen.add(place)
        _demand_tags(file, place, big_endian=big_endian, large=large)
        directory.load(file)
        page = Page(place, dict(directory), big_endian, is_first=len(seen) == 1)
        if not page.one(_KIND, 0) & _NO_PICTURE:
            return page
        first = first or page
    if first is None:
        raise ImageError("TIFF without a page")
    if len(seen) > 1 or _SUB_PAGES in first.tags:
        raise ImageError("TIFF with previews and masks only: its picture is in no page")
    return first  # alone, so it is the picture, whatever it calls itself


def _demand_tags(file: BinaryIO, place: int, *, big_endian: bool, large: bool) -> None:
    """Go to the tags of a page, which must be in the file; Pillow would go on without them."""
    end = file.seek(0, 2)
    size, entry, after = (8, 20, 8) if large else (2, 12, 4)
    count = 0
    if place + size <= end:
        file.seek(place)
        count = int.from_bytes(file.read(size), "big" if big_endian else "little")
    if not 0 < count <= (end - place - size - after) // entry:
        raise ImageError("cannot be read: the file is cut, its tags are not in it")
    file.seek(place)


def as_first_page(content: bytes, page: Page) -> bytes:
    """Return the bytes of a file that begins with this page, for decoders that read the first."""
    order: Literal["big", "little"] = "big" if page.big_endian else "little"
    at, size = (8, 8) if 43 in content[2:4] else (4, 4)
    return content[:at] + page.place.to_bytes(size, order) + content[at + size :]
