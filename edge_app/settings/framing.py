"""Options that say what of a picture is looked at."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np

from zeroline.edge_app.errors import ImageError, InputError
from zeroline.edge_app.images import read_image
from zeroline.edge_app.masks import read_area
from zeroline.runtime.frames import Frame
from zeroline.runtime.framing.files import read_framing
from zeroline.runtime.framing.framing import ALIGN, ASPECTS, Framing
from zeroline.runtime.framing.geometry import Polygon, bounds, rectangle
from zeroline.runtime.framing.placed import PlacedPart
from zeroline.runtime.framing.tiles import MOST_TILES, tiles_for
from zeroline.runtime.network.manifest import Manifest

Command = TypeVar("Command", bound=Callable[..., Any])


class AreaType(click.ParamType[Polygon]):
    """A rectangle "x,y,width,height", or the corners of a polygon "x,y x,y x,y"."""

    name = "area"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Polygon:
        """Turn text into corners."""
        if isinstance(value, tuple):
            return value
        try:
            parts = [tuple(float(n) for n in part.split(",")) for part in value.split()]
        except ValueError:
            parts = []
        lengths = [len(part) for part in parts]
        finite = bool(np.isfinite([n for part in parts for n in part]).all())
        if finite and lengths == [4] and min(parts[0][2:]) > 0:
            return rectangle(*parts[0])
        if not finite or len(parts) < 3 or set(lengths) != {2}:
            self.fail(
                f'{value!r}: a rectangle "x,y,width,height" or the corners of a polygon '
                '"x,y x,y x,y" are expected, in pixels'
            )
        return tuple((part[0], part[1]) for part in parts)


class TilesType(click.ParamType[tuple[int, int]]):
    """Rows and columns of tiles, such as "2x3"."""

    name = "tiles"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        """Turn text into rows and columns."""
        if isinstance(value, tuple):
            return value
        match = re.fullmatch(r"(\d{1,3})[x×](\d{1,3})", value.strip().lower())
        numbers = (0, 0) if match is None else (int(match[1]), int(match[2]))
        if not all(1 <= number <= MOST_TILES for number in numbers):
            self.fail(f"{value!r}: rows and columns are expected, 1x1 to {MOST_TILES}x{MOST_TILES}")
        return numbers


class PixelsType(click.ParamType[float]):
    """A length in pixels, such as "12px"."""

    name = "pixels"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Turn text into pixels."""
        if isinstance(value, float):
            return value
        match = re.fullmatch(r"(\d{1,6}(?:\.\d*)?)(?: ?px)?", value.strip().lower())
        pixels = 0.0 if match is None else float(match[1])
        if not pixels >= 1:
            self.fail(f"{value!r}: pixels are expected, such as 12px, 1 or more")
        return pixels


@dataclass(frozen=True)
class FramingOptions:
    """What of a picture is looked at, as given on the command line."""

    crop: Polygon | None = None
    ignore: tuple[Polygon, ...] = ()
    mask: Path | None = None
    aspect: str = "stretch"
    align: str = "off"
    taught: Path | None = None
    framing: Path | None = None
    tiles: tuple[int, int] | None = None
    smallest_defect: float | None = None

    @property
    def _drawn(self) -> bool:
        """Whether anything is given but a file that has all of it."""
        others = (self.crop, self.ignore, self.mask, self.taught, self.smallest_defect)
        plain = self.aspect == "stretch" and self.align == "off"
        return any(others) or not plain or self.tiles not in (None, (1, 1))

    @property
    def is_plain(self) -> bool:
        """Whether the whole picture is looked at, as it comes."""
        return not self._drawn and self.framing is None

    def only_aligns(self, kept: Framing) -> bool:
        """Tell whether nothing is asked for but to find the part as another framing does."""
        same = FramingOptions(align=self.align)
        return self == same and self.align == kept.align

    def opened(
        self,
        size: Callable[[], tuple[int, int] | None],
        manifest: Manifest,
        *,
        typical: Callable[[], Frame] | None = None,
    ) -> Framing:
        """Return the framing of pictures.

        Parameters
        ----------
        size : callable
            Gives their height and width, if it is asked; None where that is not known.
        manifest : Manifest
            Of the bundle: how many tiles a small defect needs is its network's matter.
        typical : callable, optional
            Gives a picture of the part, where it has to be found and no taught picture is given.

        Raises
        ------
        FramingError
            If it does not fit them.
        InputError
            If a file cannot be read, no picture tells the size, or none is taught.
        """
        if self.is_plain:
            return Framing()
        if self.framing is not None:
            if self._drawn:
                raise InputError(
                    f'"{self.framing}" says what is looked at: give --framing, or the other options'
                )
            return read_framing(self.framing)
        mask = None if self.mask is None else read_area(self.mask)
        taught = None if self.taught is None else _taught(self.taught)
        if taught is None and self.align != "off":
            if typical is None:
                raise InputError(
                    f"--align {self.align} needs a picture of a good part, as --taught PICTURE, or "
                    "a reference set that was built with one"
                )
            taught = typical()
        found = size() if taught is None else taught.shape[:2]
        if found is None:
            raise InputError("no picture could be read that tells the size of the framing")
        whole = Framing(
            size=(found[0], found[1]),
            crop=self.crop or (),
            ignored=self.ignore,
            mask=mask,
            aspect=self.aspect,
            align=self.align,
            taught=taught,
        )
        if self.tiles is not None:
            return replace(whole, tiles=self.tiles)
        if self.smallest_defect is None:
            return whole
        tiles = tiles_for(
            self.smallest_defect,
            looked_at(whole, manifest.input.size),
            patches=manifest.outputs.tokens[0].patches,
        )
        return replace(whole, tiles=tiles)


