"""Recurring defects for people: which images, where in them, and a picture of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from zeroline.edge_app.errors import ImageError, OutputError
from zeroline.edge_app.images import ImageFile, read_image
from zeroline.edge_app.opencv import opencv
from zeroline.runtime.frames import Frame
from zeroline.runtime.grid import grid_side
from zeroline.runtime.scoring import ScoreResult

#: Members of a recurring defect that are shown, spread over all of them.
MOST_SHOWN = 8

_SIDE = 320
_TO_A_ROW, _GAP, _TITLE, _CAPTION = 4, 6, 40, 30  # of a sheet, in pixels
_COLOUR = (38, 38, 190)  # BGR, the report's red
_JPEG_QUALITY = 85


@dataclass(frozen=True)
class RecurringDefect:
    """A defect that several images share.

    Attributes
    ----------
    files : tuple of ImageFile
        Those that show it, in the order in which they were given.
    marks : array, shape (files, P), bool
        Where.
    among : tuple of ImageFile
        All images of the set.
    """

    files: tuple[ImageFile, ...]
    marks: npt.NDArray[np.bool_]
    among: tuple[ImageFile, ...]

    @property
    def share(self) -> float:
        """Share of the set's images that show it."""
        return len(self.files) / len(self.among)

    def __str__(self) -> str:
        """Return one line."""
        return (
            f"recurring defect in {len(self.files)} of {len(self.among)} images "
            f"({self.share:.0%}), the first: {self.files[0].name}"
        )

    def places(self) -> list[bool]:
        """Tell for each image of the set, in order, whether it shows the defect."""
        members = set(self.files)
        return [file in members for file in self.among]


def recurring_defects(outcome: ScoreResult, files: Sequence[ImageFile]) -> list[RecurringDefect]:
    """Return the recurring defects of a set, the clearest first."""
    return [
        RecurringDefect(tuple(files[i] for i in found.members), found.marks, tuple(files))
        for found in outcome.communities
    ]


def pictures_of(defect: RecurringDefect, *, white_level: int | None) -> dict[str, bytes]:
    """Return JPEG files of some images, the marked patches outlined, by the images' names."""
    cv2 = opencv("to draw recurring defects")
    count = min(MOST_SHOWN, len(defect.files))
    chosen = np.unique(np.linspace(0, len(defect.files) - 1, count).round().astype(int))
    pictures = {}
    for place in chosen.tolist():
        file = defect.files[place]
        try:
            frame = read_image(file.path, white_level=white_level)
        except ImageError as error:  # it could be read a moment ago
            raise OutputError(f'no picture of "{file.name}": {error}') from error
        picture = outlined(cv2, frame, defect.marks[place])
        quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        pictures[file.name] = cv2.imencode(".jpg", picture, quality)[1].tobytes()
    return pictures


def outlined(cv2: Any, frame: Frame, marks: npt.NDArray[np.bool_]) -> Frame:
    """Return a small copy of a frame with its marked patches outlined."""
    small = small_copy(cv2, frame)
    side = grid_side(len(marks))
    height, width = small.shape[:2]
    mask = cv2.resize(
        marks.reshape(side, side).astype(np.uint8), (width, height),
        interpolation=cv2.INTER_NEAREST,
    )  # fmt: skip
    contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(small, contours, -1, _COLOUR, 2)
    return small


def small_copy(cv2: Any, frame: Frame) -> Frame:
    """Return a frame scaled to a long side of 320 pixels."""
    factor = _SIDE / max(frame.shape[:2])
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    small: Frame = cv2.resize(frame, None, fx=factor, fy=factor, interpolation=way)
    return small


def sheet(
    cv2: Any, shown: Sequence[tuple[str, Frame, npt.NDArray[np.bool_]]], *, title: str
) -> Frame:
    """Draw frames side by side, their marks outlined, four to a row and at most eight.

    Parameters
    ----------
    cv2 : module
    shown : sequence of (caption, frame, marks)
    title : str
    """
    chosen = np.linspace(0, len(shown) - 1, min(MOST_SHOWN, len(shown))).round().astype(int)
    rows = -(-len(chosen) // _TO_A_ROW)
    cell = _SIDE + _CAPTION
    canvas = np.full((_TITLE + rows * cell, _TO_A_ROW * (_SIDE + _GAP) - _GAP, 3), 255, np.uint8)
    _write(cv2, canvas, title, (8, _TITLE - 12), canvas.shape[1])
    for place, number in enumerate(chosen.tolist()):
        caption, frame, marks = shown[number]
        picture = outlined(cv2, frame, marks)
        top = _TITLE + place // _TO_A_ROW * cell
        left = place % _TO_A_ROW * (_SIDE + _GAP)
        canvas[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        _write(cv2, canvas, caption, (left + 4, top + cell - 10), _SIDE)
    return canvas


def _write(cv2: Any, canvas: Frame, text: str, place: tuple[int, int], room: int) -> None:
    width = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 1)[0][0]
    size = 0.6 * min(1.0, (room - 16) / max(width, 1))
    cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, (30, 30, 30), 1, cv2.LINE_AA)
