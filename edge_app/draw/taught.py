"""A taught part as a picture: its outline, what is ignored, and how the network sees it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zeroline.edge_app.draw.sizes import drawn_size
from zeroline.edge_app.opencv import opencv
from zeroline.runtime.arrays import Bools, Float64
from zeroline.runtime.frames import Frame
from zeroline.runtime.framing.view import View

_SIDE = 640
_OUTLINE, _IGNORED, _SQUARE = (90, 200, 60), (60, 60, 220), (220, 160, 60)  # BGR


def draw_taught(
    picture: Frame, seen: Frame, view: View, *, part: Bools, roi: Bools | None
) -> Frame:
    """Draw the taught picture, and beside it what the network sees.

    Parameters
    ----------
    picture : array, shape (H, W, 3), uint8
        BGR.
    seen : array, shape (S, S, 3), uint8
        The part, upright and flat.
    view : View
        Where that lies in the picture.
    part : array, shape (n, n), bool
        The part in its upright frame.
    roi : array, shape (P,), bool, or None
        Patches that count; None: all.

    Returns
    -------
    array, uint8, BGR
        Green: the outline. Blue: the network's square. Red: patches that do not count.
    """
    cv2 = opencv("to draw a taught part")
    height, width = picture.shape[:2]
    factor = _SIDE / max(height, width)
    size = drawn_size(height, width, factor)
    drawn = cv2.resize(
        picture, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    )
    outlines, _ = cv2.findContours(part.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    scale = np.array([size[0] / width, size[1] / height])

    def there(points: Float64) -> npt.NDArray[np.int32]:
        return np.asarray(np.rint(view.to_picture(points) * scale), np.int32)

    for outline in outlines:
        unit = (outline.reshape(-1, 2) + 0.5) / len(part)
        cv2.polylines(drawn, [there(unit)], True, _OUTLINE, 2, cv2.LINE_AA)
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float64)
    cv2.polylines(drawn, [there(corners)], True, _SQUARE, 1, cv2.LINE_AA)
    square = cv2.resize(seen, (_SIDE, _SIDE), interpolation=cv2.INTER_LINEAR)
    if roi is not None:
        side = round(len(roi) ** 0.5)
        away = cv2.resize(
            (~roi).reshape(side, side).astype(np.uint8), (_SIDE, _SIDE),
            interpolation=cv2.INTER_NEAREST,
        ) > 0  # fmt: skip
        square[away] = (0.65 * square[away] + 0.35 * np.array(_IGNORED)).astype(np.uint8)
    canvas = np.full((max(size[1], _SIDE), size[0] + _SIDE + 8, 3), 255, np.uint8)
    canvas[: size[1], : size[0]] = drawn
    canvas[:_SIDE, size[0] + 8 :] = square
    return canvas
