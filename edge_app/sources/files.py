"""Files as sources: pictures and videos, of which nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from zeroline.edge_app.captured import Captured
from zeroline.edge_app.errors import ImageError, InputError
from zeroline.edge_app.images import find_images, read_image
from zeroline.edge_app.opencv import opencv
from zeroline.runtime.results import Reason


class PictureSource:
    """A picture, or a folder of pictures, in the order of their names.

    Attributes
    ----------
    note : str
        See `FoundImages`.
    """

    live = False

    def __init__(self, path: Path) -> None:
        found = find_images([path])
        self._files, self.note = found.files, found.note
        self._closed = False

    def __iter__(self) -> Iterator[Captured]:
        for file in self._files:
            if self._closed:
                return
            try:
                yield Captured(read_image(file.path), file.name, file.name)
            except ImageError as error:
                yield Captured(
                    None,
                    file.name,
                    file.name,
                    fault=str(error),
                    reason=Reason.DAMAGED_FRAME,
                )

    def close(self) -> None:
        """End the iteration."""
        self._closed = True


class VideoSource:
    """A video file, every frame of it."""

    live = False

    def __init__(self, path: Path) -> None:
        cv2 = opencv("to read videos")
        self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise InputError(f'source "{path}" cannot be opened as a video')
        self._closed = False

    def __iter__(self) -> Iterator[Captured]:
        number = 0
        try:
            while not self._closed:
                there, frame = self._capture.read()
                if not there:
                    return
                yield Captured(frame, str(number))
                number += 1
        finally:
            self._capture.release()

    def close(self) -> None:
        """End the iteration."""
        self._closed = True
