"""A whole station, as a process, while things break round it; each fault is a real one."""

import json
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from trials.station_process import Receiver, StationProcess, free_port, rows

from support.machine import ROOT, missing
from support.mjpeg_server import MjpegCamera

SMALL = "{{model: '{bundle}', window: 8, min_window: 4, codegraph: false}}"


@pytest.fixture(autouse=True)
def path_of_the_code(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def begun():
    """Processes that are ended with the test."""
    processes: list[StationProcess] = []
    yield processes
    for one in processes:
        one.kill()


@pytest.fixture
def station(tmp_path, bundle_folder, begun):
    """Write a station's file, and start it."""

    def start(cameras, *, more="", environment=None, data=None, ready=True):
        port = free_port()
        file = tmp_path / f"station-{len(begun)}.yaml"
        file.write_text(
            f"station: trial\ndata: {data or tmp_path / 'data'}\ncameras:\n"
            + "".join(f"  - {camera}\n" for camera in cameras)
            + f"recipes: {{default: {SMALL.format(bundle=bundle_folder)}}}\n"
            f"storage: {{keep_free_gb: 0}}\npage: {{listen: '127.0.0.1:{port}'}}\nthreads: 1\n"
            + (more or "outputs: [{kind: json_lines, path: verdicts.jsonl}]\n")
        )
        before = (
            [] if environment is None else ["env", *(f"{k}={v}" for k, v in environment.items())]
        )
        made = StationProcess(file, port, before=tuple(before))
        begun.append(made)
        if ready:
            made.wait_ready()
        return made

    return start


@pytest.fixture
def camera():
    cameras = []

    def make(**options):
        cameras.append(MjpegCamera(**options))
        return cameras[-1]

    yield make
    for one in cameras:
        one.close()


def lines_of(folder):
    path = folder / "data" / "verdicts.jsonl"
    if not path.is_file():
        return []
    whole = path.read_text().splitlines()
    return [json.loads(line) for line in whole if line.endswith("}")]


def parts_of(folder):
    return [line for line in lines_of(folder) if "late" in line]


def events_of(folder):
    return [line["event"] for line in lines_of(folder) if "event" in line]


def triggered(station, name):
    status, answer = station.ask("/api/v1/trigger", {"part": name})
    assert status == 202, answer


def verdict_of(station, folder, name, seconds=10):
    found: list[Any] = []

    def there():
        found[:] = [line for line in parts_of(folder) if line["part"] == name]
        return found

    station.wait(there, seconds)
    return found[0]["verdict"], found[0]["reason"]


def test_a_camera_over_the_network_is_cut_frozen_garbled_and_changes_its_size(
    station, camera, tmp_path
):
    """Each part has a verdict by its deadline; the camera comes back by itself."""
    eye = camera()
    line = station(
        [f"{{name: top, source: '{eye.address}', trigger: {{mode: software}}}}"],
        more="deadline_ms: 1500\noutputs: [{kind: json_lines, path: verdicts.jsonl}]\n",
    )
    names = iter(f"part-{number}" for number in range(1000))

    def judged(count=1):
        found = []
        for _ in range(count):
            name = next(names)
            triggered(line, name)
            found.append(verdict_of(line, tmp_path, name))
        return found

    assert judged(5)[-1][0] in ("OK", "NG")
    eye.mode = "silent"
    time.sleep(0.3)
    assert judged() == [("FAULT", "no_frame")]
    eye.mode = "well"
    line.wait(lambda: judged()[0][0] in ("OK", "NG"), 40)
    eye.mode = "frozen"
    time.sleep(0.3)
    assert ("FAULT", "frozen") in judged(3)
    eye.mode = "garbage"
    time.sleep(0.3)
    assert {verdict for verdict, _ in judged(3)} & {"FAULT"}
    eye.mode = "other size"
    line.wait(lambda: judged()[0][0] in ("OK", "NG"), 20)
    eye.mode = "away"
    time.sleep(0.5)
    assert judged() == [("FAULT", "no_frame")]
    eye.mode = "well"
    line.wait(lambda: judged()[0][0] in ("OK", "NG"), 40)
    code, seconds = line.stop()
    assert code == 0
    assert seconds < 3
    told = events_of(tmp_path)
    assert {"camera.lost", "camera.back", "camera.frozen"} <= set(told)
    named = [part["part"] for part in parts_of(tmp_path) if not part["late"]]
    assert len(named) == len(set(named))


def test_two_cameras_on_one_part_one_is_lost_and_comes_back(station, camera, tmp_path):
    top, side = camera(), camera()
    line = station(
        [
            f"{{name: top, source: '{top.address}', trigger: {{mode: software}}}}",
            f"{{name: side, source: '{side.address}', trigger: {{mode: software}}}}",
        ],
        more="deadline_ms: 600\noutputs: [{kind: json_lines, path: verdicts.jsonl}]\n",
    )
    for number in range(5):
        triggered(line, f"both-{number}")
        verdict_of(line, tmp_path, f"both-{number}")
    assert verdict_of(line, tmp_path, "both-4")[0] in ("OK", "NG")
    side.mode = "away"
    time.sleep(0.5)
    began = time.monotonic()
    triggered(line, "lost")
    assert verdict_of(line, tmp_path, "lost") == ("FAULT", "no_frame")
    assert time.monotonic() - began < 1.5
    lost = next(part for part in parts_of(tmp_path) if part["part"] == "lost")
    assert [view["camera"] for view in lost["cameras"]] == ["top", "side"]
    assert lost["cameras"][0]["verdict"] in ("OK", "NG")
    side.mode = "well"
    count = iter(range(1000))

    def back():
        name = f"back-{next(count)}"
        triggered(line, name)
        return verdict_of(line, tmp_path, name)[0] in ("OK", "NG")

    line.wait(back, 30)


def pictures_in(folder, paint, count, *, first=0):
    import cv2

    folder.mkdir(exist_ok=True)
    for number in range(first, first + count):
        hidden = folder / f".{number:03}.png"
        hidden.write_bytes(cv2.imencode(".png", paint(number))[1].tobytes())
        hidden.rename(folder / f"{number:03}.png")


def watching(tmp_path):
    (tmp_path / "incoming").mkdir(exist_ok=True)
    return [f"{{name: top, source: 'watch:{tmp_path / 'incoming'}'}}"]


def test_a_database_that_another_process_locks_stops_no_verdict(station, tmp_path, paint):
    """Ten seconds in the trial; here three."""
    line = station(watching(tmp_path))
    pictures_in(tmp_path / "incoming", paint, 6)
    line.wait(lambda: len(parts_of(tmp_path)) == 6, 20)
    locker = subprocess.Popen(
        [sys.executable, "-c",
         "import sqlite3, sys, time\n"
         f"c = sqlite3.connect({str(tmp_path / 'data' / 'zeroline.sqlite')!r})\n"
         "c.execute('BEGIN IMMEDIATE'); print('locked', flush=True); time.sleep(3)\n"
         "c.rollback()"],
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with locker:
        assert locker.stdout is not None
        assert locker.stdout.readline() == "locked\n"
        pictures_in(tmp_path / "incoming", paint, 6, first=10)
        line.wait(lambda: len(parts_of(tmp_path)) == 12, 2.5)  # while it is locked
        assert locker.poll() is None
    late = [part["part"] for part in parts_of(tmp_path) if part["unstored"]]
    assert late[-6:] == [f"{number:03}.png" for number in range(10, 16)]
    line.wait(lambda: len(rows(tmp_path / "data", "SELECT id FROM part")) == 12, 10)
    pictures_in(tmp_path / "incoming", paint, 1, first=20)
    line.wait(lambda: len(parts_of(tmp_path)) == 13, 10)
    told = events_of(tmp_path)
    assert told.count("storage.late") >= 1
    assert told.count("storage.back") == told.count("storage.full") <= 1


def fill(path):
    with path.open("wb") as file:
        while True:
            file.write(bytes(1 << 16))
            file.flush()


def listen_for_ever(listening):
    while True:
        listening.recv(100)


def test_a_disk_that_is_full_stops_pictures_and_never_the_inspection(station, tmp_path, paint):
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("no tmpfs may be mounted here")
    try:
        line = station(
            watching(tmp_path), data=disk / "data",
            more=f"outputs: [{{kind: json_lines, path: {tmp_path / 'verdicts.jsonl'}}}]\n",
        )  # fmt: skip
        lines = tmp_path / "verdicts.jsonl"

        def parts():
            whole = lines.read_text().splitlines() if lines.is_file() else []
            return [json.loads(one) for one in whole if '"late"' in one]

        pictures_in(tmp_path / "incoming", paint, 5)
        line.wait(lambda: len(parts()) == 5, 20)
        filler = disk / "filler"
        with pytest.raises(OSError, match="No space"):
            fill(filler)
        pictures_in(tmp_path / "incoming", paint, 12, first=10)
        line.wait(lambda: len(parts()) == 17, 20)
        filler.unlink()
        pictures_in(tmp_path / "incoming", paint, 3, first=30)
        line.wait(lambda: len(parts()) == 20, 20)
        line.wait(lambda: len(rows(disk / "data", "SELECT id FROM part")) == 20, 70)
        code, _ = line.stop()
        assert code == 0
        events = [json.loads(one).get("event") for one in lines.read_text().splitlines()]
        assert "storage.full" in events
    finally:
        subprocess.run(["umount", "-l", disk], check=False)


def test_a_bundle_that_is_replaced_under_way_is_noticed_at_the_next_start(
    station, begun, tmp_path, paint, own_bundle
):
    (tmp_path / "incoming").mkdir()
    more = "outputs: [{kind: json_lines, path: verdicts.jsonl}]\n"
    line = station(watching(tmp_path), more=more)
    file = next(tmp_path.glob("station-*.yaml"))
    line.stop()
    file.write_text(file.read_text().replace("model: '", f"model: '{own_bundle}' # '"))
    text = file.read_text()
    start = text.index("recipes: ")
    end = text.index("\n", start)
    recipe = f"recipes: {{default: {SMALL.format(bundle=own_bundle)}}}"
    file.write_text(text[:start] + recipe + text[end:])
    port = int(text.partition("127.0.0.1:")[2].partition("'")[0])
    line = StationProcess(file, port)
    try:
        line.wait_ready()
        pictures_in(tmp_path / "incoming", paint, 6)
        line.wait(lambda: len(parts_of(tmp_path)) == 6, 20)
        model = own_bundle / "model.onnx"
        content = model.read_bytes()
        model.write_bytes(content[: len(content) // 2] + bytes(len(content) // 2))
        pictures_in(tmp_path / "incoming", paint, 4, first=10)
        line.wait(lambda: len(parts_of(tmp_path)) == 10, 20)
        assert all(part["verdict"] in ("OK", "NG") for part in parts_of(tmp_path)[-4:])
        assert line.stop()[0] == 0
        again = StationProcess(file, port)
        begun.append(again)
        assert again.process.wait(timeout=60) == 1
        last = again.told.read_text().splitlines()[-1]
        assert last.startswith("Error: ")
        assert "model.onnx" in last
        model.write_bytes(content)
        line = StationProcess(file, port)
        line.wait_ready()
    finally:
        if line.process.poll() is None:
            line.kill()


def test_a_clock_that_is_set_back_changes_no_verdict_and_no_deadline(station, tmp_path, paint):
    library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"), None)
    if library is None:
        missing("libfaketime is not here")
    clock = tmp_path / "clock"
    clock.write_text("+0\n")
    line = station(
        watching(tmp_path),
        more="deadline_ms: 3000\noutputs: [{kind: json_lines, path: verdicts.jsonl}]\n",
        environment={
            "LD_PRELOAD": str(library), "FAKETIME_TIMESTAMP_FILE": str(clock),
            "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1",
        },
    )  # fmt: skip
    pictures_in(tmp_path / "incoming", paint, 6)
    line.wait(lambda: len(parts_of(tmp_path)) == 6, 20)
    clock.write_text("-3600\n")
    pictures_in(tmp_path / "incoming", paint, 6, first=10)
    line.wait(lambda: len(parts_of(tmp_path)) == 12, 20)
    clock.write_text("+0\n")
    pictures_in(tmp_path / "incoming", paint, 3, first=20)
    line.wait(lambda: len(parts_of(tmp_path)) == 15, 20)
    assert line.stop()[0] == 0
    parts = parts_of(tmp_path)
    assert all(part["verdict"] in ("OK", "NG") for part in parts[4:])
    walls = [part["wall_time"] for part in parts]
    assert walls[8] < walls[2] - 3000  # it was set back
    times = [part["monotonic_time"] for part in parts]
    assert times == sorted(times)
    assert len(rows(tmp_path / "data", "SELECT id FROM part")) == 15
    assert not any(part["late"] for part in parts)


def test_a_second_station_on_a_data_folder_is_refused_in_one_line(station, tmp_path):
    first = station(watching(tmp_path))
    second = station(watching(tmp_path), ready=False)
    assert second.process.wait(timeout=60) == 1
    last = second.told.read_text().splitlines()[-1]
    assert last.startswith("Error: ")
    assert str(tmp_path / "data") in last
    assert str(first.process.pid) in last
    assert first.ask("/readyz")[0] == 200


def test_a_port_that_is_taken_is_one_line_and_no_station(station, begun, tmp_path):
    first = station(watching(tmp_path))
    file = first.told.with_suffix(".yaml")
    other = tmp_path / "other.yaml"
    other.write_text(file.read_text().replace("data: ", "data: other-"))
    text = other.read_text().replace(f"data: other-{tmp_path}/data", f"data: {tmp_path}/other")
    other.write_text(text)
    second = StationProcess(other, 1)
    begun.append(second)
    assert second.process.wait(timeout=60) == 1
    *before, last = second.told.read_text().splitlines()
    assert last.startswith("Error: page.listen is ")
    assert "window" not in " ".join(before)  # before it was loaded


def test_an_output_that_accepts_and_never_answers_is_noticed_by_nobody_else(
    station, tmp_path, paint
):
    hole = socket.create_server(("127.0.0.1", 0))
    receiver = Receiver()
    try:
        line = station(
            watching(tmp_path),
            more=(
                "outputs:\n  - {kind: json_lines, path: verdicts.jsonl}\n"
                f"  - {{kind: webhook, url: 'http://127.0.0.1:{hole.getsockname()[1]}/x'}}\n"
                f"  - {{kind: webhook, url: '{receiver.url}'}}\n"
            ),
        )
        pictures_in(tmp_path / "incoming", paint, 20)
        line.wait(lambda: len(receiver.parts) == 20, 20)
        assert len(parts_of(tmp_path)) == 20
        _, state = line.ask("/api/v1/state")
        assert state["outputs"]["webhook"]["waiting"] >= 20
        assert state["outputs"]["webhook 2"]["up"]
        code, seconds = line.stop()
        assert (code, seconds < 3) == (0, True)
        assert len(rows(tmp_path / "data", "SELECT id FROM part")) == 20
    finally:
        hole.close()
        receiver.close()


def test_what_was_not_delivered_is_delivered_after_a_kill(station, begun, tmp_path, paint):
    port = free_port()
    more = (
        "outputs:\n  - {kind: json_lines, path: verdicts.jsonl}\n"
        f"  - {{kind: webhook, url: 'http://127.0.0.1:{port}/x'}}\n"
    )
    line = station(watching(tmp_path), more=more)
    pictures_in(tmp_path / "incoming", paint, 8)
    line.wait(lambda: len(parts_of(tmp_path)) == 8, 20)
    line.wait(lambda: len(rows(tmp_path / "data", "SELECT id FROM part")) == 8, 20)
    line.kill()
    for path in (tmp_path / "incoming").glob("*.png"):
        path.unlink()
    receiver = Receiver(port)
    try:
        again = StationProcess(line.told.with_suffix(".yaml"), line.port)
        begun.append(again)
        again.wait(lambda: len(receiver.parts) >= 8, 30)
        assert [part["part"] for part in receiver.parts] == [f"{n:03}.png" for n in range(8)]
        again.stop()
    finally:
        receiver.close()


def test_a_hung_inspection_feeds_no_watchdog_and_a_good_wait_does(station, tmp_path, paint):
    address = tmp_path / "notify"
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as systemd:
        systemd.bind(str(address))
        systemd.settimeout(20)
        line = station(
            watching(tmp_path),
            environment={"NOTIFY_SOCKET": str(address), "WATCHDOG_USEC": "800000"},
        )
        assert systemd.recv(100) == b"READY=1"  # a healthy wait for a frame
        beats = [systemd.recv(100) for _ in range(3)]
        assert set(beats) == {b"WATCHDOG=1"}
        line.process.send_signal(signal.SIGSTOP)
        systemd.settimeout(0.8)
        with pytest.raises(TimeoutError):
            listen_for_ever(systemd)
        line.process.send_signal(signal.SIGCONT)
        systemd.settimeout(5)
        assert systemd.recv(100) == b"WATCHDOG=1"
        line.process.terminate()
        told = []
        while b"STOPPING=1" not in told:
            told.append(systemd.recv(100))


def test_an_inspection_that_hangs_ends_the_station_and_its_part_is_a_fault(
    station, tmp_path, paint
):
    """A library may hang for ever, and its thread cannot be ended: the process can."""
    line = station(watching(tmp_path), ready=False)
    line.kill()
    file = line.told.with_suffix(".yaml")
    code = (
        "import sys, time\n"
        "from zeroline.runtime.line.inspector import RollingInspector\n"
        "from zeroline.edge_app.station import running\n"
        "from zeroline.edge_app.cli import main\n"
        "running.HANGS, usual = 1.0, RollingInspector.push\n"
        "def push(self, frame, *, part_id=None, **more):\n"
        "    if part_id == '004.png': time.sleep(1000)\n"
        "    return usual(self, frame, part_id=part_id, **more)\n"
        "RollingInspector.push = push\n"
        f"main(['run', {str(file)!r}])\n"
    )
    pictures_in(tmp_path / "incoming", paint, 6)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "Error: the inspection hangs, and the station ends"
    parts = {part["part"]: (part["verdict"], part["reason"]) for part in parts_of(tmp_path)}
    assert parts["003.png"][0] in ("OK", "NG")
    assert parts["004.png"] == ("FAULT", "station")
    stored = dict(rows(tmp_path / "data", "SELECT id, verdict FROM part"))
    assert stored["004.png"] == "FAULT"
