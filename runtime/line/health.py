"""Whether the device that a line runs on still works, and what a person is told when it fails."""

from __future__ import annotations

from typing import Any

import numpy as np

from zeroline.runtime.cuda import cupy_errors, lost_device
from zeroline.runtime.errors import DeviceError

#: How to go on with a device that is lost: nothing in this process can bring it back.
_ADVICE = "this process can use it no more: start zeroline again"


class DeviceHealth:
    """What is known of a line's device.

    Parameters
    ----------
    xp : module
        That of the network's outputs: NumPy, or CuPy on CUDA.

    Attributes
    ----------
    lost : str
        Why the process can use the device no more, and what to do; empty while it can.
    news : str
        What a person has not been told yet; see `take_news`.
    """

    def __init__(self, xp: Any) -> None:
        self._xp = xp
        self._failing = False
        self.lost = self.news = ""

    def failed(self, error: Exception, *, lost: bool = False) -> str:
        """Take note of an error of CuPy's, and return it in words; `lost`: whether that is known.

        It is news with the first frame of a row, and where the device is lost.
        """
        try:
            with cupy_errors():
                raise error
        except DeviceError as told:
            text = str(told)
        if lost or lost_device(self._xp):
            text = self.lost = f"{text}; {_ADVICE}"
        if self.lost or not self._failing:
            self.news = text
        self._failing = True
        return text

    def look(self) -> bool:
        """Tell whether the device is lost, after the network has failed on it."""
        if self._xp is not np and not self.lost:
            reason = lost_device(self._xp)
            if reason:
                self.lost = self.news = f"{reason}; {_ADVICE}"
        return bool(self.lost)

    def works(self) -> None:
        """Take note that a frame was scored."""
        self._failing = False

    def take_news(self) -> str:
        """Return what is to be told now, once; empty else."""
        told, self.news = self.news, ""
        return told
