"""Pictures on disk: how they are called, and how they get there whole."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from zeroline.edge_app.opencv import opencv
from zeroline.runtime.files import replacing
from zeroline.runtime.frames import Frame
from zeroline.runtime.grid import Grid

#: Of the pictures, in the data folder.
FOLDER = "pictures"
#: Folder of the windows, and of what else a station takes up again, in a data folder.
STATE = "state"
#: How the name of each kind ends.
SUFFIXES = {"raw": ".png", "overlay": ".overlay.png", "map": ".map.npy"}
_LONGEST = 150  # bytes; a file system takes 255, and a camera and a suffix come to it
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_NEWEST_DAYS, _LAST = 2, 600.0


def safe_name(text: str) -> str:
    """Return a text as the name of a file or folder; other texts have other names.

    Letters and digits of any script stay, and ``-_ ()``. A dot stays, but in the first place. The
    rest is written as in an address. What is then too long is cut, and gets a hash.

    Examples
    --------
    >>> [safe_name(name) for name in ("part 7", "../x", "a/b", "ä.png", "")]
    ['part 7', '%2E.%2Fx', 'a%2Fb', 'ä.png', '%']
    """
    name = "".join(
        c if c.isalnum() or c in "-_ ()" or (c == "." and at) else _escaped(c)
        for at, c in enumerate(text)
    )
    name = name or "%"
    encoded = name.encode("utf-8")
    if len(encoded) <= _LONGEST:
        return name
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{encoded[: _LONGEST - 17].decode('utf-8', 'ignore')}-{digest}"


def _escaped(character: str) -> str:
    return "%2E" if character == "." else quote(character, safe="", errors="surrogatepass")


def folder_of(part: str, wall: float) -> Path:
    """Return the folder of a part's pictures, in the data folder; days are those of UTC."""
    day = datetime.fromtimestamp(wall, timezone.utc)
    return Path(FOLDER, f"{day:%Y-%m-%d}", safe_name(part))


def png_bytes(picture: Frame) -> bytes:
    """Return a picture, BGR, as PNG."""
    cv2 = opencv("to keep pictures")
    packed: bytes = cv2.imencode(".png", picture)[1].tobytes()
    return packed


def map_bytes(patch_scores: npt.NDArray[np.float32], *, tiles: tuple[int, int]) -> bytes:
    """Return patch scores as ``.npy``: (g, g), or (R, C, g, g) of tiles, float32."""
    side = Grid.of(len(patch_scores), tiles).side
    shape = (side, side) if tiles == (1, 1) else (*tiles, side, side)
    file = io.BytesIO()
    np.save(file, patch_scores.reshape(shape), allow_pickle=False)
    return file.getvalue()


def write_whole(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files into a folder; a power cut leaves each whole, or leaves it out.

    Each is written under a temporary name, synced, and renamed. Then the folder is synced.

    Raises
    ------
    OSError
        If one cannot be written; then none is there.
    """
    above = [place for place in (folder.parent.parent, folder.parent) if not place.is_dir()]
    new = not folder.is_dir()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        for name, content in contents.items():
            with replacing(folder / name) as file:
                file.write(content)
    except OSError:
        for name in contents:
            (folder / name).unlink(missing_ok=True)
        raise
    sync_folder(folder)
    if new:
        sync_folder(folder.parent)
    for place in reversed(above):
        sync_folder(place.parent)


def sync_folder(folder: Path) -> None:
    """Wait until the disk has a folder's names."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove(data: Path, path: str) -> None:
    """Remove a picture, and its folders where nothing else is in them."""
    whole = data / path
    whole.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # another picture is in it
        for folder in whole.parents[:2]:
            folder.rmdir()


def newest_files(data: Path) -> Iterator[Path]:
    """Yield the files that were written last: those of the last `_LAST` seconds before the end.

    What a kill has left half-made is among them. The clock may have been set, so the last day is
    looked for by name and by change. What stays unseen goes with its day, see `remove_days`.
    """
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        days = _days(data)
        named = sorted(days, key=lambda day: day.name)[-_NEWEST_DAYS:]
        changed = sorted(days, key=lambda day: day.stat().st_mtime)[-_NEWEST_DAYS:]
        for day in {*named, *changed}:
            with os.scandir(day) as found:
                times = {place.path: place.stat().st_mtime for place in found if place.is_dir()}
            newest = max(times.values(), default=0.0)
            for folder, changed_at in times.items():
                if changed_at >= newest - _LAST:
                    yield from Path(folder).iterdir()


def _days(data: Path) -> list[Path]:
    """Return the folders of days; others in the folder of pictures are not the store's."""
    places = (data / FOLDER).iterdir()
    return [place for place in places if _DAY.fullmatch(place.name) and place.is_dir()]


def remove_days(data: Path, before: float) -> None:
    """Remove what is left in the folders of days that ended before a time; it belongs to no row."""
    last = datetime.fromtimestamp(before, timezone.utc).strftime("%Y-%m-%d")
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        for day in _days(data):
            if day.name < last:
                shutil.rmtree(day, ignore_errors=True)


def of_kinds(camera: str, kinds: Sequence[str]) -> dict[str, str]:
    """Return the file name of each kind of a camera's pictures."""
    stem = safe_name(camera).replace(".", "%2E")  # "a.overlay" is another camera than "a"
    return {kind: stem + SUFFIXES[kind] for kind in kinds}
