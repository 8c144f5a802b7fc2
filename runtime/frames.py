"""Frames: when they were taken, and their pixels as the pipeline takes them, uint8 BGR.

The rule reads the type, never the content: the same kind of file is treated alike whether the
part in it is bright or dark.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from zeroline.runtime.errors import FrameError

Frame = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class CaptureTime:
    """When a frame was taken.

    Attributes
    ----------
    wall : float
        Seconds since 1970.
    monotonic : float
        Seconds of a clock that never jumps.

    Examples
    --------
    >>> CaptureTime.now().monotonic <= CaptureTime.now().monotonic
    True
    """

    wall: float
    monotonic: float

    @classmethod
    def now(cls) -> CaptureTime:
        """Return this moment."""
        return cls(time.time(), time.monotonic())


@dataclass
class Clock:
    """Adds up the seconds of each stage.

    Attributes
    ----------
    seconds : dict
        By the stage's name.
    """

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the time inside for a stage."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began


def to_bgr8(pixels: npt.NDArray[Any], /, *, white_level: int | None = None) -> Frame:
    """Convert an image array to uint8 BGR.

    Grey is repeated in all three channels; a fourth channel (alpha) is dropped; deeper values
    are scaled so that `white_level` becomes 255, rounded, and what lies over it is 255 too.

    Parameters
    ----------
    pixels : array, shape (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8 or uint16
        Grey, BGR or BGRA.
    white_level : int, optional
        The value that stands for white: 255 for uint8 and 65535 for uint16 when not given. A
        12-bit camera that stores its values unshifted in 16 bits needs 4095.

    Returns
    -------
    array, shape (H, W, 3), uint8
        BGR; `pixels` itself where nothing had to change.

    Raises
    ------
    FrameError
        For another shape or dtype, an empty image, or a white level out of the dtype's range.

    Examples
    --------
    >>> import numpy as np
    >>> to_bgr8(np.array([[0, 4095]], np.uint16), white_level=4095).tolist()
    [[[0, 0, 0], [255, 255, 255]]]
    """
    if pixels.dtype not in (np.uint8, np.uint16):
        raise FrameError(f"frame has dtype {pixels.dtype}, uint8 or uint16 is expected")
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (1, 3, 4)):
        raise FrameError(f"frame has shape {pixels.shape}, (H, W) or (H, W, 1, 3 or 4) is expected")
    if pixels.size == 0:
        raise FrameError(f"frame has shape {pixels.shape}: it holds no pixel")
    largest = int(np.iinfo(pixels.dtype).max)
    white = largest if white_level is None else white_level
    if not 1 <= white <= largest:
        raise FrameError(f"white_level is {white}, 1 to {largest} is expected for {pixels.dtype}")
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        pixels = pixels[:, :, :3]
    if white != 255 or pixels.dtype != np.uint8:
        scaled = (pixels.astype(np.uint32) * 255 + white // 2) // white
        pixels = np.minimum(scaled, 255).astype(np.uint8)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    return pixels
