"""`zeroline records`: what a station has kept, by command lines."""

import csv
import json
import re
import shutil
import sqlite3
import subprocess
import tarfile
import time
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from support.machine import ROOT
from support.old_stores import VERSION_1
from support.stored_parts import event_message, message_of, part_message, revision_message, view
from zeroline.edge_app.batch.datasets import find_datasets
from zeroline.edge_app.cli import main
from zeroline.edge_app.configuration.storage import Storage
from zeroline.edge_app.control import Answer
from zeroline.edge_app.events import Event, EventName
from zeroline.edge_app.store import schema
from zeroline.edge_app.store.export import COLUMNS
from zeroline.edge_app.store.reading import Records, Wanted
from zeroline.edge_app.store.store import Store
from zeroline.runtime.results import Reason, Verdict

#: The hour that comes twice: in Berlin 02:30 by summer time, and an hour later 02:30 again.
FIRST = datetime(2026, 10, 25, 0, 30, tzinfo=timezone.utc).timestamp()


def zeroline(*arguments):
    return CliRunner().invoke(main, [str(part) for part in arguments])


def records(*arguments):
    done = zeroline("records", *arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def berlin(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture(scope="module")
def station(tmp_path_factory, paint):
    """A station that runs, with six parts of two cameras: all their pictures are kept."""
    storage = Storage(keep_free_gb=0, ok_sample=1, keep_days=3650)
    folder = tmp_path_factory.mktemp("station")
    with Store(folder / "data", storage, station="press-4", events=print) as store:

        def part(number, name, verdict, *, reason=None, wall=FIRST):
            views = (
                view(number, name, camera="left", wall=wall, frame=paint(number)),
                view(
                    number, name, camera="top", verdict=verdict, reason=reason, wall=wall + 0.5,
                    frame=None if verdict is Verdict.FAULT else paint(number, scratch=True),
                ),
            )  # fmt: skip
            store.write(message_of(number, name, *views, lot="L7"))
            while store.state()["pictures"]["waiting"]:
                time.sleep(0.01)

        part(1, "a/1", Verdict.OK)
        part(2, "b", Verdict.NG)
        part(3, "c", Verdict.NG, wall=FIRST + 3600, reason=Reason.RECURRING)
        part(4, "d", Verdict.UNCERTAIN, wall=FIRST + 7200)
        part(5, "e_mask", Verdict.NG, wall=FIRST + 7200)
        part(6, "f", Verdict.FAULT, wall=FIRST + 7200)
        store.write(revision_message(7, "b"))
        event = Event(EventName.FEEDBACK, "false alarm", {"by": "ada"}, part="e_mask")
        store.write(event_message(8, event))
        store.feedback("e_mask", Answer.RIGHTLY_NG, note="", by="bo", wall=FIRST)
        store.feedback("e_mask", Answer.FALSE_ALARM, note="oil, no crack", by="ada", wall=FIRST)
        store.feedback("e_mask", Answer.NOTE, note="seen again", by="ada", wall=FIRST)
        assert store.feedback("a/1", Answer.MISSED, note="", by="ada", wall=FIRST).wait(10)
        until = time.monotonic() + 10
        while store.state()["waiting"] and time.monotonic() < until:
            time.sleep(0.01)
        yield folder / "data"


def test_parts_are_listed_the_newest_first_in_local_time(station, berlin):
    lines = records("list", "--data", station).splitlines()
    assert [line.split()[2] for line in lines[1:]] == ["f", "e_mask", "d", "c", "b", "a/1"]
    assert lines[0].split() == [
        "time", "part", "verdict", "reason", "revised", "camera", "score", "threshold", "answer"
    ]  # fmt: skip
    # one hour by the clock of the wall, two different moments
    assert lines[5].startswith("2026-10-25 02:30:00.000+02:00  b ")
    assert lines[4].startswith("2026-10-25 02:30:00.000+01:00  c ")
    assert lines[5].split()[3:] == ["NG", "score", "top", "0.400", "0.300"]
    assert lines[1].split()[3:] == ["FAULT", "no_frame", "top"]
    assert lines[6].split()[-1] == "missed"


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--verdict", "NG"], "e_mask c b"),
        (["--verdict", "ok"], "a/1"),
        (["--camera", "top", "--limit", "2"], "f e_mask"),
        (["--camera", "none"], ""),
        (["--part", "a/1"], "a/1"),
        (["--since", "2026-10-25T01:30Z"], "f e_mask d c"),
        (["--since", "2026-10-25T02:30+01:00"], "f e_mask d c"),
        (["--until", "2026-10-25 03:30"], "c b a/1"),  # local
        (["--since", "2026-10-26"], ""),
        (["--since", "2026-10-25", "--until", "2026-10-25T00:30Z"], ""),
    ],
)
def test_parts_are_found(station, berlin, options, found):
    lines = records("list", "--data", station, "--json", *options).splitlines()
    assert [json.loads(line)["id"] for line in lines] == found.split()


