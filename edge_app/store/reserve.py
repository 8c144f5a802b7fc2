"""Room that is kept so that rows still go in when pictures no longer fit."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

#: Bytes. Rows of about 5,000 parts (tried), the WAL included.
SIZE = 10_000_000
#: A disk with less is as good as full.
_LITTLE = 1_000_000
_FILE = "reserve"


def free_bytes(folder: Path) -> int:
    """Return the bytes that are free on a folder's disk."""
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


class Reserve:
    """A file that takes room, and gives it up when a row does not fit.

    Parameters
    ----------
    folder : Path
        The data folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._path = folder, folder / _FILE

    @property
    def there(self) -> bool:
        """Whether there is one."""
        try:
            return self._path.stat().st_size >= SIZE
        except OSError:
            return False

    def is_needed(self, error: str) -> bool:
        """Tell whether an error of the database means that the disk is full.

        SQLite calls it an I/O error where its shared memory does not fit.
        """
        if "full" in error:
            return True
        return "I/O" in error and free_bytes(self._folder) < _LITTLE

    def make(self) -> bool:
        """Make it where there is room for twice its size; return whether it is there."""
        if self.there:
            return True
        if free_bytes(self._folder) < 2 * SIZE:
            return False
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                os.posix_fallocate(file, 0, SIZE)
            finally:
                os.close(file)
        except OSError:  # another program was faster
            self.give_up()
            return False
        return True

    def give_up(self) -> bool:
        """Give its room to others; return whether there was any."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()
            return True
        return False
