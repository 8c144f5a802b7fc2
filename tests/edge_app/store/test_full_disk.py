"""A disk that is full: pictures stop, rows go in, and all comes back."""

import os
import subprocess
import time
from contextlib import contextmanager, suppress

import numpy as np
import pytest

from support.stored_parts import part_message
from zeroline.edge_app.configuration.storage import Storage
from zeroline.edge_app.events import Event
from zeroline.edge_app.store.reading import Records, Wanted
from zeroline.edge_app.store.reserve import SIZE, free_bytes
from zeroline.edge_app.store.store import Store
from zeroline.runtime.results import Verdict


@contextmanager
def small_disk(folder, megabytes):
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip(f"a file system cannot be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


class Line:
    """Writes parts with pictures that do not compress."""

    def __init__(self, store):
        self.store, self.tickets, self._rng = store, [], np.random.default_rng(0)

    def parts(self, count, *, size=480):
        for _ in range(count):
            number = len(self.tickets) + 1
            frame = self._rng.integers(0, 255, (size, size, 3)).astype(np.uint8)
            message = part_message(number, verdict=Verdict.NG, frame=frame)
            self.tickets.append(self.store.write(message))
            self.settle()

    def settle(self):
        until = time.monotonic() + 5
        while self.store.state()["pictures"]["waiting"] and time.monotonic() < until:
            time.sleep(0.005)


def fill(path, *, leave=0):
    """Another program's file: it takes all of the disk but some bytes."""
    left = free_bytes(path.parent) - leave
    with suppress(OSError), path.open("wb", buffering=0) as file:
        while left > 0:
            left -= file.write(bytes(min(left, 65_536)))


def told(heard):
    return [(event.name.value, event.data["what"]) for event in heard]


def test_a_full_disk_stops_pictures_and_never_rows(tmp_path):
    heard = list[Event]()
    with small_disk(tmp_path / "disk", 80) as disk:
        data, other = disk / "data", disk / "other"
        storage = Storage(keep_free_gb=0)
        with Store(data, storage, station="s", events=heard.append) as store:
            line = Line(store)
            line.parts(5)
            assert (data / "reserve").stat().st_size == SIZE
            assert store.state()["pictures"]["written"] == 5
            fill(other)
            line.parts(30)
            assert all(ticket.wait(5) for ticket in line.tickets)  # by the reserve's room
            state = store.state()
            assert state["pictures"]["written"] == 5
            assert state["pictures"]["dropped"] == 30
            assert state["full"]
            assert not (data / "reserve").exists()
            assert told(heard) == [("storage.full", "pictures")]

            fill(disk / "more")  # the reserve's room is gone too: rows wait
            line.parts(60, size=16)
            assert not line.tickets[-1].wait(0.5)
            assert store.state()["waiting"] > 0
            assert told(heard)[1:] == [("storage.full", "rows")]

            other.unlink()
            assert all(ticket.wait(5) for ticket in line.tickets)
            assert told(heard)[2:] == [("storage.back", "rows")]
            line.parts(5)
            assert told(heard)[3:] == [("storage.back", "pictures")]
            assert store.state()["pictures"]["written"] == 10
            assert line.tickets[-1].wait(5)
            assert (data / "reserve").stat().st_size == SIZE
            assert not store.state()["full"]
        with Records(data) as records:
            numbers = [p["number"] for p in records.parts(Wanted(), newest_first=False)]
            paths = [row[0] for row in records.connection.execute("SELECT path FROM picture")]
        assert numbers == list(range(1, len(line.tickets) + 1))
        assert len(paths) == 30
        assert all((data / path).is_file() for path in paths)
        assert not list(data.rglob("*.part"))
    assert len(heard) == 4


def test_a_station_starts_on_a_full_disk(tmp_path):
    with small_disk(tmp_path / "disk", 60) as disk:
        with Store(disk / "data", Storage(keep_free_gb=0), station="s", events=print) as store:
            Line(store).parts(2)
        fill(disk / "other")
        assert free_bytes(disk) == 0
        with Store(disk / "data", Storage(keep_free_gb=0), station="s", events=print) as store:
            assert store.write(part_message(3, "c")).wait(5)


def test_pictures_make_room_for_pictures(tmp_path):
    """A disk that the station's own pictures fill: the oldest go, and the line of them goes on."""
    heard = list[Event]()
    with small_disk(tmp_path / "disk", 60) as disk:
        storage = Storage(keep_free_gb=0.03)
        with Store(disk / "data", storage, station="s", events=heard.append) as store:
            line = Line(store)
            line.parts(40)
            assert store.state()["pictures"]["written"] == 40
            assert free_bytes(disk) > 0.0299e9
            assert line.tickets[-1].wait(5)
        with Records(disk / "data") as records:
            parts = {p for (p,) in records.connection.execute("SELECT part FROM picture")}
        assert 5 < len(parts) < 40
        assert f"top-20261201-{40:06d}" in parts
        assert f"top-20261201-{1:06d}" not in parts
    assert heard == []


def test_another_program_does_not_cost_the_pictures(tmp_path):
    """It takes the free space: no more pictures come, those that are there stay."""
    heard = list[Event]()
    with small_disk(tmp_path / "disk", 100) as disk:
        data = disk / "data"
        storage = Storage(keep_free_gb=0.03)
        with Store(data, storage, station="s", events=heard.append) as store:
            line = Line(store)
            line.parts(10)
            before = sorted(path for path in (data / "pictures").rglob("*.png"))
            assert len(before) == 20
            fill(disk / "other", leave=25_000_000)
            line.parts(5)
            assert store.state()["pictures"]["dropped"] == 5
            after = sorted(path for path in (data / "pictures").rglob("*.png"))
            assert after == before
            assert told(heard) == [("storage.low", "pictures")]
            os.unlink(disk / "other")  # noqa: PTH108 - as others do
            line.parts(3)
            assert store.state()["pictures"]["written"] == 13
            assert told(heard)[1:] == [("storage.back", "pictures")]
