"""Pictures: which are kept, whole or not at all, and which go."""

import os
import sqlite3
import threading
import time
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np

from support.stored_parts import message_of, part_message, view
from zeroline.edge_app.configuration.storage import Storage
from zeroline.edge_app.events import Event
from zeroline.edge_app.store import pictures as keeping
from zeroline.edge_app.store.files import safe_name, write_whole
from zeroline.edge_app.store.pictures import is_sampled
from zeroline.edge_app.store.reading import Records
from zeroline.edge_app.store.store import Store
from zeroline.runtime.results import Verdict

ORDER = (Verdict.OK, Verdict.UNCERTAIN, Verdict.NG)


def opened(folder, heard=print, **storage):
    chosen = Storage(**{"keep_free_gb": 0, "ok_sample": 0, **storage})
    return Store(folder, chosen, station="s", events=heard)


def settle(store):
    """Wait until all pictures and rows are on the disk."""
    until = time.monotonic() + 20
    while time.monotonic() < until:
        state = store.state()
        if not state["pictures"]["waiting"] and not state["waiting"]:
            return
        time.sleep(0.01)
    raise AssertionError(store.state())


def kept(folder):
    """Files on the disk, which must be those of the table, each as large as its row says."""
    with Records(folder) as records:
        rows = dict(records.connection.execute("SELECT path, bytes FROM picture").fetchall())
    files = (path for path in (folder / "pictures").rglob("*") if path.is_file())
    assert {str(path.relative_to(folder)): path.stat().st_size for path in files} == rows
    return sorted(rows)


def test_parts_that_are_not_ok_have_their_pictures(tmp_path, paint):
    frames = {name: paint(at) for at, name in enumerate(["ok", "ng", "uncertain", "fault"])}
    with opened(tmp_path) as store:
        for number, (name, frame) in enumerate(frames.items(), 1):
            verdict = Verdict[name.upper()]
            store.write(part_message(number, name, verdict=verdict, frame=frame, wall=1.75e9))
        store.write(part_message(5, "no frame", verdict=Verdict.FAULT))
        settle(store)
    day = "pictures/2025-06-15"
    three = ["top.map.npy", "top.overlay.png", "top.png"]
    assert kept(tmp_path) == [
        f"{day}/fault/top.png",
        *(f"{day}/ng/{name}" for name in three),
        *(f"{day}/uncertain/{name}" for name in three),
    ]
    raw = cv2.imread(str(tmp_path / day / "ng" / "top.png"))
    assert (raw == frames["ng"]).all()
    overlay = cv2.imread(str(tmp_path / day / "ng" / "top.overlay.png"))
    assert overlay is not None
    assert overlay.shape[1] == 480  # drawn large enough to be read
    patches = np.load(tmp_path / day / "ng" / "top.map.npy")
    assert patches.shape == (4, 4)
    assert patches.dtype == np.float32


def test_all_cameras_of_a_part_have_their_pictures(tmp_path, paint):
    with opened(tmp_path) as store:
        left = view(1, "a", camera="left", frame=paint(1), wall=1.75e9)
        right = view(1, "a", camera="left.overlay", frame=paint(2), verdict=Verdict.NG)
        store.write(message_of(1, "a", left, right))
        settle(store)
    names = [path.rpartition("/")[2] for path in kept(tmp_path)]
    assert names == [
        "left%2Eoverlay.map.npy", "left%2Eoverlay.overlay.png", "left%2Eoverlay.png",
        "left.map.npy", "left.overlay.png", "left.png",
    ]  # fmt: skip


def test_a_late_part_has_its_pictures(tmp_path, paint):
    with opened(tmp_path) as store:
        store.write(message_of(1, "a"))
        store.write(part_message(2, "a", frame=paint(1), late=True))
        settle(store)
    assert len(kept(tmp_path)) == 3


def test_a_share_of_the_ok_parts_is_kept(tmp_path):
    ids = [f"top-20261201-{n:06d}" for n in range(20_000)]
    chosen = [part for part in ids if is_sampled(part, 0.01)]
    assert chosen == [part for part in ids if is_sampled(part, 0.01)]
    assert 150 < len(chosen) < 250  # 200 ± 3.5 standard deviations
    assert set(chosen) <= {part for part in ids if is_sampled(part, 0.02)}
    assert all(is_sampled(part, 1) for part in ids)
    assert not any(is_sampled(part, 0) for part in ids)
    frame = np.zeros((32, 32, 3), np.uint8)
    some = [*chosen[:3], *[part for part in ids if part not in chosen][:20]]
    with opened(tmp_path, ok_sample=0.01) as store:
        for number, part in enumerate(some, 1):
            store.write(part_message(number, part, frame=frame))
        settle(store)
    assert {path.split("/")[2] for path in kept(tmp_path)} == set(chosen[:3])


HARD = [
    "../../etc/passwd", "/", "..", ".", "", "a/b", "a%2Fb", "a\\b", "x" * 4000, "x" * 3999,
    "ä" * 500, "部品-7", "a\nb", "a\x00b", " ", "a ", "A", "a", ".hidden", "-rf", "*", "a:b",
    "part (2)", "%",
]  # fmt: skip


