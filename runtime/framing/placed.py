"""The part as the network sees it: found, upright, and flat all round."""

from __future__ import annotations

import numpy as np

from zeroline.runtime.arrays import Bools, Float64
from zeroline.runtime.frames import Frame
from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.framing.geometry import box_map, chained
from zeroline.runtime.framing.look import Look
from zeroline.runtime.framing.pose import TaughtPart, laid_flat
from zeroline.runtime.framing.pose.ground import CLEAR
from zeroline.runtime.framing.pose.laid import WIDER
from zeroline.runtime.framing.pose.taught import By
from zeroline.runtime.framing.view import View
from zeroline.runtime.grid import Grid, widened

#: Samples of the part's outline along its frame's side.
_FINE = 640
#: Patches so near to where the part leaves the picture see the flat colour, by the network and by
#: their neighbourhood: good plates cut at the border were NG in 4 of 105 frames at 1, in 2 at 2.
_BESIDE = 2


class PlacedPart:
    """A taught part: found in each picture, and laid upright and flat.

    Parameters
    ----------
    framing : Framing
        With a taught picture.
    size : int
        Side of what is laid, in pixels: of the network's square, or of all tiles.

    Raises
    ------
    FramingError
        If the taught picture shows no part.
    """

    def __init__(self, framing: Framing, size: int) -> None:
        assert framing.taught is not None  # noqa: S101 - the caller has looked
        self._framing, self._size = framing, size
        self._by: By = "outline" if framing.align == "outline" else "pattern"
        self._taught = TaughtPart.of(framing.taught, mask=framing.cropped if framing.crop else None)

    def described(self) -> list[str]:
        """Return what was taught in words, a line for each fact."""
        taught = self._taught
        ground = "tells the part" if taught.contrast >= CLEAR else "does not tell the part"
        return [
            f"the part fills a square of {taught.side} pixels",
            f"the ground {ground}: contrast {taught.contrast:.1f}, {CLEAR:g} is needed",
            "the part looks like itself in no other pose"
            if taught.readings == 1
            else f"the part looks alike in {taught.readings} poses: its detail decides",
        ]

    def mask(self, side: int) -> Bools:
        """Return the part in its upright frame, shape (side, side)."""
        return self._taught.mask(side)

    @property
    def side(self) -> int:
        """Side of the upright frame, in pixels of the taught picture."""
        return self._taught.side

    def counted(self, grid: Grid) -> Bools:
        """Return which patches (P,) of a grid show the part or its rim, and are not ignored."""
        fine = self._taught.distance(_FINE) < WIDER[self._by]
        shown = View.whole((_FINE, _FINE), tiles=grid.tiles).touched(fine, side=grid.side)
        assert self._framing.taught is not None  # noqa: S101 - see above
        view = self._view(self._taught.upright, self._framing.taught.shape[:2])
        ignored = self._framing.cropped & ~self._framing.counted
        counted: Bools = shown & ~view.covered(ignored, side=grid.side)
        return counted

    def look(self, frame: Frame, *, grid: Grid) -> Look:
        """Find the part in a picture, and lay it for the patches of a grid."""
        pose = self._taught.find(frame, by=self._by)
        view = self._view(pose.matrix, frame.shape[:2])
        if pose.problem is not None:
            return Look((frame,), view, pose=pose)
        laid, missing = laid_flat(self._taught, frame, pose, self._size, by=self._by)
        absent = None
        if missing.any():
            away = View.whole((self._size, self._size), tiles=grid.tiles)
            touched = away.touched(missing, side=grid.side)
            absent = widened(touched[None], by=_BESIDE, tiles=grid.tiles)[0]
        return Look((laid,), view, absent, pose)

    def _view(self, matrix: Float64, size: tuple[int, ...]) -> View:
        """Return the view of an upright frame; its matrix measures from centre to centre."""
        side = self._taught.side
        centre = np.full((2, 1), 0.5)
        there = np.column_stack([matrix[:, :2], matrix[:, 2:] + centre])
        back = box_map(-0.5, -0.5, side, side)
        return View((size[0], size[1]), chained(there, back), self._framing.tiles)
