"""Shares of NG images against the threshold, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from zeroline.runtime.frames import Frame

_WIDTH, _HEIGHT = 1080, 560
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 290, 84, 60  # round the plot
_MEANING = (
    "share of images that are NG at a threshold: false alarms of good images, recall of defects"
)
_LEGEND = 40  # from one name to the next, where there is room
_FINER = 2  # drawn so many times as large, then made smaller: smooth lines
_INK, _SOFT, _GRID = "#1c2026", "#5c6470", "#e3e6ea"
#: Good images and all defects stand out; kinds of defect follow in colours that most eyes can tell
#: apart (Okabe and Ito).
_FIRST = {"good": ("#be2626", 3), "all defects": (_INK, 3)}
_KINDS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#8b5a2b", "#8a919c", "#b8a900")


@dataclass(frozen=True)
class Curve:
    """One line of the picture.

    Attributes
    ----------
    name : str
    points : list of (float, float)
        Threshold and share, from left to right.
    reached : float
        Share at the threshold in use.
    told : str
        The same in words.
    """

    name: str
    points: list[tuple[float, float]]
    reached: float
    told: str


def draw_curves(curves: Sequence[Curve], *, title: str, mark: tuple[float, str]) -> Frame:
    """Draw curves over one axis of thresholds.

    Parameters
    ----------
    curves : sequence of Curve
        At least one, all from the same threshold to the same one.
    title : str
    mark : (float, str)
        The threshold in use, and what stands beside it.

    Returns
    -------
    array, shape (560, 1080, 3), uint8
        BGR.
    """
    low, high = curves[0].points[0][0], curves[0].points[-1][0]
    sheet = _Sheet(low, high)
    sheet.text((0, -62), title, size=19)
    meaning = (
        "share of images that are NG at a threshold: false alarms of good ones, recall of defects"
    )
    sheet.text((0, -34), meaning, colour=_SOFT)
    sheet.axes()
    sheet.dashed(mark[0])
    beside = mark[0] < (low + high) / 2
    sheet.text(
        (sheet.x(mark[0]) + (6 if beside else -6), -12), mark[1], anchor="lm" if beside else "rm"
    )
    kinds = iter(range(len(curves)))
    for number, curve in enumerate(curves):
        default = ("", 0) if curve.name in _FIRST else (_KINDS[next(kinds) % len(_KINDS)], 2)
        colour, width = _FIRST.get(curve.name, default)
        sheet.line(curve.points, colour, width)
        sheet.dot((mark[0], curve.reached), colour)
        sheet.legend(number * min(_LEGEND, sheet.height / len(curves)), curve, colour)
    return sheet.picture()


class _Sheet:
    """A picture with one plot; pixels count from the plot's left upper corner."""

    def __init__(self, low: float, high: float) -> None:
        self._low, self._high = low, high
        self._image = Image.new("RGB", (_WIDTH * _FINER, _HEIGHT * _FINER), "white")
        self._pencil = ImageDraw.Draw(self._image)
        self._width, self.height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def x(self, threshold: float) -> float:
        """Return where a threshold stands."""
        return (threshold - self._low) / (self._high - self._low) * self._width

    def y(self, share: float) -> float:
        """Return where a share stands."""
        return (1 - share) * self.height

    def axes(self) -> None:
        """Draw the grid with its numbers."""
        for fifth in range(6):
            y = self.y(fifth / 5)
            self._stroke([(0, y), (self._width, y)], _GRID, 1)
            self.text((-10, y), f"{20 * fifth} %", anchor="rm", colour=_SOFT)
        step = 10 ** floor(log10((self._high - self._low) / 2))
        places = [n * step for n in range(ceil(self._low / step), floor(self._high / step) + 1)]
        for threshold in places[:: ceil(len(places) / 10) or 1]:
            x = self.x(threshold)
            self._stroke([(x, self.height), (x, self.height + 5)], _SOFT, 1)
            self.text((x, self.height + 18), f"{threshold:.3g}", anchor="mm", colour=_SOFT)
        self._stroke([(0, self.height), (self._width, self.height)], _SOFT, 1)
        self.text((self._width / 2, self.height + 42), "threshold", anchor="mm", colour=_SOFT)

    def dashed(self, threshold: float) -> None:
        """Draw a dashed line over the whole height."""
        x = self.x(threshold)
        for top in range(-4, self.height, 9):
            self._stroke([(x, top), (x, min(top + 5, self.height))], _INK, 1)

    def line(self, points: Sequence[tuple[float, float]], colour: str, width: int) -> None:
        """Draw a curve."""
        self._stroke([(self.x(t), self.y(share)) for t, share in points], colour, width)

    def dot(self, point: tuple[float, float], colour: str) -> None:
        """Draw a dot with a white rim."""
        x, y = _LEFT + self.x(point[0]), _TOP + self.y(point[1])
        for radius, fill in ((6, "white"), (4.5, colour)):
            box = [(v + sign * radius) * _FINER for sign in (-1, 1) for v in (x, y)]
            self._pencil.ellipse(box, fill=fill)

    def legend(self, top: float, curve: Curve, colour: str) -> None:
        """Name a curve at the right, and say what was reached."""
        left = self._width + 26
        self._stroke([(left, top + 8), (left + 20, top + 8)], colour, 4)
        name = curve.name if len(curve.name) <= 24 else curve.name[:23] + "…"
        self.text((left + 30, top + 8), name)
        self.text((left + 30, top + 25), curve.told, colour=_SOFT, size=12)

    def text(
        self, place: tuple[float, float], text: str, *, anchor: str = "lm", colour: str = _INK,
        size: int = 14,
    ) -> None:  # fmt: skip
        """Write text."""
        x, y = (_LEFT + place[0]) * _FINER, (_TOP + place[1]) * _FINER
        font = ImageFont.load_default(size * _FINER)
        self._pencil.text((x, y), text, fill=colour, font=font, anchor=anchor)

    def _stroke(self, points: Sequence[tuple[float, float]], colour: str, width: int) -> None:
        finer = [((_LEFT + x) * _FINER, (_TOP + y) * _FINER) for x, y in points]
        self._pencil.line(finer, fill=colour, width=width * _FINER, joint="curve")

    def picture(self) -> Frame:
        """Return the picture as BGR."""
        small = self._image.resize((_WIDTH, _HEIGHT), Image.Resampling.LANCZOS)
        return np.ascontiguousarray(np.asarray(small)[:, :, ::-1])
