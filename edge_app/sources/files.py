"""Pictures as sources, of which nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from zeroline.edge_app.captured import Captured
from zeroline.edge_app.errors import ImageError
from zeroline.edge_app.images import find_images, read_image
from zeroline.runtime.results import Reason


class PictureSource:
    """A picture, or a folder of pictures, in the order of their names.

    Attributes
    ----------
    note : str
        See `FoundImages`.
    """

    live = False
    incomplete = False

    def __init__(self, path: Path) -> None:
        found = find_images([path])
        self._files, self.note = found.files, found.note
        self.announced: int | None = len(found.files)
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
