"""A data folder in one file, and a data folder from it."""

from __future__ import annotations

import shutil
import sqlite3
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import IO

from zeroline.edge_app.errors import InputError, OutputError
from zeroline.edge_app.store.files import FOLDER, STATE
from zeroline.edge_app.store.reading import Records
from zeroline.edge_app.store.schema import FILE, open_to_write
from zeroline.edge_app.writing import check_new, whole_file


def write_backup(records: Records, path: Path) -> tuple[int, int]:
    """Write the database, as it is at one moment, its pictures and the state into a tar file.

    A station may run meanwhile. Recipes that ever ran are in the database. What is written while
    the pictures are copied is not in it. The state is the one on disk: windows are ten minutes old
    at most.

    Returns
    -------
    int
        Pictures.
    int
        Pictures that were gone: the station has removed them meanwhile.

    Raises
    ------
    OutputError
        If it cannot be written; then there is none.
    """
    with whole_file(path, "wb") as file, tempfile.TemporaryDirectory(dir=path.parent) as folder:
        copy = Path(folder, FILE)
        with_copy = sqlite3.connect(copy)
        try:
            records.connection.backup(with_copy)
            # no WAL beside it
            with_copy.execute("PRAGMA journal_mode = DELETE")
            paths = [row[0] for row in with_copy.execute("SELECT path FROM picture ORDER BY path")]
        finally:
            with_copy.close()
        with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
            archive.add(copy, FILE)
            for kept in sorted((records.data / STATE).rglob("*")):
                # each is whole: it got its name when all was written
                if kept.is_file() and not kept.name.startswith("."):
                    _added(archive, records.data, kept.relative_to(records.data).as_posix())
            count = sum(_added(archive, records.data, name) for name in paths)
    return count, len(paths) - count


def _added(archive: tarfile.TarFile, data: Path, name: str) -> bool:
    """Add a file; return whether it was still there."""
    try:
        archive.add(data / name, name, recursive=False)
    except FileNotFoundError:
        return False
    return True


def restore(path: Path, data: Path) -> int:
    """Make a data folder from a backup; return the number of its pictures.

    It is there whole or not at all. An older store is led on.

    Parameters
    ----------
    path : Path
    data : Path
        Not there yet, or an empty folder.

    Raises
    ------
    InputError
        If the folder is not empty, or the file is no backup or is damaged.
    OutputError
        If the folder cannot be written.
    """
    check_new(data, what="data folder")
    try:
        data.parent.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".restoring-", dir=data.parent))
    except OSError as error:
        raise OutputError(f'data folder "{data}" cannot be made: {error.strerror}') from error
    try:
        made.chmod(0o755)
        count = _unpacked(path, made)
        _check(path, made)
        made.replace(data)
    except (OSError, sqlite3.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise OutputError(f'data folder "{data}" cannot be written: {reason}') from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
    return count


def _unpacked(path: Path, made: Path) -> int:
    """Write the files of a backup, and only such as a backup has; return the pictures' number."""
    count = 0
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file) as archive:
            for member in archive:
                name = PurePosixPath(member.name)
                top, below = name.parts[:1], len(name.parts) - 1
                known = (
                    name.parts == (FILE,)
                    or (top == (FOLDER,) and below == 3)
                    or (top == (STATE,) and below in (1, 2))
                )
                opened = archive.extractfile(member) if member.isreg() else None
                if not known or ".." in name.parts or opened is None:
                    raise InputError(f'"{path}" is no backup of zeroline: it holds "{member.name}"')
                _write(opened, made / name)
                count += top == (FOLDER,)
    except (tarfile.TarError, EOFError) as error:
        raise InputError(f'backup "{path}" is damaged, or no tar file: {error}') from error
    except OSError as error:
        if error.filename == str(path):
            raise InputError(f'backup "{path}" cannot be read: {error.strerror}') from error
        raise
    return count


def _write(opened: IO[bytes], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as file:
        shutil.copyfileobj(opened, file)


def _check(path: Path, made: Path) -> None:
    """Refuse a backup whose database is not whole, or newer than this program."""
    if not (made / FILE).is_file():
        raise InputError(f'"{path}" is no backup of zeroline: it holds no "{FILE}"')
    try:
        connection, _ = open_to_write(made / FILE)
    except InputError as error:
        raise InputError(f'backup "{path}": {str(error).replace(str(made), str(path))}') from error
    try:
        (said,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.DatabaseError as error:
        said = str(error)
    finally:
        connection.close()  # no WAL stays
    if said != "ok":
        raise InputError(f'backup "{path}" is damaged: {said}')
