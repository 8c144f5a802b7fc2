"""OpenCV, imported where it is used."""

from __future__ import annotations

import os
from typing import Any

from zeroline.runtime.errors import MissingExtraError


def opencv(purpose: str) -> Any:
    """Import OpenCV, or say how to get it; its own log lines are silenced, errors are ours.

    Parameters
    ----------
    purpose : str
        What it is needed for, to end the sentence "… is needed".
    """
    # FFmpeg writes to stderr on its own; -8 is its level for nothing at all
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    try:
        import cv2
    except ModuleNotFoundError as error:
        raise MissingExtraError("OpenCV", extra="app", purpose=purpose) from error
    # the setting has moved between OpenCV 4 and 5
    places: list[Any] = [cv2, getattr(getattr(cv2, "utils", None), "logging", None)]
    for place in places:
        if hasattr(place, "setLogLevel"):
            place.setLogLevel(0)
    return cv2