def test_json_has_utc(station, berlin):
    (line,) = records("list", "--data", station, "--json", "--part", "b").splitlines()
    part = json.loads(line)
    assert part["time"] == "2026-10-25T00:30:00.000Z"
    assert part["frames"][1]["time"] == "2026-10-25T00:30:00.500Z"


def test_all_of_a_part_is_shown(station, berlin):
    text = records("show", "e_mask", "--data", station)
    for line in (
        "time: 2026-10-25 03:30:00.000+01:00", "verdict: NG", "lot: L7", "  camera: top",
        "  answer: false_alarm", "  note: oil, no crack", "  name: feedback", "  kind: overlay",
    ):  # fmt: skip
        assert line in text.splitlines(), line
    paths = [line.split(": ")[1] for line in text.splitlines() if line.startswith("  path: ")]
    assert len(paths) == 6
    assert all(Path(path).is_file() for path in paths)
    found = json.loads(records("show", "b", "--data", station, "--json"))
    assert [one["verdict"] for one in found["revisions"]] == ["NG"]
    assert found["revisions"][0]["time"].endswith("Z")
    assert [frame["camera"] for frame in found["frames"]] == ["left", "top"]
    assert len(found["pictures"]) == 6


def test_a_table_has_a_row_for_each_camera(station, tmp_path, berlin):
    table = tmp_path / "parts.csv"
    assert "12 rows" in records("export", "--data", station, "--csv", table)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    assert [(row["part"], row["camera"]) for row in rows[:3]] == [
        ("a/1", "left"), ("a/1", "top"), ("b", "left")
    ]  # fmt: skip
    top = rows[3]
    assert top["time"] == "2026-10-25T00:30:00.000Z"
    assert (top["verdict"], top["reason"], top["score"]) == ("NG", "score", "0.4")
    assert (top["regions"], top["late"], top["lot"]) == ("10 20 30 40", "false", "L7")
    assert rows[9]["answer"] == "false_alarm"
    assert rows[11]["fault"] == "no frame came"
    assert "2 rows" in records(
        "export", "--data", station, "--csv", table, "--camera", "top", "--verdict", "NG",
        "--until", "2026-10-25T02:00Z",
    )  # fmt: skip


def cells(heading):
    """First cells of a table in docs/store.md."""
    text = (ROOT / "docs" / "store.md").read_text(encoding="utf-8")
    section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`[^|]*`) \|", section, re.M)
    return [name for row in rows for name in re.findall(r"`(\w+)`", row)]


def test_columns_and_tables_are_documented(station):
    assert cells("The table of `records export --csv`") == list(COLUMNS)
    with Records(station) as opened:
        found = opened.connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        assert cells("Tables") == [row["name"] for row in found]


def test_folders_are_those_that_evaluate_reads(station, tmp_path):
    folder = tmp_path / "labelled"
    done = zeroline("records", "export", "--data", station, "--folder", folder)
    assert done.exit_code == 0, done.output
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert found == {
        # a person's word goes first, for all cameras
        "left/test/missed/a%2F1.left.png", "top/test/missed/a%2F1.top.png",
        "left/test/good/e_mask.left.png", "top/test/good/e_mask.top.png",
        # else each camera's own verdict
        "left/test/good/b.left.png", "top/test/score/b.top.png",
        "left/test/good/c.left.png", "top/test/recurring/c.top.png",
        "left/test/good/d.left.png", "left/test/good/f.left.png",
    }  # fmt: skip
    assert "1 pictures were left out" in done.stderr
    datasets = {one.name: one for one in find_datasets([folder])}
    kinds = {name: sorted(s.kind for s in one.samples) for name, one in datasets.items()}
    assert kinds == {
        "left": ["good", "good", "good", "good", "good", "missed"],
        "top": ["good", "missed", "recurring", "score"],
    }
    bad = {s.file.path.name for s in datasets["top"].samples if s.defective}
    assert bad == {"a%2F1.top.png", "b.top.png", "c.top.png"}
    again = zeroline("records", "export", "--data", station, "--folder", folder)
    assert again.exit_code == 1
    assert f'folder "{folder}" is not empty' in again.stderr
    table = tmp_path / "late.csv"
    again = zeroline("records", "export", "--data", station, "--csv", table, "--folder", folder)
    assert again.exit_code == 1
    assert not table.exists()


