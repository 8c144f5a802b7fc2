"""OpenCV, imported where it is used."""

from __future__ import annotations

from typing import Any

from zeroline.runtime.errors import MissingExtraError


def opencv() -> Any:
    """Import OpenCV, or say how to get it."""
    try:
        import cv2
    except ModuleNotFoundError as error:
        raise MissingExtraError("OpenCV", extra="app", purpose="to find parts") from error
    return cv2
