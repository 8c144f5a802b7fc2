"""A frame as it came, and what every source is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from zeroline.runtime.frames import Frame

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Captured:
    """A frame, or the reason why there is none.

    Attributes
    ----------
    frame : array, shape (H, W, 3), uint8, or None
        BGR.
    name : str
        File name or number of the frame in its source.
    fault : str
        Why there is no frame; empty else.
    dropped : int
        Frames of a live source that were not taken since the last one.
    """

    frame: Frame | None
    name: str
    fault: str = ""
    dropped: int = 0


class FrameSource(Protocol):
    """Frames to iterate over, once."""

    live: bool

    def __iter__(self) -> Iterator[Captured]:
        """Yield frames until the source ends or `close` is called."""

    def close(self) -> None:
        """Let go of the device; iteration ends soon after."""


def frames_per_second(count: int, began: float) -> float:
    """Return the rate of `count` frames since the monotonic time `began`."""
    return count / max(time.monotonic() - began, 1e-9)
