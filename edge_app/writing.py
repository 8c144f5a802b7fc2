"""Writing results so that a full disk or a power cut never leaves half a file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from zeroline.edge_app.errors import InputError, OutputError
from zeroline.edge_app.opencv import opencv
from zeroline.runtime.files import replacing

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def exists_already(path: Path) -> OutputError:
    """Return the refusal to overwrite a file."""
    return OutputError(f'"{path}" exists already, and is not overwritten')


def check_new(folder: Path, *, what: str = "folder") -> None:
    """Refuse a folder that has something in it.

    Raises
    ------
    InputError
        Calls it as `what` says.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f'{what} "{folder}" is not empty: an empty or a new one is expected')


def prepare_folder(folder: Path) -> None:
    """Make an output folder and check that files can be written there.

    Raises
    ------
    OutputError
        If it cannot be made or written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f'output folder "{folder}" cannot be written: {error.strerror}'
        ) from error


@contextmanager
def whole_file(path: Path, mode: str = "w", *, sync: bool = True) -> Iterator[IO[Any]]:
    """Open a file beside `path` and give it that name when all is written.

    Where anything fails the temporary file is removed and `path` stays as it was.

    Parameters
    ----------
    path : Path
    mode : {"w", "wb"}
        Text is UTF-8 with the line ends that are written.
    sync : bool
        Wait until the disk has it; not worth its time for pictures.

    Raises
    ------
    OutputError
        Names the file and the reason, for example a full disk.
    """
    try:
        with replacing(path, mode, sync=sync) as file:
            yield file
    except OSError as error:
        raise OutputError(f'"{path}" could not be written: {error.strerror or error}') from error


def write_png(path: Path, picture: npt.NDArray[np.uint8]) -> None:
    """Write a picture, (H, W, 3) BGR or (H, W), whole or not at all."""
    cv2 = opencv("to write pictures")
    with whole_file(path, "wb", sync=False) as file:
        file.write(cv2.imencode(".png", picture)[1].tobytes())


def remove_files(folder: Path, names: Iterable[str]) -> None:
    """Remove those of the named files that are there."""
    try:
        for name in names:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f'"{folder}" could not be written: {error.strerror}') from error
