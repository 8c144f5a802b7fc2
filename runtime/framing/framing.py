"""A framing: what of a camera's picture is looked at. One immutable thing, for sets and lines."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from zeroline.runtime.arrays import Bools
from zeroline.runtime.errors import FramingError
from zeroline.runtime.frames import Frame
from zeroline.runtime.framing.geometry import Polygon, bounds, filled
from zeroline.runtime.framing.tiles import MOST_TILES
from zeroline.runtime.stages.degrees import FUSED, Degrees

#: How what is looked at is brought into the network's square.
ASPECTS = ("stretch", "fit")
#: How the part is found in a picture.
ALIGN = ("off", "outline", "pattern")


@dataclass(frozen=True, eq=False)
class Framing:
    """What of a picture is looked at.

    Attributes
    ----------
    size : (int, int) or None
        Height and width of the pictures; the rest is drawn on a picture of this size. None: any,
        where the whole picture is looked at.
    crop : tuple of points
        A polygon (x, y), in pixels from the left upper corner (`rectangle` makes one). What lies
        outside does not count. Empty: the whole picture.
    ignored : tuple of polygons
        What lies in them does not count.
    mask : array, shape (H, W), bool, or None
        True where the picture counts.
    aspect : {"stretch", "fit"}
        "stretch": pressed into the network's square, as MuSc does. "fit": the aspect is kept, and
        what the square has beside it does not count.
    align : {"off", "outline", "pattern"}
        How the part is found in each picture. It is then laid upright and flat, whatever the
        aspect; crop, ignored polygons and mask move with it. The crop is then the part; without
        one, it is what differs from the ground.
    taught : array, shape (H, W, 3), uint8, or None
        A picture of a good part, BGR, by which it is found.
    tiles : (int, int)
        Rows and columns of tiles that what is looked at is cut into (`runtime.framing.tiles`).

    Raises
    ------
    FramingError
        For what does not fit the picture, or leaves nothing to look at.

    Examples
    --------
    >>> from zeroline.runtime.framing.geometry import rectangle
    >>> Framing(size=(480, 640), crop=rectangle(80, 0, 480, 480)).is_plain
    False
    """

    size: tuple[int, int] | None = None
    crop: Polygon = ()
    ignored: tuple[Polygon, ...] = ()
    mask: Bools | None = field(default=None, repr=False)
    aspect: str = "stretch"
    align: str = "off"
    taught: Frame | None = field(default=None, repr=False)
    tiles: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        if self.aspect not in ASPECTS:
            raise FramingError(f'aspect is "{self.aspect}", {" or ".join(ASPECTS)} is expected')
        if self.align not in ALIGN:
            raise FramingError(f'align is "{self.align}", {", ".join(ALIGN)} is expected')
        if self.align != "off" and self.taught is None:
            raise FramingError(f'align is "{self.align}", and no taught picture is given')
        if self.align == "off" and self.taught is not None:
            raise FramingError('a taught picture is given, and align is "off"')
        if not all(isinstance(n, int) and 1 <= n <= MOST_TILES for n in self.tiles):
            rows, columns = self.tiles
            raise FramingError(
                f"{rows}×{columns} tiles: 1×1 to {MOST_TILES}×{MOST_TILES} are expected"
            )
        if self.is_plain:
            return
        if self.size is None:
            raise FramingError("a framing needs the size of the picture that it is drawn on")
        for name, polygon in [("crop", self.crop)] * bool(self.crop) + [
            ("ignored", polygon) for polygon in self.ignored
        ]:
            self._check(name, polygon)
        if self.mask is not None and self.mask.shape != tuple(self.size):
            raise FramingError(
                f"the mask has {_pixels(self.mask.shape)}, the picture has {_pixels(self.size)}"
            )
        if self.taught is not None and self.taught.shape[:2] != tuple(self.size):
            raise FramingError(
                f"the taught picture has {_pixels(self.taught.shape)}, the others have "
                f"{_pixels(self.size)}"
            )
        if self.mask is not None and not self.mask.any():
            raise FramingError("the mask ignores the whole picture")
        if not self.counted.any():
            raise FramingError("crop, mask and ignored polygons leave nothing to look at")

    def _check(self, name: str, polygon: Polygon) -> None:
        """Refuse what is no polygon, or a crop that leaves the picture."""
        assert self.size is not None  # noqa: S101 - the caller has looked
        shown = " ".join(f"{x:g},{y:g}" for x, y in polygon)
        if len(polygon) < 3 or not np.isfinite(np.asarray(polygon, float)).all():
            raise FramingError(f"{name} {shown}: three points or more are expected")
        left, top, right, bottom = bounds(polygon)
        height, width = self.size
        if name == "crop" and not (left >= 0 and right <= width and top >= 0 and bottom <= height):
            raise FramingError(f"crop {shown} leaves the picture of {_pixels(self.size)}")
        if right <= left or bottom <= top:
            raise FramingError(f"{name} {shown} encloses nothing")

    @property
    def is_plain(self) -> bool:
        """Whether the whole picture is looked at, as it comes."""
        drawn = bool(self.crop or self.ignored) or self.mask is not None
        plain = self.aspect == "stretch" and self.align == "off"
        return plain and not drawn and not self.is_tiled

    @property
    def is_tiled(self) -> bool:
        """Whether the network sees more than one tile."""
        return self.tiles != (1, 1)

    def degrees(self, usual: Degrees) -> Degrees:
        """Return the degrees where nobody has chosen any: fused with tiles, to match less."""
        return FUSED if self.is_tiled else usual

    @cached_property
    def cropped(self) -> Bools:
        """Which pixels (H, W) of the picture lie in the crop."""
        assert self.size is not None  # noqa: S101 - a plain framing counts all
        return filled(self.crop, size=self.size) if self.crop else np.ones(self.size, bool)

    @cached_property
    def counted(self) -> Bools:
        """Which pixels (H, W) of the picture count."""
        counts: Bools = self.cropped.copy()
        for polygon in self.ignored:
            counts &= ~filled(polygon, size=counts.shape)
        if self.mask is not None:
            counts &= self.mask
        return counts

    @cached_property
    def digest(self) -> str:
        """A sha256 that two framings share which look at the same; empty for a plain one."""
        if self.is_plain:
            return ""
        polygons = [[[float(x), float(y)] for x, y in p] for p in (self.crop, *self.ignored)]
        text = json.dumps([self.size, polygons, self.aspect, self.align, self.tiles])
        digest = hashlib.sha256(text.encode())
        if self.mask is not None:
            digest.update(np.packbits(self.mask).tobytes())
        if self.taught is not None:
            digest.update(np.ascontiguousarray(self.taught).tobytes())
        return digest.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Framing) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __str__(self) -> str:
        """Return the settings in words."""
        parts = []
        if self.crop:
            parts.append("crop " + " ".join(f"{x:g},{y:g}" for x, y in self.crop))
        if self.ignored:
            parts.append(f"{len(self.ignored)} ignored polygon(s)")
        if self.mask is not None:
            parts.append(f"a mask that ignores {1 - self.mask.mean():.0%}")
        if self.aspect != "stretch":
            parts.append(f"aspect {self.aspect}")
        if self.align != "off":
            parts.append(f"the part, found by its {self.align}")
        if self.is_tiled:
            parts.append(f"{self.tiles[0]}×{self.tiles[1]} tiles")
        return ", ".join(parts) or "the whole picture"


def _pixels(size: Any) -> str:
    return f"{size[1]}×{size[0]} pixels"