def looked_at(framing: Framing, size: int) -> tuple[int, int]:
    """Return height and width of what is looked at, in pixels of the picture.

    Parameters
    ----------
    framing : Framing
        Not a plain one, or of a known size.
    size : int
        Side of the network's square, in pixels.
    """
    if framing.taught is not None:
        side = PlacedPart(framing, size).side
        return side, side
    assert framing.size is not None  # noqa: S101 - the caller knows it
    left, top, right, bottom = bounds(framing.crop or rectangle(0, 0, *framing.size[::-1]))
    return ceil(bottom) - int(top), ceil(right) - int(left)


def _taught(path: Path) -> Frame:
    try:
        return read_image(path)
    except ImageError as error:
        raise InputError(f'taught picture "{path}": {error}') from error


_FILE = click.Path(path_type=Path, dir_okay=False)
_OPTIONS: dict[str, dict[str, Any]] = {
    "crop": {
        "type": AreaType(), "metavar": "AREA",
        "help": 'Look at this part of the picture alone: a rectangle "x,y,width,height", or a '
                'polygon "x,y x,y x,y". In pixels from the left upper corner.',
    },
    "ignore": {
        "type": AreaType(), "metavar": "AREA", "multiple": True,
        "help": "Do not look at this area. May be given several times.",
    },
    "mask": {
        "type": _FILE, "metavar": "PICTURE",
        "help": "Do not look at what is black in this picture. It has the size of the camera's "
                "pictures.",
    },
    "aspect": {
        "type": click.Choice(ASPECTS), "default": "stretch", "show_default": True,
        "help": "How the network's square is filled. stretch: the picture is pressed into it. "
                "fit: the aspect is kept.",
    },
    "align": {
        "type": click.Choice(ALIGN), "default": "off", "show_default": True,
        "help": "Find the part in each picture, and lay it upright. outline: by its outline on an "
                "even ground. pattern: by the edges on it. Crop, mask and ignored areas move with "
                "the part. The crop is then the part.",
    },
    "taught": {
        "type": _FILE, "metavar": "PICTURE",
        "help": "The picture of a good part by which it is found. Crop, mask and ignored areas "
                "are drawn on it.",
    },
    "tiles": {
        "type": TilesType(), "metavar": "RxC",
        "help": "Cut what is looked at into R rows and C columns of tiles. The network sees each "
                "by itself, so smaller defects show. Time and memory grow with their number.",
    },
    "smallest-defect": {
        "type": PixelsType(), "metavar": "PIXELS",
        "help": "Take the fewest tiles in which a defect of this side shows, such as 12px. Not "
                "with --tiles.",
    },
    "framing": {
        "type": _FILE, "metavar": "FILE",
        "help": 'All of this in a file that "zeroline teach" has written.',
    },
}  # fmt: skip


def framing_options(*, but: Sequence[str] = ()) -> Callable[[Command], Command]:
    """Return what adds the options of a framing to a command, but for some."""

    def add(command: Command) -> Command:
        for name in reversed(_OPTIONS):
            if name not in but:
                command = click.option(f"--{name}", **_OPTIONS[name])(command)
        return command

    return add


def take_framing(values: dict[str, Any]) -> FramingOptions:
    """Move the options of a framing out of a command's values."""
    names = FramingOptions.__dataclass_fields__
    taken = FramingOptions(**{name: values.pop(name) for name in names})
    if taken.tiles is not None and taken.smallest_defect is not None:
        raise click.UsageError("--tiles and --smallest-defect exclude each other")
    return taken
