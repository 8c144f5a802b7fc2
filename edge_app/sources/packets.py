"""Streams of whole pictures (MJPEG): each is taken as it was sent, and decoded by Pillow.

FFmpeg makes a picture of half a JPEG, with grey for the rest, and says nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from zeroline.edge_app.decoding.pictures import decode_bytes
from zeroline.runtime.frames import Frame

_PICTURE_CODES = frozenset({"MJPG", "MPNG", "JPEG"})


def codec_of(cv2: Any, capture: Any) -> str:
    """Return the four characters that name a stream's codec."""
    code = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
    return code.to_bytes(4, "little").decode("latin-1").strip("\0 ")


def take_packets(cv2: Any, capture: Any) -> bool:
    """Let a capture give pictures as they were sent; False where its frames are no pictures.

    Parameters
    ----------
    cv2 : module
    capture : cv2.VideoCapture
        Open; nothing was read from it yet.
    """
    if codec_of(cv2, capture) not in _PICTURE_CODES:
        return False
    kind = capture.getBackendName()
    if kind == "FFMPEG":
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)  # it would turn the bytes
        return bool(capture.set(cv2.CAP_PROP_FORMAT, -1))
    return kind == "V4L2" and bool(capture.set(cv2.CAP_PROP_CONVERT_RGB, 0))


def frame_of(taken: npt.NDArray[np.uint8], *, packets: bool) -> Frame:
    """Return what a capture gave as a frame.

    Raises
    ------
    ImageError
        If the picture that was sent is cut or damaged.
    """
    return decode_bytes(taken.tobytes()) if packets else taken
