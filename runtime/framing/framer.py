"""From a picture to the network's square, by a framing, for one network."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from zeroline.runtime.arrays import Bools
from zeroline.runtime.errors import FrameError, FramingError
from zeroline.runtime.frames import Frame
from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.framing.geometry import bounds, box_map
from zeroline.runtime.framing.look import Look
from zeroline.runtime.framing.tiles import boxes, canvas, cut, joined_tokens
from zeroline.runtime.framing.view import View
from zeroline.runtime.grid import Grid, grid_side
from zeroline.runtime.tokens import Tokens

if TYPE_CHECKING:
    from zeroline.runtime.framing.placed import PlacedPart
    from zeroline.runtime.network.manifest import InputSpec


class Framer:
    """Looks at pictures by a framing.

    Parameters
    ----------
    framing : Framing
    spec : InputSpec
        The network's input.
    patches : int
        P, of the network.

    Raises
    ------
    FramingError
        If no patch is left that counts, or a tile is smaller than a patch.

    Attributes
    ----------
    framing : Framing
    grid : Grid
        The patches of a picture, in all tiles.
    roi : array, shape (P,), bool, or None
        Patches that count in every picture, of all tiles; None: all.
    part : PlacedPart
        What is looked for, where the framing finds a part.
    seen : tuple of int
        Numbers of the tiles in which a patch counts.
    """

    part: PlacedPart

    def __init__(self, framing: Framing, spec: InputSpec, *, patches: int) -> None:
        self.framing, self._spec = framing, spec
        self.grid = Grid(grid_side(patches), framing.tiles)
        self.roi: Bools | None = None
        self.seen = tuple(range(self.grid.count))
        if framing.is_plain:
            return
        assert framing.size is not None  # noqa: S101 - a framing that is not plain has one
        self._canvas = canvas(spec.size, framing.tiles)
        side = self.grid.side
        if framing.taught is not None:
            from zeroline.runtime.framing.placed import PlacedPart

            self.part = PlacedPart(framing, max(self._canvas))
            roi = self.part.counted(self.grid)
        else:
            self._box = self._content()
            roi = self._view().covered(framing.counted, side=side)
        if framing.is_tiled:
            self._check_tiles()
        if not roi.any():
            raise FramingError(
                f"{framing}: less than half a patch is left of the {side}×{side} that the network "
                "sees"
            )
        self.roi = None if roi.all() else roi
        self.seen = tuple(n for n, part in enumerate(self.grid.parts()) if roi[part].any())

    def _check_tiles(self) -> None:
        """Refuse tiles that have fewer pixels than the network takes for one patch."""
        width, height = self.tile_size
        patch = self._spec.size / self.grid.side
        if min(width, height) < patch:
            raise FramingError(
                f"{self.framing}: tiles of {width:.0f}×{height:.0f} pixels. Tiles smaller than a "
                f"patch of the network, {patch:.0f} pixels, show nothing"
            )

    @property
    def tile_size(self) -> tuple[float, float]:
        """Width and height of a tile, in pixels of the picture."""
        side = self._spec.size
        if self.framing.taught is not None:
            high, wide = self._canvas
            return side * self.part.side / wide, side * self.part.side / high
        left, top, right, bottom = self._cut()
        _, _, width, height = self._box
        return side * (right - left) / width, side * (bottom - top) / height

    @property
    def is_enlarged(self) -> bool:
        """Whether tiles have fewer pixels than the network's input: fewer would show as much."""
        return self.framing.is_tiled and min(self.tile_size) < self._spec.size

    def joined(self, tokens: Tokens) -> Tokens:
        """Return the tokens of pictures from those of their images, in their order."""
        if not self.framing.is_tiled:
            return tokens
        return joined_tokens(tokens, self.framing.tiles, self.seen)

    def look(self, frame: Frame) -> Look:
        """Return what of a picture goes into the network.

        Parameters
        ----------
        frame : array, shape (H, W, 3), uint8
            BGR.

        Raises
        ------
        FrameError
            For a picture of another size than the framing's.
        """
        size = (frame.shape[0], frame.shape[1])
        if self.framing.is_plain:
            return Look((frame,), View.whole(size))
        if size != self.framing.size:
            assert self.framing.size is not None  # noqa: S101 - see above
            height, width = self.framing.size
            raise FrameError(
                f"the picture has {size[1]}×{size[0]} pixels, the framing is drawn on "
                f"{width}×{height}"
            )
        if self.framing.taught is not None:
            look = self.part.look(frame, grid=self.grid)
            return look if look.problem else replace(look, images=self._tiles(*look.images))
        left, top, right, bottom = self._cut()
        image = frame[top:bottom, left:right]
        if self.framing.aspect == "fit":
            image = self._fitted(image)
        return Look(self._tiles(image), self._view())

    def _tiles(self, image: Frame) -> tuple[Frame, ...]:
        """Return what is looked at as the images that the network sees."""
        if not self.framing.is_tiled:
            return (image,)
        side, interpolation = self._spec.size, self._spec.interpolation
        every = boxes(self.framing.tiles)
        found = [every[tile] for tile in self.seen]
        return cut(image, found, side=side, interpolation=interpolation)

    def _cut(self) -> tuple[int, int, int, int]:
        """Return the pixels round the crop: left, top, right, bottom."""
        assert self.framing.size is not None  # noqa: S101 - see above
        height, width = self.framing.size
        if not self.framing.crop:
            return 0, 0, width, height
        left, top, right, bottom = bounds(self.framing.crop)
        return int(left), int(top), int(np.ceil(right)), int(np.ceil(bottom))

    def _content(self) -> tuple[int, int, int, int]:
        """Return where on the canvas the picture lies, in its pixels: left, top, width, height."""
        high, wide = self._canvas
        if self.framing.aspect == "stretch":
            return 0, 0, wide, high
        left, top, right, bottom = self._cut()
        across, down = right - left, bottom - top
        if across * high >= down * wide:
            width, height = wide, max(1, round(wide * down / across))
        else:
            width, height = max(1, round(high * across / down)), high
        return (wide - width) // 2, (high - height) // 2, width, height

    def _view(self) -> View:
        assert self.framing.size is not None  # noqa: S101 - see above
        left, top, right, bottom = self._cut()
        x, y, width, height = self._box
        per_x, per_y = (right - left) / width, (bottom - top) / height
        high, wide = self._canvas
        return View(
            self.framing.size,
            box_map(left - x * per_x, top - y * per_y, wide * per_x, high * per_y),
            self.framing.tiles,
        )

    def _fitted(self, image: Frame) -> Frame:
        """Return the canvas, with the picture in its middle and an even colour round it.

        The canvas is the network's square, or all tiles. The colour is the network's own zero.
        """
        from zeroline.runtime.network.preprocess import resized

        x, y, width, height = self._box
        zero = np.asarray(self._spec.mean) * (255 if self._spec.value_range == "0..1" else 1)
        square = np.empty((*self._canvas, 3), np.uint8)
        square[:] = np.clip(np.rint(zero[::-1] if self._spec.colour == "RGB" else zero), 0, 255)
        square[y : y + height, x : x + width] = resized(
            image, (height, width), self._spec.interpolation
        )
        return square
