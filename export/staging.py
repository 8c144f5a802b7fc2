"""Where a bundle is made before it gets its name: beside its place, and gone whatever happens.

A process that is killed cannot tidy up. So each such folder holds a lock, which the system lets go
of with the process, and the next export in the same place removes what no process holds.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from zeroline.runtime.errors import BundleError

_PREFIX, _LOCK = ".zeroline-export-", "lock"
#: Space beside what is written: a manifest, and what the file system itself takes.
_SPARE = 16 << 20  # bytes


def free_output(output: Path) -> None:
    """Refuse an output folder that is taken.

    Raises
    ------
    BundleError
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise BundleError(f'output "{output}" exists and is not an empty folder')


@contextmanager
def staged(output: Path, *, size: int) -> Iterator[Path]:
    """Give a folder beside a bundle's future one; it goes away whatever happens.

    Parameters
    ----------
    output : Path
        The bundle's folder; must not exist yet, or be empty.
    size : int
        Bytes that will be written at most.

    Raises
    ------
    BundleError
        If the output is taken, nothing can be written there, or the disk has no room.
    """
    free_output(output)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        _sweep(output.parent)
        _check_room(output, size)
        with (
            tempfile.TemporaryDirectory(dir=output.parent, prefix=_PREFIX) as folder,
            (Path(folder) / _LOCK).open("wb") as lock,
        ):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield Path(folder)
    except OSError as error:
        raise BundleError(
            f'bundle "{output}" cannot be written: {error.strerror or error}'
        ) from error


def _check_room(output: Path, size: int) -> None:
    free = shutil.disk_usage(output.parent).free
    if free < size + _SPARE:
        raise BundleError(
            f'bundle "{output}" needs {size / 1e9:.2f} GB while it is made, "{output.parent}" has '
            f"{free / 1e9:.2f} GB free"
        )


def _sweep(parent: Path) -> None:
    """Remove what killed exports left behind; what another one holds stays."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError), (folder / _LOCK).open("rb") as lock:
            if _taken(lock):
                shutil.rmtree(folder)


def _taken(lock: BinaryIO) -> bool:
    """Take a lock, if no process holds it."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
