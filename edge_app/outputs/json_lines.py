"""A line's verdicts as JSON lines, for programs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import IO

from zeroline.edge_app.errors import OutputError, ReaderGoneError
from zeroline.edge_app.messages import Message
from zeroline.edge_app.outputs.output import completed
from zeroline.edge_app.outputs.pictures import Pictures


class JsonLines:
    """Writes a line for each message; each is there at once. docs/outputs.md has every field.

    Parameters
    ----------
    file : text file
        Left open at the end.
    uncertain : {"reject", "third", "stop"}
        The action of an UNCERTAIN part.
    pictures : Pictures, optional
        Names the pictures of a part.
    """

    def __init__(
        self, file: IO[str], *, uncertain: str = "reject", pictures: Pictures | None = None
    ) -> None:
        self._file, self._uncertain, self._pictures = file, uncertain, pictures

    def take(self, message: Message, /) -> None:
        """Write the line of a message."""
        body = message.body
        if message.part is not None:
            view = message.part.decisive
            names = self._pictures and view and self._pictures.names(view)
            body = {
                **body, "overlay": names and names.overlay, "kept": names and names.kept,
            }  # fmt: skip
        line = completed(body, uncertain=self._uncertain, unstored=message.unstored)
        self._put(json.dumps(line, allow_nan=False) + "\n")

    def safe(self, why: str, /) -> None:
        """Write nothing: an event tells it."""

    def close(self) -> None:
        """Leave the file to its owner."""
        self._put("")

    def _put(self, text: str) -> None:
        try:
            self._file.write(text)
            self._file.flush()
        except BrokenPipeError as error:
            raise ReaderGoneError from error


def open_to_append(path: Path) -> IO[str]:
    """Open a file of lines to append to; a last line that is half gets its end.

    A full disk or a kill leaves half a line. The next run's first line would be glued to it, and
    both would be lost to a reader.

    Raises
    ------
    OutputError
        If it cannot be opened.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        half = False
        if path.is_file() and path.stat().st_size:
            with path.open("rb") as before:
                before.seek(-1, os.SEEK_END)
                half = before.read() != b"\n"
        file = path.open("a", encoding="utf-8")
    except OSError as error:
        raise OutputError(f'"{path}" cannot be written: {error.strerror or error}') from error
    if half:
        file.write("\n")
    return file
