"""One station for a data folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path

from zeroline.edge_app.errors import InputError, OutputError

_FILE = "lock"


class FolderLock:
    """Holds a data folder for this process; a process that ends, however, lets go of it.

    Parameters
    ----------
    folder : Path
        The lock is its file `lock`, which has the number of the process.

    Raises
    ------
    InputError
        If another process holds it; names the folder and the process.
    OutputError
        If the file cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._file = os.open(folder / _FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise OutputError(
                f'data folder "{folder}" cannot be written: {error.strerror}'
            ) from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(self._file, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(self._file)
            raise InputError(
                f'data folder "{folder}" is in use by another station, process {holder}'
            ) from None
        except OSError as error:
            os.close(self._file)
            raise OutputError(
                f'data folder "{folder}" cannot be locked: {error.strerror}'
            ) from error
        with contextlib.suppress(OSError):  # a full disk: the lock holds without the number
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let go of the folder."""
        os.close(self._file)
