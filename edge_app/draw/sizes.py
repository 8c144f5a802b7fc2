"""How large a frame is drawn."""

from __future__ import annotations

#: A drawn side has no fewer pixels: a frame that is longer than ten times its width is widened.
THINNEST = 96


def drawn_size(height: int, width: int, factor: float) -> tuple[int, int]:
    """Return width and height of a scaled frame, as OpenCV takes them.

    The aspect is kept, but no side becomes so thin that nothing is seen on it.

    Examples
    --------
    >>> drawn_size(480, 640, 0.5)
    (320, 240)
    >>> drawn_size(16, 16000, 0.08)
    (1280, 96)
    """
    least = min(THINNEST, max(height, width))
    return max(least, round(width * factor)), max(least, round(height * factor))