def test_any_id_makes_a_name_of_its_own(tmp_path):
    names = [safe_name(part) for part in HARD]
    assert len(set(names)) == len(HARD)
    for name in names:
        assert Path(name).name == name
        assert name not in ("", ".", "..")
        assert len(name.encode()) <= 150
        assert not name.startswith(".")


def test_parts_of_any_id_are_kept(tmp_path, paint):
    with opened(tmp_path / "data") as store:
        for number, part in enumerate(HARD, 1):
            store.write(part_message(number, part, verdict=Verdict.NG, frame=paint(1)))
            if number % 8 == 0:
                settle(store)  # the queue is bounded
        settle(store)
    assert len(kept(tmp_path / "data")) == 3 * len(HARD)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_rows_and_the_line_never_wait_for_pictures(tmp_path, monkeypatch):
    """The disk of pictures stands still: verdicts are committed, and pictures dropped."""
    still = threading.Event()

    def slow(folder, contents):
        still.wait(20)
        write_whole(folder, contents)

    monkeypatch.setattr(keeping, "write_whole", slow)
    frame = np.zeros((64, 64, 3), np.uint8)
    with opened(tmp_path) as store:
        began = time.monotonic()
        tickets = [
            store.write(part_message(n, verdict=Verdict.NG, frame=frame)) for n in range(1, 101)
        ]
        assert all(ticket.wait(5) for ticket in tickets)
        assert time.monotonic() - began < 5
        state = store.state()["pictures"]
        assert state["waiting"] == keeping.MOST_FRAMES
        assert state["dropped"] == 100 - keeping.MOST_FRAMES
        still.set()
        settle(store)
        assert store.state()["pictures"]["written"] == keeping.MOST_FRAMES
    assert len(kept(tmp_path)) == 3 * keeping.MOST_FRAMES


def test_large_frames_fill_the_queue_sooner(tmp_path, monkeypatch):
    monkeypatch.setattr(keeping, "MOST_BYTES", 3_000_000)
    still = threading.Event()

    def slow(folder, contents):
        still.wait(20)
        write_whole(folder, contents)

    monkeypatch.setattr(keeping, "write_whole", slow)
    frame = np.zeros((800, 600, 3), np.uint8)  # 1.44 MB
    with opened(tmp_path) as store:
        for number in range(1, 6):
            store.write(part_message(number, verdict=Verdict.NG, frame=frame))
        assert store.state()["pictures"]["waiting"] == 2
        still.set()
        settle(store)


def test_pictures_that_cannot_be_written_are_told_once(tmp_path, paint):
    """Not a full disk: here a file lies where the folder should."""
    heard = list[Event]()
    (tmp_path / "pictures").write_text("in the way")
    with opened(tmp_path, heard.append) as store:
        for number in range(1, 4):
            store.write(part_message(number, verdict=Verdict.NG, frame=paint(1)))
            settle(store)
        assert store.state()["pictures"]["dropped"] == 3
        assert [(e.name.value, e.data["reason"]) for e in heard] == [
            ("storage.full", "Not a directory")
        ]
        (tmp_path / "pictures").unlink()
        time.sleep(1.1)  # it is tried again after a second
        store.write(part_message(4, verdict=Verdict.NG, frame=paint(1)))
        settle(store)
        assert [e.name.value for e in heard] == ["storage.full", "storage.back"]
        assert store.state()["pictures"]["written"] == 1
    assert len(kept(tmp_path)) == 3


def test_what_others_keep_beside_the_pictures_stays(tmp_path):
    for name in ("mine/a/x.png", "2019-01-01-holiday/a/x.png", "0000000000/a/x.png", "flat.png"):
        (tmp_path / "pictures" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "pictures" / name).write_bytes(b"not the store's")
    (tmp_path / "pictures" / "2019-01-01" / "part").mkdir(parents=True)
    with opened(tmp_path):
        until(lambda: not (tmp_path / "pictures" / "2019-01-01").exists())
    assert sum(path.is_file() for path in (tmp_path / "pictures").rglob("*")) == 4


def test_what_a_kill_has_left_is_removed_at_the_start(tmp_path, paint):
    with opened(tmp_path) as store:
        store.write(part_message(1, "a", verdict=Verdict.NG, frame=paint(1)))
        settle(store)
    before = kept(tmp_path)
    folder = (tmp_path / before[0]).parent
    (folder / ".17-18.part").write_bytes(b"half")
    (folder / "other.png").write_bytes(b"no row")
    (folder.parent / "b").mkdir()
    (folder.parent / "b" / ".1-2.part").write_bytes(b"half")
    (tmp_path / "pictures" / "overlay-of-an-output.png").write_bytes(b"not ours")
    with opened(tmp_path):
        pass
    assert (tmp_path / "pictures" / "overlay-of-an-output.png").is_file()
    (tmp_path / "pictures" / "overlay-of-an-output.png").unlink()
    assert kept(tmp_path) == before
    assert not (folder.parent / "b").exists()