def test_a_revision_counts_from_then_on(tmp_path, paint):
    """A part that was OK had a recurring defect, as was seen later."""
    storage = Storage(keep_free_gb=0, ok_sample=1)
    with Store(tmp_path / "data", storage, station="s", events=print) as store:
        for number, name in enumerate(["a", "b"], 1):
            store.write(part_message(number, name, frame=paint(number)))
        store.write(revision_message(3, "b"))
    data = ("--data", tmp_path / "data")
    (line,) = records("list", *data, "--verdict", "NG").splitlines()[1:]
    assert line.split()[2:5] == ["b", "OK", "NG"]
    (line,) = records("list", *data, "--verdict", "OK").splitlines()[1:]
    assert line.split()[2:5] == ["a", "OK", "top"]
    records("export", *data, "--folder", tmp_path / "labelled")
    found = sorted((tmp_path / "labelled").rglob("*.png"))
    assert [path.parent.name for path in found] == ["good", "recurring"]


def test_what_is_exported_can_be_evaluated(station, tmp_path, bundle_folder):
    folder = tmp_path / "labelled"
    records("export", "--data", station, "--folder", folder, "--camera", "top")
    done = zeroline(
        "evaluate", folder, "--model", bundle_folder, "--output", tmp_path / "out", "--threads", 1
    )
    assert done.exit_code == 0, done.output
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["top"]["image_auroc"] is not None


def test_a_list_says_that_there_are_more_where_there_are(station):
    for limit, told in ((6, ""), (5, "note: 5 parts are shown, there are more: --limit\n")):
        assert zeroline("records", "list", "--data", station, "--limit", limit).stderr == told


def test_a_backup_is_whole_while_the_station_runs(station, tmp_path):
    file, data = tmp_path / "backup.tar", tmp_path / "new" / "data"
    assert "33 pictures" in records("backup", file, "--data", station)
    assert "33 pictures" in records("restore", file, "--data", data)
    for command in (["list"], ["show", "b"], ["show", "a/1"]):
        before = records(*command, "--data", station, "--json")
        assert records(*command, "--data", data, "--json") == before.replace(
            str(station), str(data)
        )
    with tarfile.open(file) as archive:
        pictures = [name for name in archive.getnames() if name.startswith("pictures/")]
    assert all((data / name).read_bytes() == (station / name).read_bytes() for name in pictures)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["backup.tar", "new"]
    storage = Storage(keep_free_gb=0, keep_days=3650)
    with Store(data, storage, station="press-4", events=print) as store:  # it goes on from there
        assert store.next_number() == 9
        assert store.write(part_message(9)).wait(10)


