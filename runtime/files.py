"""Files that are written whole or not at all, and read only if they are files."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


def cache_folder() -> Path:
    """Return the user's folder for what can be made again: engines, compiled kernels.

    It is `zeroline` in XDG_CACHE_HOME, or else in `.cache` of the home folder. A user may have no
    home: then it is a folder that cannot be made.
    """
    try:
        home = Path.home()
    except RuntimeError:
        home = Path("/nonexistent")
    return Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache") / "zeroline"


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file for reading; a link to one is one.

    Raises
    ------
    OSError
        If it is none: a device never ends, and a pipe may never begin.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return os.fdopen(descriptor, "rb")
    os.close(descriptor)
    raise OSError(errno.EINVAL, "not a regular file", str(path))


@contextmanager
def replacing(path: Path, mode: str = "wb", *, sync: bool = True) -> Iterator[IO[Any]]:
    """Open a file beside `path` and give it that name when all is written.

    Where anything fails the temporary file is removed and `path` stays as it was.

    Parameters
    ----------
    path : Path
    mode : {"w", "wb"}
        Text is UTF-8 with the line ends that are written.
    sync : bool
        Wait until the disk has it.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    text = {} if "b" in mode else {"encoding": "utf-8", "newline": ""}
    # short, since the name itself may be as long as the file system allows
    temporary = path.with_name(f".{os.getpid()}-{threading.get_ident()}.part")
    try:
        with temporary.open(mode, **text) as file:  # type: ignore[call-overload]
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
