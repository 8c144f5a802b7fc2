"""The picture of a set from which a part is best taught."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from zeroline.edge_app.errors import ImageError, InputError
from zeroline.edge_app.images import ImageFile, read_image
from zeroline.runtime.errors import FramingError
from zeroline.runtime.frames import Frame
from zeroline.runtime.framing.pose import TaughtPart

_Item = TypeVar("_Item")

#: Pictures that are tried, and pictures in which each is looked for.
_CANDIDATES, _OTHERS = 8, 16


@dataclass(frozen=True)
class TypicalPicture:
    """A picture of a set, by which the part is found in the others.

    Attributes
    ----------
    file : ImageFile
    picture : array, shape (H, W, 3), uint8
        BGR.
    found, tried : int
        In how many of how many others the part is found whole.
    quality : float
        How well it is found, in the median.
    """

    file: ImageFile
    picture: Frame
    found: int
    tried: int
    quality: float

    def __str__(self) -> str:
        """Return one line."""
        return (
            f"taught from {self.file.name}, the most typical of the pictures that were tried: the "
            f"part is found whole in {self.found} of {self.tried} others, with a quality of "
            f"{self.quality:.2f} in the median"
        )


def typical_picture(files: Sequence[ImageFile], *, by: str) -> TypicalPicture:
    """Choose the picture by which the part is found best in others.

    Parameters
    ----------
    files : sequence of ImageFile
    by : {"outline", "pattern"}
        How parts are found.

    Raises
    ------
    InputError
        If no part is found in any of the pictures that are tried.
    """
    read = [(file, _read(file)) for file in _spread(files, _OTHERS)]
    pictures = [(file, picture) for file, picture in read if picture is not None]
    sizes = [picture.shape for _, picture in pictures]
    usual = max(set(sizes), key=sizes.count) if sizes else None
    pictures = [(file, picture) for file, picture in pictures if picture.shape == usual]
    best, reason = None, "no picture can be read"
    for file, picture in _spread(pictures, _CANDIDATES):
        try:
            taught = TaughtPart.of(picture)
        except FramingError as error:
            reason = str(error)
            continue
        others = [other for _, other in pictures if other is not picture]
        poses = [taught.find(other, by=by) for other in others]  # type: ignore[arg-type]
        whole = [pose.problem is None for pose in poses]
        quality = float(
            np.median([p.quality * w for p, w in zip(poses, whole, strict=True)] or [0])
        )
        if best is None or quality > best.quality:
            best = TypicalPicture(file, picture, sum(whole), len(others), quality)
    if best is None or not best.found:
        raise InputError(f"no part to be taught was found in the pictures: {reason}")
    return best


def _spread(items: Sequence[_Item], most: int) -> list[_Item]:
    """Return some items, evenly over all."""
    chosen = np.unique(np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int))
    return [items[number] for number in chosen]


def _read(file: ImageFile) -> Frame | None:
    try:
        return read_image(file.path)
    except ImageError:  # it is named when it is scored
        return None