def test_a_backup_has_windows_and_recipes_that_run(station, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(station, copy)
    kept = {"recipes.json": b"{}", "operator.json": b"[1]", "top/a.npz": b"tokens"}
    for name, content in kept.items():
        (copy / "state" / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / "state" / name).write_bytes(content)
    (copy / "state" / "top" / ".7-9.part").write_bytes(b"half")
    records("backup", tmp_path / "b.tar", "--data", copy)
    records("restore", tmp_path / "b.tar", "--data", tmp_path / "new")
    state = tmp_path / "new" / "state"
    found = {p.relative_to(state).as_posix(): p.read_bytes() for p in state.rglob("*.*")}
    assert found == kept


def test_a_backup_of_an_older_store_is_led_on_one_of_a_newer_is_refused(tmp_path):
    def backup_of(version):
        folder = tmp_path / f"v{version}"
        folder.mkdir()
        path = folder / schema.FILE
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript(VERSION_1)
            connection.execute(f"PRAGMA user_version = {version}")
        with tarfile.open(folder / "b.tar", "w") as archive:
            archive.add(path, schema.FILE)
        return folder / "b.tar"

    assert "0 pictures" in records("restore", backup_of(1), "--data", tmp_path / "new")
    assert [path.name for path in (tmp_path / "new").iterdir()] == [schema.FILE]
    assert "old" in records("list", "--data", tmp_path / "new")
    done = zeroline("records", "restore", backup_of(99), "--data", tmp_path / "newer")
    assert "b.tar" in done.stderr
    assert "has version 99, this zeroline knows up to" in done.stderr
    assert not (tmp_path / "newer").exists()
    with tarfile.open(tmp_path / "none.tar", "w"):
        pass
    done = zeroline("records", "restore", tmp_path / "none.tar", "--data", tmp_path / "newer")
    assert 'is no backup of zeroline: it holds no "zeroline.sqlite"' in done.stderr


def test_parts_are_found_by_serial_number_and_lot(tmp_path):
    with Store(tmp_path, Storage(keep_free_gb=0), station="s", events=print) as store:
        for number in range(1, 41):
            name = {"lot": f"L{number // 10}", "serial": f"{number:05}"} if number > 20 else {}
            store.write(part_message(number, f"part-{number}", **name))

    def found(*filters):
        lines = records("list", "--data", tmp_path, "--json", *filters).splitlines()
        return [json.loads(line)["id"] for line in lines]

    assert found("--serial", "00023") == ["part-23"]
    assert found("--lot", "L4") == ["part-40"]
    assert found("--lot", "L2") == [f"part-{number}" for number in range(29, 20, -1)]
    assert found("--lot", "L2", "--serial", "00031") == []
    with Records(tmp_path) as opened:
        for column, asked in (("lot", Wanted(lot="x")), ("serial", Wanted(serial="x"))):
            wanted, values = asked.condition()
            plan = opened.connection.execute(
                f"EXPLAIN QUERY PLAN SELECT * FROM part WHERE {wanted} ORDER BY number DESC",  # noqa: S608
                values,
            )
            assert f"USING INDEX part_by_{column}" in plan.fetchone()["detail"]


def test_a_backup_overwrites_nothing(station, tmp_path):
    """It may be the way back from a newer version."""
    (tmp_path / "b.tar").write_bytes(b"way back")
    done = zeroline("records", "backup", tmp_path / "b.tar", "--data", station)
    assert (done.exit_code, "exists already, and is not overwritten" in done.stderr) == (1, True)
    assert (tmp_path / "b.tar").read_bytes() == b"way back"


def test_a_backup_leaves_out_what_was_removed_meanwhile(station, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(station, copy)
    shutil.rmtree(next((copy / "pictures").glob("*/b")))
    done = zeroline("records", "backup", tmp_path / "b.tar", "--data", copy)
    assert "27 pictures" in done.stdout
    assert "6 pictures were removed meanwhile" in done.stderr


def test_restoring_is_all_or_nothing(station, tmp_path):
    file, data = tmp_path / "backup.tar", tmp_path / "restored"
    records("backup", file, "--data", station)
    whole = file.read_bytes()

    def refused(content, *, into=data):
        file.write_bytes(content)
        done = zeroline("records", "restore", file, "--data", into)
        assert done.exit_code == 1
        assert len(done.stderr.splitlines()) == 1
        assert [p.name for p in tmp_path.iterdir()] == ["backup.tar"]
        return done.stderr

    assert "is damaged, or no tar file" in refused(whole[: len(whole) // 2])
    assert "is damaged, or no tar file" in refused(b"x" * 5000)
    at = whole.index(b"SQLite format 3")
    assert "backup.tar" in refused(whole[: at + 2048] + b"\xa5" * 4096 + whole[at + 6144 :])
    for name, kind in (
        ("../evil", tarfile.REGTYPE), ("/etc/x", tarfile.REGTYPE), ("pictures/../../x/y", b"0"),
        ("pictures/a/b/c", tarfile.SYMTYPE), ("zeroline.sqlite", tarfile.LNKTYPE),
        ("other", tarfile.REGTYPE),
    ):  # fmt: skip
        with tarfile.open(file, "w") as archive:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            archive.addfile(member)
        assert f'is no backup of zeroline: it holds "{name}"' in refused(file.read_bytes())
    message = refused(whole, into=station)
    assert f'data folder "{station}" is not empty' in message


def test_commands_write_nothing_into_the_data_folder(station, tmp_path):
    def stamps():
        files = [p for p in station.rglob("*") if p.is_file() and p.suffix != ".sqlite-shm"]
        return {p: (p.stat().st_mtime_ns, p.stat().st_size) for p in files if "-shm" not in p.name}

    before = stamps()
    records("list", "--data", station)
    records("show", "b", "--data", station)
    records("export", "--data", station, "--csv", tmp_path / "t.csv", "--folder", tmp_path / "f")
    records("backup", tmp_path / "b.tar", "--data", station)
    assert stamps() == before


def test_a_store_without_a_station_is_left_as_it_is(tmp_path):
    with Store(tmp_path / "data", Storage(keep_free_gb=0), station="s", events=print) as store:
        store.write(part_message(1, "a"))
    names = ["lock", "reserve", "zeroline.sqlite"]
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == names
    before = (tmp_path / "data" / "zeroline.sqlite").read_bytes()
    records("list", "--data", tmp_path / "data")
    records("backup", tmp_path / "b.tar", "--data", tmp_path / "data")
    assert (tmp_path / "data" / "zeroline.sqlite").read_bytes() == before
    # SQLite's reader leaves an empty WAL; the next station takes it away
    assert (tmp_path / "data" / "zeroline.sqlite-wal").stat().st_size == 0
    Store(tmp_path / "data", Storage(keep_free_gb=0), station="s", events=print).close()
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == names


def test_a_stations_file_names_the_folder(station, tmp_path):
    (tmp_path / "press.yaml").write_text(
        "station: press-4\ndata: data\ncameras:\n  - {source: 'rtsp://${NO_SUCH_SECRET}@x/y'}\n"
    )
    shutil.copytree(station, tmp_path / "data")
    assert records("list", "--data", tmp_path / "press.yaml") == records("list", "--data", station)
    records("backup", tmp_path / "b.tar", "--data", tmp_path / "press.yaml")
    shutil.rmtree(tmp_path / "data")
    records("restore", tmp_path / "b.tar", "--data", tmp_path / "press.yaml")
    assert records("list", "--data", tmp_path / "press.yaml") == records("list", "--data", station)
    done = zeroline("records", "list", "--data", tmp_path / "pres.yaml")
    assert done.stderr == f'Error: there is no station\'s file "{tmp_path / "pres.yaml"}"\n'
    (tmp_path / "other.yaml").write_text("- 1\n")
    done = zeroline("records", "list", "--data", tmp_path / "other.yaml")
    assert "other.yaml\" is neither a data folder nor a station's file" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["show", "zz"], 'there is no part "zz" in'),
        (["list", "--since", "yesterday"], '"yesterday" is no time: 2026-12-01'),
        (["list", "--verdict", "BAD"], "'BAD' is not one of"),
        (["list", "--limit", "0"], "0 is not in the range"),
        (["export"], "--csv FILE or --folder DIR is expected"),
        (["export", "--csv", "/no/such/place/x.csv"], "could not be written: No such file"),
        (["backup", "/no/such/place/x.tar"], "could not be written: No such file"),
    ],
)
def test_errors_are_one_line(station, arguments, said):
    done = zeroline("records", *arguments, "--data", station)
    assert done.exit_code in (1, 2)
    assert len(done.stderr.splitlines()) == 1
    assert said in done.stderr


def test_a_folder_without_a_store_is_told(tmp_path):
    done = zeroline("records", "list", "--data", tmp_path)
    assert done.exit_code == 1
    assert done.stderr == (
        f'Error: there is no store "{tmp_path / "zeroline.sqlite"}": --data names a data folder, '
        "or a station's file\n"
    )


def test_a_list_of_many_parts_is_read_in_short_queries(tmp_path):
    """A long query would keep the log from being carried over."""
    with Store(tmp_path, Storage(keep_free_gb=0), station="s", events=print) as store:
        for number in range(1, 3501):
            store.write(part_message(number))
    lines = records("list", "--data", tmp_path, "--json", "--limit", 3000).splitlines()
    numbers = [json.loads(line)["number"] for line in lines]
    assert numbers == list(range(3500, 500, -1))
    table = tmp_path / "t.csv"
    assert "3500 rows" in records("export", "--data", tmp_path, "--csv", table)
    assert len(set(table.read_text().splitlines())) == 3501


def test_a_store_on_a_disk_that_may_only_be_read_is_read(tmp_path):
    data = tmp_path / "disk" / "data"
    data.parent.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "tmpfs", data.parent], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a file system cannot be mounted here")
    try:
        with Store(data, Storage(keep_free_gb=0), station="s", events=print) as store:
            store.write(part_message(1, "a", frame=np.zeros((9, 9, 3), np.uint8)))
        subprocess.run(["mount", "-o", "remount,ro", data.parent], check=True)
        assert " a " in records("list", "--data", data)
    finally:
        subprocess.run(["umount", "--lazy", data.parent], check=True)
