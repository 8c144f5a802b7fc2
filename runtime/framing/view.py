"""The square of a picture that the network sees, and the way between both."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from zeroline.runtime.arrays import Bools, Float32, Float64
from zeroline.runtime.framing.geometry import box_map, chained, inverse, mapped
from zeroline.runtime.grid import grid_side
from zeroline.runtime.stages.maps import anomaly_map

#: Samples of a mask along the side of a patch.
_SAMPLES = 8
#: Side of the map that is laid on a picture: a patch of a 37×37 grid is fourteen pixels wide there.
_MAP_SIDE = 512


@dataclass(frozen=True)
class View:
    """Where in a picture the network's square lies.

    Attributes
    ----------
    size : (int, int)
        Height and width of the picture.
    matrix : array, shape (2, 3), float64
        Affine map from the unit square, (0, 0) its left upper corner, to points of the picture
        (`zeroline.runtime.framing.geometry`).

    Examples
    --------
    >>> View.whole((240, 320)).to_picture([(0.5, 0.25)]).tolist()
    [[160.0, 60.0]]
    """

    size: tuple[int, int]
    matrix: Float64 = field(compare=False)

    @classmethod
    def whole(cls, size: tuple[int, int]) -> View:
        """Return the view of a whole picture, pressed into the square."""
        return cls(size, box_map(0, 0, size[1], size[0]))

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole picture, upright."""
        height, width = self.size
        return bool(np.array_equal(self.matrix, box_map(0, 0, width, height)))

    def to_picture(self, points: Any) -> Float64:
        """Return points (n, 2) of the unit square as points of the picture."""
        return mapped(self.matrix, points)

    def laid(self, patch_scores: Float32, *, size: tuple[int, int] | None = None) -> Float32:
        """Lay a map of patch scores on the picture.

        Parameters
        ----------
        patch_scores : array, shape (P,), float32
        size : (int, int), optional
            Height and width of what is returned, which shows the whole picture; the picture's own,
            when not given.

        Returns
        -------
        array, shape (H, W), float32
            0 where the network does not look.
        """
        drawn = Image.fromarray(anomaly_map(patch_scores, size=_MAP_SIDE))
        return np.asarray(
            _transformed(
                drawn, self._from(size or self.size, side=_MAP_SIDE), size or self.size, smooth=True
            )
        )

    def marked(self, marks: Bools, *, size: tuple[int, int] | None = None) -> Bools:
        """Lay marks (P,) of patches on the picture; see `laid`."""
        side = grid_side(len(marks))
        plane = Image.fromarray(marks.reshape(side, side).astype(np.uint8))
        back = self._from(size or self.size, side=side)
        return np.asarray(_transformed(plane, back, size or self.size, smooth=False)) > 0

    def cut(self, picture: npt.NDArray[Any], *, side: int) -> npt.NDArray[Any]:
        """Return what of a picture's plane (H, W), of uint8 or bool, lies in the square.

        Returns
        -------
        array, shape (side, side)
            The nearest pixels; 0 outside the picture.
        """
        plane = Image.fromarray(picture.astype(np.uint8))
        back = chained(self.matrix, box_map(0, 0, 1 / side, 1 / side))
        cut = _transformed(plane, back, (side, side), smooth=False)
        return np.asarray(cut).astype(picture.dtype)

    def covered(self, counted: Bools, *, side: int) -> Bools:
        """Return which of side·side patches show pixels that count, at least half of each.

        Parameters
        ----------
        counted : array, shape (H, W), bool
            Of the picture; nothing outside it counts.
        side : int
            Patches along the side of the square.

        Returns
        -------
        array, shape (side·side,), bool
        """
        fine = self.cut(counted, side=side * _SAMPLES)
        shares = fine.reshape(side, _SAMPLES, side, _SAMPLES).mean(axis=(1, 3))
        enough: Bools = (shares >= 0.5).ravel()
        return enough

    def touched(self, marked: Bools, *, side: int) -> Bools:
        """Return which of side·side patches show a marked pixel of the picture; see `covered`."""
        fine = self.cut(marked, side=side * _SAMPLES)
        touched: Bools = fine.reshape(side, _SAMPLES, side, _SAMPLES).any(axis=(1, 3)).ravel()
        return touched

    def _from(self, size: tuple[int, int], *, side: int) -> Float64:
        """Return the map from pixels of a picture drawn in that size to those of a square."""
        height, width = size
        to_whole = box_map(0, 0, self.size[1] / width, self.size[0] / height)
        return chained(box_map(0, 0, side, side), chained(inverse(self.matrix), to_whole))


def _transformed(
    image: Image.Image, matrix: Float64, size: tuple[int, int], *, smooth: bool
) -> Image.Image:
    """Return an image (H, W) of the pixels that a matrix leads to; Pillow measures as we do."""
    method = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    return image.transform(
        (size[1], size[0]), Image.Transform.AFFINE, tuple(matrix.ravel()), method, fillcolor=0
    )
