"""Part against ground: the largest thing that differs from the colour round the picture's edge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from zeroline.runtime.frames import Frame, to_bgr8
from zeroline.runtime.framing.pose.opencv import opencv
from zeroline.runtime.framing.pose.pixels import Bools, Floats, shrunk
from zeroline.runtime.framing.pose.rigid import enlarged, moved

#: Long side of the picture in which a part is looked for, in pixels.
LONG_SIDE = 240
#: Width of the picture's edge that shows the ground, in pixels of the shrunk picture.
EDGE = 3
#: The ground tells the part from this contrast on.
CLEAR = 5.0


@dataclass(frozen=True)
class PartOnGround:
    """A part that differs from the ground.

    Attributes
    ----------
    mask : array, shape (h, w), bool
        The part, its holes filled, in the picture shrunk by `factor`.
    outline : array, shape (N, 2), float32
        Points (x, y) round the part, in pixels of the picture.
    contrast : float
        Otsu's threshold over the spread of the ground: some 1 where there is no part, 5 and more
        where the ground tells the part.
    factor : int
        By which the picture was shrunk.
    """

    mask: Bools
    outline: Floats
    contrast: float
    factor: int


def part_on_ground(picture: Frame, /, *, factor: int | None = None) -> PartOnGround | None:
    """Find the part on its ground, from the picture alone.

    Parameters
    ----------
    picture : array, shape (H, W, 3), uint8
        BGR; grey is taken too.
    factor : int, optional
        By which the picture is shrunk before; so that its long side is about 240 pixels where it
        is not given.

    Returns
    -------
    PartOnGround or None
        None where every pixel has the colour of the ground. Look at the contrast: noise has an
        outline too.

    Raises
    ------
    FrameError
        For an array that is no picture.

    Notes
    -----
    Ours, with Otsu's threshold (IEEE Trans. SMC 9, 1979).

    1. The ground's colour is the median over the picture's edge.
    2. The distance to it is the largest over the channels.
    3. Otsu's threshold of the distances parts ground and part.
    4. The largest blob is the part, without its holes.

    Examples
    --------
    >>> picture = np.full((120, 160, 3), 200, np.uint8)
    >>> part_on_ground(picture) is None
    True
    >>> picture[40:80, 40:120] = 60
    >>> found = part_on_ground(picture)
    >>> found.contrast > CLEAR, found.outline.min(axis=0).tolist()
    (True, [40.0, 40.0])
    """
    cv2 = opencv()
    pixels = to_bgr8(picture)
    if factor is None:
        factor = max(1, round(max(pixels.shape[:2]) / LONG_SIDE))
    factor = min(factor, *pixels.shape[:2])
    distance, spread = _distance(shrunk(pixels, factor))
    threshold, over = cv2.threshold(distance, 0, 255, cv2.THRESH_OTSU)
    outline = largest_outline(over > 0)
    if outline is None:
        return None
    mask = filled(outline, shape=over.shape)
    points = moved(outline, enlarged(factor))
    return PartOnGround(mask, points, float(threshold / spread), factor)


def _distance(pixels: Frame) -> tuple[Any, float]:
    """Return the distance to the ground's colour, uint8, and the spread of that on the edge."""
    cv2 = opencv()
    smooth = cv2.GaussianBlur(pixels, (0, 0), 1.5)
    inner = np.ones(smooth.shape[:2], bool)
    inner[EDGE:-EDGE, EDGE:-EDGE] = False
    edge = smooth[inner]
    ground = np.median(edge, axis=0)
    channels = cv2.split(cv2.absdiff(smooth, (*ground, 0.0)))
    distance = cv2.max(cv2.max(channels[0], channels[1]), channels[2])
    return distance, float(np.median(np.abs(edge - ground).max(axis=1))) + 1


def largest_outline(mask: Bools, /) -> Floats | None:
    """Return the points round the largest blob, shape (N, 2); None where there is none."""
    cv2 = opencv()
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if not outlines:
        return None
    return np.asarray(max(outlines, key=cv2.contourArea).reshape(-1, 2), dtype=np.float32)


def filled(outline: Floats, /, *, shape: tuple[int, ...]) -> Bools:
    """Return the mask of what an outline encloses, its points included."""
    plane = np.zeros(shape[:2], np.uint8)
    opencv().drawContours(plane, [outline.astype(np.int32)[:, None]], -1, 1, -1)
    return plane > 0
