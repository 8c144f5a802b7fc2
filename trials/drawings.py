"""Drawn sets of boards, connectors and prints: one design, many good pieces, none with a mark.

Each piece is a little different (placement, solder, gloss, ink), and lies up to some pixels off.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator

SIDE = 320
#: Pieces are drawn so many times as large, so that their parts do not lie on whole pixels.
FINE = 4
#: Pixels that are free round a part of a board, beyond its pins.
APART = 6
Piece = Callable[[Generator], Any]
Colour = tuple[float, float, float]


def drawn_set(kind: str, *, seed: int, pieces: int, off: int, struck: float = 0.0) -> list[Any]:
    """Draw the pictures of a set.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    seed : int
        Of the design and of all pieces.
    pieces : int
        N.
    off : int
        Pixels that a piece lies off at most, to each side.
    struck : float
        Share of the pieces with a spot of their own.

    Returns
    -------
    list of array, shape (320, 320, 3), uint8
        BGR.
    """
    piece = KINDS[kind](np.random.default_rng((seed, 1)))
    return [
        _photographed(piece, np.random.default_rng((seed, 2, number)), off=off, struck=struck)
        for number in range(pieces)
    ]


def _photographed(piece: Piece, rng: Generator, *, off: int, struck: float) -> Any:
    """Draw a piece, off its place, under its light, through a noisy camera."""
    canvas = piece(rng)
    if rng.random() < struck:
        _blot(canvas, rng)
    shift = np.eye(2, 3, dtype=np.float32)
    shift[:, 2] = rng.uniform(-off, off, 2) * FINE
    canvas = cv2.warpAffine(
        canvas, shift, canvas.shape[:2], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    picture = cv2.resize(canvas, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    slope, ramp = rng.normal(0, 0.03, 2), np.linspace(-0.5, 0.5, SIDE, dtype=np.float32)
    light = rng.normal(1, 0.02) + slope[0] * ramp[:, None] + slope[1] * ramp
    picture = cv2.GaussianBlur(picture * light[:, :, None].astype(np.float32), (0, 0), 0.7)
    picture += rng.normal(0, 2.0, picture.shape)
    return picture.clip(0, 255).astype(np.uint8)


def _box(canvas: Any, left: float, top: float, width: float, height: float, colour: Colour) -> None:
    """Fill a rectangle, given in pixels of the picture."""
    first = round(left * FINE), round(top * FINE)
    last = round((left + width) * FINE) - 1, round((top + height) * FINE) - 1
    cv2.rectangle(canvas, first, last, colour, -1)


def _text(canvas: Any, words: str, left: float, base: float, size: float, ink: float) -> None:
    place = round(left * FINE), round(base * FINE)
    width = max(1, round(2.6 * size * FINE))
    cv2.putText(canvas, words, place, cv2.FONT_HERSHEY_SIMPLEX, size * FINE, (ink,) * 3, width,
                cv2.LINE_AA)  # fmt: skip


def _grey(value: float) -> Colour:
    return value, value, value


def _near(rng: Generator, colour: Colour, spread: float) -> Colour:
    """Return a colour a little brighter or darker, and a little off in hue."""
    shade = rng.normal(0, spread)
    blue, green, red = (float(v + shade + rng.normal(0, spread / 3)) for v in colour)
    return blue, green, red


def _free(design: Generator, size: Any, taken: list[Any]) -> Any:
    """Draw a place for a part that lies on no other part nor touches one, and take it."""
    size = np.array(size)
    while True:
        place = design.integers(15, 305 - size)
        first, last = place - APART, place + size + APART
        if all((last <= low).any() or (first >= high).any() for low, high in taken):
            taken.append((first, last))
            return place


def _blot(canvas: Any, rng: Generator) -> None:
    """Put a spot of its own on a piece, anywhere."""
    centre = tuple(int(v) for v in rng.integers(40 * FINE, (SIDE - 40) * FINE, 2))
    axes = tuple(int(v) for v in rng.integers(4 * FINE, 12 * FINE, 2))
    colour = [float(v) for v in rng.uniform(20, 235, 3)]
    cv2.ellipse(canvas, centre, axes, float(rng.uniform(0, 180)), 0, 360, colour, -1, cv2.LINE_AA)


def _board(design: Generator) -> Piece:
    """Lay out tracks, chips, small parts and pads."""
    ground = np.empty((SIDE * FINE, SIDE * FINE, 3), np.uint8)
    ground[:] = design.integers((40, 70, 20), (70, 110, 50))
    track = [int(v) for v in ground[0, 0].astype(int) + design.integers(10, 30, 3)]
    for _ in range(14):
        start, end = design.integers(0, SIDE * FINE, (2, 2)).tolist()
        turn = [end[0], start[1]]
        for a, b in ((start, turn), (turn, end)):
            cv2.line(ground, a, b, track, 3 * FINE, cv2.LINE_AA)
    taken: list[Any] = []
    chips = [(_free(design, size, taken), size) for size in design.integers(35, 70, (3, 2))]
    upright = [bool(turn) for turn in design.integers(2, size=22)]
    small = [(_free(design, (7, 13) if turn else (13, 7), taken), turn) for turn in upright]
    pads = design.integers(10, 310, (40, 2))

    def piece(rng: Generator) -> Any:
        canvas = ground.copy()
        for place in pads:
            centre = tuple(int(v * FINE) for v in place)
            cv2.circle(canvas, centre, 4 * FINE, _near(rng, (170, 185, 190), 12), -1, cv2.LINE_AA)
        for place, upright in small:
            x, y = (place + rng.normal(0, 0.5, 2)).tolist()
            w, h = (7, 13) if upright else (13, 7)
            _box(canvas, x, y, w, h, (190, 200, 205))
            dx, dy = (0, 3) if upright else (3, 0)
            _box(canvas, x + dx, y + dy, w - 2 * dx, h - 2 * dy, _grey(rng.normal(45, 6)))
        for place, size in chips:
            x, y = (place + rng.normal(0, 0.5, 2)).tolist()
            w, h = size.tolist()
            for pin in range(3, w - 2, 8):
                _box(canvas, x + pin, y - 5, 3, h + 10, _near(rng, (180, 190, 195), 10))
            _box(canvas, x, y, w, h, (34, 34, 36))
            _text(canvas, "Z80", x + 5, y + h / 2, 0.4, rng.normal(150, 10))
        return canvas

    return piece


def _connector(design: Generator) -> Piece:
    """Lay out rows of pins in a housing."""
    rows, columns = int(design.integers(2, 5)), int(design.integers(6, 12))
    body = float(design.integers(30, 60))
    step = 250 // columns

    def piece(rng: Generator) -> Any:
        canvas = np.full((SIDE * FINE, SIDE * FINE, 3), 120, np.uint8)
        _box(canvas, 20, 60, 280, 200, _grey(body + 15))
        _box(canvas, 22, 62, 276, 196, _grey(body))
        for row in range(rows):
            for column in range(columns):
                x = 40 + column * step + rng.normal(0, 0.5)
                y = 85 + row * 150 / rows + rng.normal(0, 0.5)
                gold = _near(rng, (90, 170, 200), 10)
                _box(canvas, x, y, step / 2, 22, gold)
                _box(canvas, x + 2, y + 3, 2, 16, tuple(min(255, v + 45) for v in gold))  # type: ignore[arg-type]
        return canvas

    return piece


def _print(design: Generator) -> Piece:
    """Lay out lines of text and a bar code."""
    letters = list("ABCDEFGHKLMNPRSTUVXYZ0123456789")
    lines = ["".join(design.choice(letters, 12)) for _ in range(6)]
    bars = np.flatnonzero(design.random(60) < 0.5).tolist()

    def piece(rng: Generator) -> Any:
        canvas = np.full((SIDE * FINE, SIDE * FINE, 3), 225, np.uint8)
        shade = rng.normal(50, 8)
        for number, line in enumerate(lines):
            _text(canvas, line, 25, 45 + 30 * number, 0.75, shade + rng.normal(0, 4))
        for bar in bars:
            _box(canvas, 35 + 4 * bar, 235, 4, 55, _grey(shade))
        return canvas

    return piece


KINDS: dict[str, Callable[[Generator], Piece]] = {
    "board": _board,
    "connector": _connector,
    "print": _print,
}
