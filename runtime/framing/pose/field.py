"""Gradients, and the field of edge directions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zeroline.runtime.framing.pose.opencv import opencv
from zeroline.runtime.framing.pose.pixels import Floats, Grey

#: Standard deviation of the Gaussian before the derivative, in pixels.
SMOOTHING = 0.8
#: Points are given to OpenCV in rows of so many: it takes no row of more than 32767.
ROW = 256


def gradients(grey: Grey, /, *, smoothing: float = SMOOTHING) -> tuple[Floats, Floats]:
    """Return the derivatives along x and y, in grey levels a pixel.

    A Gaussian, then Scharr's operator.
    """
    cv2 = opencv()
    smooth = cv2.GaussianBlur(np.asarray(grey, np.float32), (0, 0), smoothing)
    along = [
        cv2.Scharr(smooth, cv2.CV_32F, *order, scale=1 / 32, borderType=cv2.BORDER_REPLICATE)
        for order in ((1, 0), (0, 1))
    ]
    return along[0], along[1]


def direction_field(gx: Floats, gy: Floats, /, *, level: float) -> Floats:
    """Return the direction of edges, modulo 180°.

    The vector is m²/(m² + level²)·(cos 2θ, sin 2θ), with the gradient's length m and direction θ.
    The sign of the light drops out by the doubled angle, its strength by the saturation.

    Parameters
    ----------
    gx, gy : array, shape (H, W), float32
        Gradient.
    level : float
        The length at which the vector has half its full length, over 0.

    Returns
    -------
    array, shape (2, H, W), float32
        Each vector at most 1 long.

    Notes
    -----
    Ours. Doubled angles are those of the structure tensor (Bigün and Granlund, ICCV 1987).
    """
    xx, yy = gx * gx, gy * gy
    scale = 1 / (xx + yy + np.float32(level * level))
    return np.stack(((xx - yy) * scale, 2 * gx * gy * scale))


def sampled(plane: Floats, points: npt.NDArray[np.float32], /) -> Floats:
    """Return bilinear values at points, 0 outside; shape of points (..., 2), of values (...)."""
    cv2 = opencv()
    count = points.size // 2
    rows = np.zeros((-(-count // ROW) or 1, ROW, 2), np.float32)
    rows.reshape(-1, 2)[:count] = points.reshape(-1, 2)
    values = cv2.remap(
        plane,
        np.ascontiguousarray(rows[..., 0]),
        np.ascontiguousarray(rows[..., 1]),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
    )
    return np.asarray(values.reshape(-1)[:count].reshape(points.shape[:-1]), dtype=np.float32)


def top(values: npt.NDArray[np.floating], highest: int, /) -> float:
    """Return how far the top of a parabola through a peak is from it, -½ to ½.

    The values run in a circle.
    """
    before, peak, behind = (float(values[(highest + step) % len(values)]) for step in (-1, 0, 1))
    bend = 2 * peak - before - behind
    return float(np.clip((behind - before) / (2 * bend), -0.5, 0.5)) if bend > 0 else 0.0
