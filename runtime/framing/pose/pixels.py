"""The working picture: grey or colour, shrunk by a whole factor."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from zeroline.runtime.frames import Frame
from zeroline.runtime.framing.pose.opencv import opencv

Grey = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]


def shrunk(picture: npt.NDArray[np.uint8], factor: int, /) -> npt.NDArray[np.uint8]:
    """Shrink by a whole factor: the mean of each square of pixels.

    Rows and columns that do not fill a square, at the lower and the right edge, are left out.

    Parameters
    ----------
    picture : array, shape (H, W) or (H, W, 3), uint8
    factor : int
        1 or more; no more than the picture's sides.

    Returns
    -------
    array, shape (H // factor, W // factor[, 3]), uint8
    """
    if factor == 1:
        return picture
    height, width = (side // factor for side in picture.shape[:2])
    whole = picture[: height * factor, : width * factor]
    cv2 = opencv()
    return np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA))


def grey(picture: Frame, /) -> Grey:
    """Return the grey values of a BGR picture."""
    cv2 = opencv()
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))


def median(colours: npt.NDArray[np.uint8], /) -> tuple[float, float, float]:
    """Return the median (B, G, R) of colours (n, 3)."""
    blue, green, red = np.median(colours, axis=0)
    return float(blue), float(green), float(red)


def widened(mask: Bools, pixels: int, /) -> Bools:
    """Widen a mask by some pixels in each direction; narrow it by a negative number.

    What lies outside the array is not in the mask.
    """
    cv2, reach = opencv(), 2 * abs(pixels) + 1
    change: Any = cv2.dilate if pixels > 0 else cv2.erode
    square = np.ones((reach, reach), np.uint8)
    return np.asarray(change(mask.astype(np.uint8), square, borderValue=0) > 0)
