"""The square of a picture that is looked at, and the way between both."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from zeroline.runtime.arrays import Bools, Float32, Float64
from zeroline.runtime.framing.geometry import box_map, chained, inverse, mapped
from zeroline.runtime.framing.tiles import boxes, joined_map
from zeroline.runtime.grid import Grid

#: Samples of a mask along the side of a patch.
_SAMPLES = 8
#: Side of the map that is laid on a picture: a patch of a 37×37 grid is fourteen pixels wide there.
_MAP_SIDE = 512
#: Of many tiles it is no more times as large.
_MOST_TIMES = 4


@dataclass(frozen=True)
class View:
    """Where in a picture the square lies that is looked at: the network's input, or its tiles.

    Attributes
    ----------
    size : (int, int)
        Height and width of the picture.
    matrix : array, shape (2, 3), float64
        Affine map from the unit square, (0, 0) its left upper corner, to points of the picture
        (`zeroline.runtime.framing.geometry`).
    tiles : (int, int)
        Rows and columns of tiles that the square is cut into.

    Examples
    --------
    >>> View.whole((240, 320)).to_picture([(0.5, 0.25)]).tolist()
    [[160.0, 60.0]]
    """

    size: tuple[int, int]
    matrix: Float64 = field(compare=False)
    tiles: tuple[int, int] = (1, 1)

    @classmethod
    def whole(cls, size: tuple[int, int], *, tiles: tuple[int, int] = (1, 1)) -> View:
        """Return the view of a whole picture, pressed into the square."""
        return cls(size, box_map(0, 0, size[1], size[0]), tiles)

    @property
    def is_whole(self) -> bool:
        """Whether it is the whole picture, upright, in one tile."""
        height, width = self.size
        one_tile = self.tiles == (1, 1)
        return one_tile and bool(np.array_equal(self.matrix, box_map(0, 0, width, height)))

    @property
    def parts(self) -> list[View]:
        """The view of each tile by itself."""
        if self.tiles == (1, 1):
            return [self]
        return [View(self.size, chained(self.matrix, box_map(*b))) for b in boxes(self.tiles)]

    def to_picture(self, points: Any) -> Float64:
        """Return points (n, 2) of the unit square as points of the picture."""
        return mapped(self.matrix, points)

    def patch_corners(self, patch: int, patches: int) -> Float64:
        """Return the corners (4, 2) in the picture of one of so many patches of all tiles."""
        grid = Grid.of(patches, self.tiles)
        tile, place = divmod(patch, grid.side**2)
        y, x = divmod(place, grid.side)
        corners = np.array([(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1)]) / grid.side
        return self.parts[tile].to_picture(corners)

    def laid(self, patch_scores: Float32, *, size: tuple[int, int] | None = None) -> Float32:
        """Lay a map of patch scores on the picture.

        Parameters
        ----------
        patch_scores : array, shape (P,), float32
            Of all tiles.
        size : (int, int), optional
            Height and width of what is returned, which shows the whole picture; the picture's own,
            when not given.

        Returns
        -------
        array, shape (H, W), float32
            0 where the network does not look.
        """
        side = _MAP_SIDE * min(max(self.tiles), _MOST_TIMES)
        drawn = self.map(patch_scores, side=side)
        back = self._from(size or self.size, side=side)
        return _transformed(drawn, back, size or self.size, smooth=True)

    def map(self, patch_scores: Float32, *, side: int) -> Float32:
        """Return the map (side, side) of patch scores (P,) on the square: of its tiles, joined."""
        return joined_map(patch_scores, tiles=self.tiles, side=side)

    def marked(self, marks: Bools, *, size: tuple[int, int] | None = None) -> Bools:
        """Lay marks (P,) of patches on the picture; see `laid`."""
        shape = size or self.size
        grid = Grid.of(len(marks), self.tiles)
        laid = np.zeros(shape, bool)
        for part, patches in zip(self.parts, grid.parts(), strict=True):
            plane = marks[patches].reshape(grid.side, grid.side).astype(np.uint8)
            back = part._from(shape, side=grid.side)
            laid |= _transformed(plane, back, shape, smooth=False) > 0
        return laid

    def cut(self, picture: npt.NDArray[Any], *, side: int) -> npt.NDArray[Any]:
        """Return what of a picture's plane (H, W), of uint8 or bool, lies in the square.

        Returns
        -------
        array, shape (side, side)
            The nearest pixels; 0 outside the picture.
        """
        plane = picture.astype(np.uint8)
        back = chained(self.matrix, box_map(0, 0, 1 / side, 1 / side))
        cut = _transformed(plane, back, (side, side), smooth=False)
        return cut.astype(picture.dtype)

    def covered(self, counted: Bools, *, side: int) -> Bools:
        """Return which of side·side patches show pixels that count, at least half of each.

        Parameters
        ----------
        counted : array, shape (H, W), bool
            Of the picture; nothing outside it counts.
        side : int
            Patches along the side of a tile.

        Returns
        -------
        array, shape (T·side·side,), bool
            Tile by tile.
        """
        return self._shares(counted, side=side) >= 0.5

    def touched(self, marked: Bools, *, side: int) -> Bools:
        """Return which patches show a marked pixel of the picture; see `covered`."""
        return self._shares(marked, side=side) > 0

    def _shares(self, marked: Bools, *, side: int) -> Float64:
        """Return how much of each patch is marked, tile by tile."""
        shares = []
        for part in self.parts:
            fine = part.cut(marked, side=side * _SAMPLES)
            fine = fine.reshape(side, _SAMPLES, side, _SAMPLES)
            shares.append(fine.mean(axis=(1, 3)).ravel())
        return np.concatenate(shares)

    def _from(self, size: tuple[int, int], *, side: int) -> Float64:
        """Return the map from pixels of a picture drawn in that size to those of a square."""
        height, width = size
        to_whole = box_map(0, 0, self.size[1] / width, self.size[0] / height)
        return chained(box_map(0, 0, side, side), chained(inverse(self.matrix), to_whole))


def _transformed(
    plane: npt.NDArray[Any], matrix: Float64, size: tuple[int, int], *, smooth: bool
) -> npt.NDArray[Any]:
    """Return the pixels (H, W) of a plane that a matrix leads to; Pillow measures as we do."""
    from PIL import Image

    method = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    image = Image.fromarray(plane).transform(
        (size[1], size[0]), Image.Transform.AFFINE, tuple(matrix.ravel()), method, fillcolor=0
    )
    return np.asarray(image)
