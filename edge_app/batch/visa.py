"""The table of VisA that tells which images are for the test, however it was saved."""

from __future__ import annotations

import codecs
import csv
from pathlib import Path, PurePosixPath

from zeroline.edge_app.errors import InputError

_COLUMNS = ("object", "split", "image")
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"),
          (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip


def read_split(path: Path, name: str) -> set[str] | None:
    """Return the images of an object's test split.

    Byte-order marks, backslashes, and semicolons or tabs as spreadsheets write them, are read too.

    Parameters
    ----------
    path : Path
        The table.
    name : str
        Of the object.

    Returns
    -------
    set of str, or None
        Paths with /, as the table has them; None without a table.

    Raises
    ------
    InputError
        If it is no such table, or has no row of the object's test split.
    """
    if not path.is_file():
        return None
    try:
        content = path.read_bytes()
        encoding = next((kind for mark, kind in _MARKS if content.startswith(mark)), "utf-8")
        lines = content.decode(encoding).splitlines()
        first = lines[0] if lines else ""
        separator = max(",;\t", key=first.count)
        rows = list(csv.DictReader(lines, delimiter=separator))
        columns = {(column or "").strip().lower(): column for column in rows[0]} if rows else {}
        object_, split, image = (columns[column] for column in _COLUMNS)
        tested = [row for row in rows if (row[split] or "").strip().lower() == "test"]
        wanted = {
            PurePosixPath(row[image].strip().replace("\\", "/")).as_posix()
            for row in tested
            if (row[object_] or "").strip() == name and row[image]
        }
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise InputError(
            f'"{path}" cannot be read: {error}; a CSV with the columns '
            "object, split and image is expected"
        ) from error
    if not wanted:
        objects = sorted({(row[object_] or "").strip() for row in tested})
        raise InputError(
            f'"{path}" has no image of "{name}" in its test split, only of '
            f"{', '.join(objects) or 'nothing'}: the folder must have the object's name"
        )
    return wanted
