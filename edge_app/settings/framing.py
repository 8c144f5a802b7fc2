"""Options that say what of a picture is looked at."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np

from zeroline.edge_app.errors import InputError
from zeroline.edge_app.masks import read_area
from zeroline.runtime.framing.framing import ASPECTS, Framing
from zeroline.runtime.framing.geometry import Polygon, bounds, rectangle
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
    tiles: tuple[int, int] | None = None
    smallest_defect: float | None = None

    @property
    def is_plain(self) -> bool:
        """Whether the whole picture is looked at, as it comes."""
        drawn = bool(self.crop or self.ignore or self.mask)
        whole = self.tiles in (None, (1, 1)) and self.smallest_defect is None
        return not drawn and self.aspect == "stretch" and whole

    def framing(self, size: Callable[[], tuple[int, int] | None], manifest: Manifest) -> Framing:
        """Return the framing of pictures.

        Parameters
        ----------
        size : callable
            Gives their height and width, if it is asked; None where that is not known.
        manifest : Manifest
            Of the bundle: how many tiles a small defect needs is its network's matter.

        Raises
        ------
        FramingError
            If it does not fit them.
        InputError
            If the mask cannot be read, or no picture tells the size.
        """
        if self.is_plain:
            return Framing()
        mask = None if self.mask is None else read_area(self.mask)
        found = size()
        if found is None:
            raise InputError("no picture could be read that tells the size of the framing")
        whole = Framing(
            size=found, crop=self.crop or (), ignored=self.ignore, mask=mask, aspect=self.aspect
        )
        if self.tiles is not None:
            return replace(whole, tiles=self.tiles)
        if self.smallest_defect is None:
            return whole
        left, top, right, bottom = bounds(self.crop or rectangle(0, 0, found[1], found[0]))
        tiles = tiles_for(
            self.smallest_defect,
            (ceil(bottom) - int(top), ceil(right) - int(left)),
            patches=manifest.outputs.tokens[0].patches,
        )
        return replace(whole, tiles=tiles)


_OPTIONS = (
    click.option("--crop", type=AreaType(), metavar="AREA",
                 help='Look at this part of the picture alone: a rectangle "x,y,width,height", or '
                      'a polygon "x,y x,y x,y". In pixels from the left upper corner.'),
    click.option("--ignore", type=AreaType(), multiple=True, metavar="AREA",
                 help="Do not look at this area. May be given several times."),
    click.option("--mask", type=click.Path(path_type=Path, dir_okay=False), metavar="PICTURE",
                 help="Do not look at what is black in this picture. It has the size of the "
                      "camera's pictures."),
    click.option("--aspect", type=click.Choice(ASPECTS), default="stretch", show_default=True,
                 help="How the network's square is filled. stretch: the picture is pressed into "
                      "it. fit: the aspect is kept."),
    click.option("--tiles", type=TilesType(), metavar="RxC",
                 help="Cut what is looked at into R rows and C columns of tiles. The network sees "
                      "each by itself, so smaller defects show. Time and memory grow with their "
                      "number."),
    click.option("--smallest-defect", type=PixelsType(), metavar="PIXELS",
                 help="Take the fewest tiles in which a defect of this side shows, such as 12px. "
                      "Not with --tiles."),
)  # fmt: skip


def framing_options(command: Command) -> Command:
    """Add the options of a framing to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def take_framing(values: dict[str, Any]) -> FramingOptions:
    """Move the options of a framing out of a command's values."""
    names = FramingOptions.__dataclass_fields__
    taken = FramingOptions(**{name: values.pop(name) for name in names})
    if taken.tiles is not None and taken.smallest_defect is not None:
        raise click.UsageError("--tiles and --smallest-defect exclude each other")
    return taken
