"""A frame as it came, and what every source is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from zeroline.runtime.frames import CaptureTime, Frame
from zeroline.runtime.results import Reason


@dataclass(frozen=True)
class Captured:
    """A frame, or the reason why there is none.

    Attributes
    ----------
    frame : array, shape (H, W, 3), uint8, or None
        BGR.
    name : str
        File name or number of the frame in its source.
    part_id : str or None
        Name of the part, where the source knows it.
    time : CaptureTime
        When it was taken.
    fault : str
        Why there is no frame, in words; empty else.
    reason : Reason or None
        The same by its code.
    dropped : int
        Frames of a live source that were not taken since the last one.
    clock : float or None
        Seconds by the stream's own clock, where it has one.
    """

    frame: Frame | None
    name: str
    part_id: str | None = None
    time: CaptureTime = field(default_factory=CaptureTime.now)
    fault: str = ""
    reason: Reason | None = None
    dropped: int = 0
    clock: float | None = None


class FrameSource(Protocol):
    """Frames to iterate over, once.

    Attributes
    ----------
    live : bool
        Whether frames come at their own time, and the latest one counts.
    incomplete : bool
        Whether frames are known to be lost that should be there.
    announced : int or None
        Frames that are to come; None where nobody knows. A video's own count is a hint only.
    """

    live: bool

    @property
    def incomplete(self) -> bool:
        """See above."""

    @property
    def announced(self) -> int | None:
        """See above."""

    def __iter__(self) -> Iterator[Captured]:
        """Yield frames until the source ends or `close` is called."""

    def finished(self, captured: Captured, /) -> None:
        """Take note that a frame's verdict has left; may be called from any thread."""

    def close(self) -> None:
        """Let go of the device; iteration ends soon after."""
