"""Recurring defects as pictures: frames side by side, the marked patches outlined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from zeroline.edge_app.draw.sizes import drawn_size
from zeroline.runtime.frames import Frame
from zeroline.runtime.framing.view import View

#: Members of a recurring defect that are shown, spread over all of them.
MOST_SHOWN = 8


_SIDE = 320


_TO_A_ROW, _GAP, _TITLE, _CAPTION = 4, 6, 40, 30  # of a sheet, in pixels


_COLOUR = (38, 38, 190)  # BGR, the report's red


def outlined(
    cv2: Any, frame: Frame, marks: npt.NDArray[np.bool_], view: View | None = None
) -> Frame:
    """Return a small copy of a frame with its marked patches outlined, where a view has them."""
    small = small_copy(cv2, frame)
    height, width = small.shape[:2]
    if view is None or view.is_whole:
        view = View.whole((height, width))
    mask = view.marked(marks, size=(height, width)).astype(np.uint8)
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(small, contours, -1, _COLOUR, 2)
    return small


def small_copy(cv2: Any, frame: Frame) -> Frame:
    """Return a frame scaled to a long side of 320 pixels; a very long one is widened."""
    height, width = frame.shape[:2]
    factor = _SIDE / max(height, width)
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    size = drawn_size(height, width, factor)
    small: Frame = cv2.resize(frame, size, interpolation=way)
    return small


def sheet(
    cv2: Any,
    shown: Sequence[tuple[str, Frame, npt.NDArray[np.bool_], View | None]],
    *,
    title: str,
) -> Frame:
    """Draw frames side by side, their marks outlined, four to a row and at most eight.

    Parameters
    ----------
    cv2 : module
    shown : sequence of (caption, frame, marks, view)
    title : str
    """
    chosen = np.linspace(0, len(shown) - 1, min(MOST_SHOWN, len(shown))).round().astype(int)
    rows = -(-len(chosen) // _TO_A_ROW)
    cell = _SIDE + _CAPTION
    canvas = np.full((_TITLE + rows * cell, _TO_A_ROW * (_SIDE + _GAP) - _GAP, 3), 255, np.uint8)
    _write(cv2, canvas, title, (8, _TITLE - 12), canvas.shape[1])
    for place, number in enumerate(chosen.tolist()):
        caption, frame, marks, view = shown[number]
        picture = outlined(cv2, frame, marks, view)
        top = _TITLE + place // _TO_A_ROW * cell
        left = place % _TO_A_ROW * (_SIDE + _GAP)
        canvas[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        _write(cv2, canvas, caption, (left + 4, top + cell - 10), _SIDE)
    return canvas


def _write(cv2: Any, canvas: Frame, text: str, place: tuple[int, int], room: int) -> None:
    width = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 1)[0][0]
    size = 0.6 * min(1.0, (room - 16) / max(width, 1))
    cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, (30, 30, 30), 1, cv2.LINE_AA)
