"""Pictures as sources, of which nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from zeroline.edge_app.captured import Captured
from zeroline.edge_app.errors import ImageError
from zeroline.edge_app.events import Event, EventName, Events
from zeroline.edge_app.images import find_images, read_image
from zeroline.runtime.results import Reason


class PictureSource:
    """A picture, or a folder of pictures, in the order of their names.

    Parameters
    ----------
    path : Path
    events : Events, optional
        Is told of masks that lie among them, which are no parts.
    """

    live = False
    incomplete = False

    def __init__(self, path: Path, *, events: Events | None = None) -> None:
        found = find_images([path])
        self._files = found.files
        if events is not None and found.masks:
            data = {"source": str(path), "masks": len(found.masks), "first": str(found.masks[0])}
            events(Event(EventName.SOURCE_MASKS, f"note: {found.note}", data))
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

    def finished(self, captured: Captured, /) -> None:
        """Nothing is to be done."""

    def close(self) -> None:
        """End the iteration."""
        self._closed = True