def fill(store, count, *, wall=None, size=64):
    """Write parts, the oldest first: OK, UNCERTAIN, NG in turn, a second apart."""
    rng = np.random.default_rng(0)
    for number in range(1, count + 1):
        frame = rng.integers(0, 255, (size, size, 3)).astype(np.uint8)
        at = (time.time() - 2 * count if wall is None else wall) + number
        verdict = ORDER[number % 3]
        store.write(
            part_message(
                store.next_number() + number, f"{number:03d}-{verdict.value}", verdict=verdict,
                frame=frame, wall=at,
            )
        )  # fmt: skip
        settle(store)


def left(folder):
    """Verdicts of the parts that have pictures, in the order of their age."""
    return sorted({path.split("/")[2] for path in kept(folder)})


def test_old_pictures_go_and_their_rows_with_them(tmp_path):
    day = 86_400
    with opened(tmp_path, ok_sample=1, keep_days=365) as store:
        fill(store, 3, wall=time.time() - 40 * day)
        store.write(
            part_message(90, "young", verdict=Verdict.NG, frame=np.zeros((9, 9, 3), np.uint8))
        )
        settle(store)
        assert len(left(tmp_path)) == 4
    with opened(tmp_path, ok_sample=1, keep_days=30) as store:  # it is the setting of now
        until(lambda: left(tmp_path) == ["young"])
        assert store.state()["pictures"]["bytes"] == sum(
            (tmp_path / path).stat().st_size for path in kept(tmp_path)
        )
    assert len(list((tmp_path / "pictures").iterdir())) == 1  # no empty folder is left
    with Records(tmp_path) as records:
        parts = records.connection.execute("SELECT count(*) FROM part").fetchone()[0]
    assert parts == 4  # rows of parts stay


def test_many_old_pictures_hold_up_neither_new_ones_nor_the_end(tmp_path):
    """A shorter `keep_days` makes thousands of pictures old at once."""
    old = time.time() - 40 * 86_400
    with opened(tmp_path, keep_days=365) as store:
        fill(store, 1, wall=old)
    with sqlite3.connect(tmp_path / "zeroline.sqlite") as connection:
        rows = [(f"pictures/x/{n}/top.png", "p", "top", "raw", 9, 0, old, old) for n in range(4000)]
        connection.executemany("INSERT INTO picture VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    connection.close()
    for row in rows:
        (tmp_path / row[0]).parent.mkdir(parents=True)
        (tmp_path / row[0]).write_bytes(b"")
    frame = np.zeros((9, 9, 3), np.uint8)
    with opened(tmp_path, keep_days=30) as store:
        store.write(part_message(50, "new", verdict=Verdict.NG, frame=frame))
        until(lambda: store.state()["pictures"]["written"] == 1)
        assert len(list((tmp_path / "pictures" / "x").iterdir())) > 400
    with opened(tmp_path, keep_days=30):
        until(lambda: len(list((tmp_path / "pictures" / "x").iterdir())) < 3700)
    assert len(list((tmp_path / "pictures" / "x").iterdir())) > 400


def until(condition, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if condition():
                return
        except AssertionError:
            pass  # a file has gone and its row not yet
        time.sleep(0.02)
    raise AssertionError("it has not come so far")


def test_ok_pictures_go_first_and_ng_last(tmp_path):
    with opened(tmp_path / "all", ok_sample=1) as store:
        fill(store, 12)
    everything = left(tmp_path / "all")
    assert len(everything) == 12
    sizes = Counter[str]()
    for path in kept(tmp_path / "all"):
        sizes[path.split("/")[2]] += (tmp_path / "all" / path).stat().st_size
    bound = 5.5 * max(sizes.values())
    with opened(tmp_path / "few", ok_sample=1, keep_gb=bound / 1e9) as store:
        fill(store, 12)
    found = left(tmp_path / "few")
    assert sum((tmp_path / "few" / path).stat().st_size for path in kept(tmp_path / "few")) <= bound
    assert [part.partition("-")[2] for part in found].count("NG") == 4
    gone = [part for part in everything if part not in found]
    for verdict in ("OK", "UNCERTAIN"):  # of one kind the oldest have gone
        kind = [part for part in everything if part.endswith(verdict)]
        lost = [part for part in kind if part in gone]
        assert lost == kind[: len(lost)]
    assert sum(part.endswith("OK") for part in gone) >= sum(
        part.endswith("UNCERTAIN") for part in gone
    )


def test_half_a_day_in_another_zone_is_the_day_of_utc(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    try:
        wall = datetime(2026, 11, 30, 23, 59, tzinfo=timezone.utc).timestamp()
        with opened(tmp_path) as store:
            frame = np.zeros((9, 9, 3), np.uint8)
            store.write(part_message(1, "a", verdict=Verdict.NG, frame=frame, wall=wall))
            settle(store)
        assert os.listdir(tmp_path / "pictures") == ["2026-11-30"]  # noqa: PTH208
    finally:
        monkeypatch.undo()
        time.tzset()
