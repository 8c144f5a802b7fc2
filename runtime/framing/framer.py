"""From a picture to the network's square, by a framing, for one network."""

from __future__ import annotations

import numpy as np

from zeroline.runtime.arrays import Bools
from zeroline.runtime.errors import FrameError, FramingError
from zeroline.runtime.frames import Frame
from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.framing.geometry import bounds, box_map
from zeroline.runtime.framing.look import Look
from zeroline.runtime.framing.placed import PlacedPart
from zeroline.runtime.framing.view import View
from zeroline.runtime.grid import grid_side
from zeroline.runtime.network.manifest import InputSpec
from zeroline.runtime.network.preprocess import resized


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
        If no patch is left that counts.

    Attributes
    ----------
    framing : Framing
    roi : array, shape (P,), bool, or None
        Patches that count in every picture; None: all.
    part : PlacedPart
        What is looked for, where the framing finds a part.
    """

    part: PlacedPart

    def __init__(self, framing: Framing, spec: InputSpec, *, patches: int) -> None:
        self.framing, self._spec = framing, spec
        self.roi: Bools | None = None
        if framing.is_plain:
            return
        assert framing.size is not None  # noqa: S101 - a framing that is not plain has one
        self._side = side = grid_side(patches)
        if framing.taught is not None:
            self.part = PlacedPart(framing, spec.size)
            roi = self.part.counted(side)
        else:
            self._box = self._content()
            roi = self._view().covered(framing.counted, side=side)
        if not roi.any():
            raise FramingError(
                f"{framing}: less than half a patch is left of the {side}×{side} that the network "
                "sees"
            )
        self.roi = None if roi.all() else roi

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
            return Look(frame, View.whole(size))
        if size != self.framing.size:
            assert self.framing.size is not None  # noqa: S101 - see above
            height, width = self.framing.size
            raise FrameError(
                f"the picture has {size[1]}×{size[0]} pixels, the framing is drawn on "
                f"{width}×{height}"
            )
        if self.framing.taught is not None:
            return self.part.look(frame, side=self._side)
        left, top, right, bottom = self._cut()
        image = frame[top:bottom, left:right]
        if self.framing.aspect == "fit":
            image = self._fitted(image)
        return Look(image, self._view())

    def _cut(self) -> tuple[int, int, int, int]:
        """Return the pixels round the crop: left, top, right, bottom."""
        assert self.framing.size is not None  # noqa: S101 - see above
        height, width = self.framing.size
        if not self.framing.crop:
            return 0, 0, width, height
        left, top, right, bottom = bounds(self.framing.crop)
        return int(left), int(top), int(np.ceil(right)), int(np.ceil(bottom))

    def _content(self) -> tuple[int, int, int, int]:
        """Return where in the square the picture lies, in its pixels: left, top, width, height."""
        side = self._spec.size
        if self.framing.aspect == "stretch":
            return 0, 0, side, side
        left, top, right, bottom = self._cut()
        longest = max(right - left, bottom - top)
        width, height = (
            max(1, round(side * length / longest)) for length in (right - left, bottom - top)
        )
        return (side - width) // 2, (side - height) // 2, width, height

    def _view(self) -> View:
        assert self.framing.size is not None  # noqa: S101 - see above
        left, top, right, bottom = self._cut()
        x, y, width, height = self._box
        per_x, per_y = (right - left) / width, (bottom - top) / height
        side = self._spec.size
        return View(
            self.framing.size,
            box_map(left - x * per_x, top - y * per_y, side * per_x, side * per_y),
        )

    def _fitted(self, image: Frame) -> Frame:
        """Return the network's square, with the picture in its middle and an even colour round it.

        The colour is the network's own zero.
        """
        side = self._spec.size
        x, y, width, height = self._box
        zero = np.asarray(self._spec.mean) * (255 if self._spec.value_range == "0..1" else 1)
        square = np.empty((side, side, 3), np.uint8)
        square[:] = np.clip(np.rint(zero[::-1] if self._spec.colour == "RGB" else zero), 0, 255)
        square[y : y + height, x : x + width] = resized(
            image, (height, width), self._spec.interpolation
        )
        return square
