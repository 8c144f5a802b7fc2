"""Options that say what of a picture is looked at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np

from zeroline.edge_app.errors import InputError
from zeroline.edge_app.masks import read_area
from zeroline.runtime.framing.framing import ASPECTS, Framing
from zeroline.runtime.framing.geometry import Polygon, rectangle

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


@dataclass(frozen=True)
class FramingOptions:
    """What of a picture is looked at, as given on the command line."""

    crop: Polygon | None = None
    ignore: tuple[Polygon, ...] = ()
    mask: Path | None = None
    aspect: str = "stretch"

    @property
    def is_plain(self) -> bool:
        """Whether the whole picture is looked at, as it comes."""
        return not (self.crop or self.ignore or self.mask) and self.aspect == "stretch"

    def framing(self, size: Callable[[], tuple[int, int] | None]) -> Framing:
        """Return the framing of pictures.

        Parameters
        ----------
        size : callable
            Gives their height and width, if it is asked; None where that is not known.

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
        return Framing(
            size=found, crop=self.crop or (), ignored=self.ignore, mask=mask, aspect=self.aspect
        )


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
)  # fmt: skip


def framing_options(command: Command) -> Command:
    """Add the options of a framing to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def take_framing(values: dict[str, Any]) -> FramingOptions:
    """Move the options of a framing out of a command's values."""
    names = FramingOptions.__dataclass_fields__
    return FramingOptions(**{name: values.pop(name) for name in names})
