"""A device that replaces another: by a backup and the listed files, on an empty root."""

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing

import cv2
import pytest
from trials.station_process import StationProcess, free_port, rows

from support.machine import ROOT
from zeroline.runtime import RollingInspector, load_bundle


@pytest.fixture
def station_file(tmp_path, bundle_folder, paint, monkeypatch):
    """A station whose files all lie under one root, with a bundle and a reference set."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    here = tmp_path / "old" / "press-4"
    for name in ("recipes", "incoming", "files"):
        (here / name).mkdir(parents=True)
    shutil.copytree(bundle_folder, here / "bundle")
    with (
        load_bundle(bundle_folder, device="cpu", threads=1) as bundle,
        RollingInspector(bundle, window=8, min_window=4, codegraph=False) as inspector,
    ):
        for number in range(100, 106):
            inspector.push(paint(number))
        inspector.save_reference(here / "files" / "good.npz", source="parts")
    (here / "recipes" / "default.yaml").write_text(
        "model: ../bundle\nwindow: 24\nmin_window: 12\ncodegraph: false\n"
    )
    (here / "recipes" / "other.yaml").write_text("reference: ../files/good.npz\nband: 0.001\n")
    file = here / "station.yaml"
    file.write_text(
        "station: press-4\nstore_wait_ms: 10000\nthreads: 1\nrecipes: recipes\n"
        "cameras: [{name: top, source: 'watch:incoming?after=move'}]\n"
        "outputs: [{kind: webhook, url: 'http://me:${NO_SUCH_SECRET}@127.0.0.1:9/x'}]\n"
        f"storage: {{keep_free_gb: 0, ok_sample: 1}}\npage: {{listen: '127.0.0.1:{free_port()}'}}\n"
    )
    return file


def zeroline(*words):
    command = [sys.executable, "-m", "zeroline.edge_app", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def started(file):
    port = int(file.read_text().rpartition(":")[2].strip("'}\n"))
    station = StationProcess(file, port, before=("env", "NO_SUCH_SECRET=x"))
    station.wait_ready()
    return station


def camera(station):
    return station.ask("/api/v1/state")[1]["cameras"]["top"]


def give(station, file, paint, numbers):
    """Show pictures to the station, and wait until each has its verdict."""
    data = file.parent / "data"
    count = len(rows(data, "SELECT 1 FROM part")) + len(numbers)
    for number in numbers:
        content = cv2.imencode(".png", paint(number))[1].tobytes()
        hidden = file.parent / "incoming" / f".{number}.png"
        hidden.write_bytes(content)
        hidden.rename(hidden.with_name(f"{number}.png"))
    station.wait(lambda: len(rows(data, "SELECT 1 FROM part")) == count, 30)


def test_a_spare_device_goes_on_where_the_other_was(station_file, tmp_path, paint):
    first = started(station_file)
    assert first.ask("/api/v1/recipe", {"recipe": "other", "camera": "top", "by": "me"})[0] < 300
    first.wait(lambda: camera(first)["recipe"] == "other", 20)
    give(first, station_file, paint, range(8))
    assert first.stop()[0] == 0
    first = started(station_file)  # the backup is made while it runs
    zeroline("records", "backup", tmp_path / "records.tar", "--data", station_file)
    zeroline("config", "pack", station_file, tmp_path / "config.tar")
    first.kill()
    shutil.move(tmp_path / "old", tmp_path / "gone")

    root = tmp_path / "spare"
    root.mkdir()
    subprocess.run(["tar", "-x", "-C", root, "-f", tmp_path / "config.tar"], check=True)
    file = root / station_file.relative_to("/")
    (file.parent / "incoming").mkdir()
    zeroline("records", "restore", tmp_path / "records.tar", "--data", file.parent / "data")
    spare = started(file)
    assert camera(spare)["recipe"] == "other"
    assert camera(spare)["window"] >= 12  # the good parts of the set, and those that came
    give(spare, file, paint, [8])
    (newest,) = rows(
        file.parent / "data",
        "SELECT frame.verdict, frame.reason, recipe, compared_with FROM part JOIN frame "
        "USING (number) ORDER BY number DESC LIMIT 1",
    )
    assert newest[0] in ("OK", "NG"), newest  # nothing warms up
    assert newest[2] == "other"
    assert newest[3] >= 12
    assert len(rows(file.parent / "data", "SELECT 1 FROM part")) == 9
    assert spare.stop()[0] == 0


def test_a_newer_store_is_refused_with_its_cure(station_file):
    first = started(station_file)
    assert first.stop()[0] == 0
    data = station_file.parent / "data"
    with closing(sqlite3.connect(data / "zeroline.sqlite")) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = (data / "zeroline.sqlite").read_bytes()
    second = StationProcess(station_file, free_port(), before=("env", "NO_SUCH_SECRET=x"))
    assert second.process.wait(60) == 1
    assert "a newer zeroline has written it. Install that one" in second.told.read_text()
    assert (data / "zeroline.sqlite").read_bytes() == before
