"""The data folder: whether it takes what a station writes, how fast, and for how long."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from zeroline.edge_app.configuration.models import Station
from zeroline.edge_app.configuration.storage import Storage
from zeroline.edge_app.doctor.findings import Finding, fail, ok, warning
from zeroline.edge_app.store.reading import Records
from zeroline.edge_app.store.reserve import SIZE, free_bytes
from zeroline.edge_app.store.schema import FILE

_SYNCS, _WRITTEN = 9, 16 << 20
_GB, _MB, _DAY = 1e9, 1e6, 86_400.0
#: Days of records from which the present rate is taken.
_LOOK_BACK = 7.0


def folder_findings(station: Station, *, runs: bool = False) -> list[Finding]:
    """Write into the data folder; what is written is removed.

    Parameters
    ----------
    station : Station
    runs : bool
        Whether the station runs: then it is not disturbed by a long write.
    """
    folder = _nearest(station.data)
    made = "" if folder == station.data else ", will be made"
    text = f'"{station.data}"{made}'
    try:
        free = free_bytes(folder)
    except OSError as error:
        cure = "see whether its disk is mounted and well"
        return [fail("data", f"{text}: {error.strerror}", cure)]
    found = [_space(free, station.storage)]
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=".doctor-") as file:
            sync = statistics.median(_timed(file.fileno(), 4096) for _ in range(_SYNCS))
            rate = 0.0
            if not runs and free > 4 * _WRITTEN:
                rate = _WRITTEN / _timed(file.fileno(), _WRITTEN)
    except OSError as error:
        cure = (
            "make room on the disk" if error.errno in (28, 122)
            else f'let this user write it: chown, or ReadWritePaths= in a service ("{folder}")'
        )  # fmt: skip
        return [fail("data", f"{text} cannot be written: {error.strerror}", cure), *found]
    found.insert(0, ok("data", f"{text} can be written"))
    if rate:
        found.append(ok("data.speed", f"{rate / _MB:.0f} MB/s"))
    return [*found, _sync(1000 * sync, station.store_wait_ms)]


def _nearest(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that is there."""
    while not folder.exists() and folder.parent != folder:
        folder = folder.parent
    return folder


def _timed(file: int, size: int) -> float:
    """Return the seconds until the disk has so many bytes."""
    block = os.urandom(min(size, 1 << 20))
    began = time.perf_counter()
    for _ in range(size // len(block)):
        os.write(file, block)
    os.fsync(file)
    return time.perf_counter() - began


def _space(free: int, storage: Storage) -> Finding:
    text = f"{free / _GB:.1f} GB free" if free > _GB else f"{free / _MB:.1f} MB free"
    if free < 2 * SIZE:
        return fail("data.space", f"{text}: rows of parts will not fit", "make room on the disk")
    if free < storage.keep_free_gb * _GB:
        text = f"{text}, storage.keep_free_gb is {storage.keep_free_gb:g}: few pictures are kept"
        cure = "make room on the disk, or a smaller storage.keep_free_gb"
        return warning("data.space", text, cure)
    return ok("data.space", f"{text}, {storage.keep_free_gb:g} GB of it stay free")


def _sync(milliseconds: float, wait: float) -> Finding:
    text = f"{milliseconds:.1f} ms until the disk has a row (median of {_SYNCS})"
    if milliseconds <= wait:
        return ok("data.sync", text)
    text = f"{text}: verdicts wait {wait:g} ms (store_wait_ms), then leave with the flag unstored"
    return warning("data.sync", text, "take a faster disk, or a larger store_wait_ms")


@dataclass(frozen=True)
class Rates:
    """What a station has written of late.

    Attributes
    ----------
    parts, rows, pictures : float
        Parts, bytes of rows, and bytes of pictures a day.
    busiest : float
        Parts a second in the busiest minute of the last day.
    kept : int
        Bytes of all pictures that are there.
    """

    parts: float
    rows: float
    pictures: float
    busiest: float
    kept: int


def rates_of(data: Path, *, now: Callable[[], float] = time.time) -> Rates | None:
    """Return what a station has written of late; None where there is too little to tell.

    Raises
    ------
    InputError
        If its store cannot be read.
    """
    if not (data / FILE).is_file():
        return None
    since = now() - _LOOK_BACK * _DAY
    with Records(data) as records:
        ask = records.connection.execute
        count, first = ask(
            "SELECT count(*), min(wall) FROM part WHERE wall > ?", (since,)
        ).fetchone()
        whole = ask("SELECT count(*) FROM part").fetchone()[0]
        if not count:
            return None
        days = max((now() - first) / _DAY, 1 / 24)
        pictures = ask("SELECT coalesce(sum(bytes), 0) FROM picture WHERE wall > ?", (since,))
        kept = ask("SELECT coalesce(sum(bytes), 0) FROM picture").fetchone()[0]
        busiest = ask(
            "SELECT max(n) FROM (SELECT count(*) AS n FROM part WHERE wall > ? "
            "GROUP BY CAST(wall / 60 AS INT))",
            (now() - _DAY,),
        ).fetchone()[0]
        return Rates(
            parts=count / days,
            rows=count / days * (data / FILE).stat().st_size / whole,
            pictures=pictures.fetchone()[0] / days,
            busiest=(busiest or 0) / 60,
            kept=kept,
        )


def filling_findings(station: Station, rates: Rates | None) -> list[Finding]:
    """Tell for how many days the disk lasts at the present rate."""
    if rates is None:
        return [ok("data.days", "no parts of the last days: unknown when the disk will be full")]
    storage = station.storage
    room = free_bytes(_nearest(station.data)) - storage.keep_free_gb * _GB
    wanted = rates.pictures * storage.keep_days
    if storage.keep_gb is not None:
        wanted = min(wanted, storage.keep_gb * _GB)
    text = (
        f"{rates.parts:.0f} parts a day: {rates.rows / _MB:.1f} MB of rows and "
        f"{rates.pictures / _MB:.1f} MB of pictures"
    )
    if wanted - rates.kept > room:
        days = max(room + rates.kept, 0) / max(rates.pictures, 1)
        text = f"{text}. There is room for the pictures of {days:.0f} days, not of "
        cure = "a larger disk, a smaller storage.keep_days or ok_sample"
        return [warning("data.days", f"{text}{storage.keep_days}", cure)]
    days = (room - max(wanted - rates.kept, 0)) / max(rates.rows, 1)
    if days < storage.keep_days:
        cure = "a larger disk, or move the data folder away in time (rows are never deleted)"
        return [warning("data.days", f"{text}. Rows fill the disk in {days:.0f} days", cure)]
    return [ok("data.days", f"{text}. The disk lasts for {_long(days)}")]


def _long(days: float) -> str:
    return f"{days:.0f} days" if days < 3650 else "more than ten years"
