"""A station under systemd's protocol: stopped, hung and killed, and what its next start has."""

from __future__ import annotations

import signal
import socket
import time

import cv2
import pytest
from trials.station_process import StationProcess, free_port, rows

from support.machine import ROOT
from zeroline.runtime import RollingInspector, load_bundle


class Manager:
    """systemd's side: starts a station, hears it, ends it where it is silent."""

    def __init__(self, folder, file, port):
        self._address, self._file, self._port = folder / "notify", file, port
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self._address))

    def start(self):
        self._empty()
        settings = (f"NOTIFY_SOCKET={self._address}", "WATCHDOG_USEC=800000")
        self.station = StationProcess(self._file, self._port, before=("env", *settings))
        self._socket.settimeout(30)
        assert self._socket.recv(100) == b"READY=1"
        return self.station

    def _empty(self):
        self._socket.settimeout(0.05)
        try:
            while True:
                self._socket.recv(100)
        except TimeoutError:
            pass

    def end_where_silent(self):
        """As the watchdog does it: SIGABRT, and SIGKILL where that does not help."""
        self._socket.settimeout(0.8)
        began = time.monotonic()
        try:
            while time.monotonic() - began < 20:
                self._socket.recv(100)
        except TimeoutError:
            self.station.process.send_signal(signal.SIGABRT)
            self.station.kill()
            return
        pytest.fail("it was never silent")

    def close(self):
        self._socket.close()
        if self.station.process.poll() is None:
            self.station.kill()


@pytest.fixture
def manager(tmp_path, bundle_folder, paint, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "incoming").mkdir()
    with (
        load_bundle(bundle_folder, device="cpu", threads=1) as bundle,
        RollingInspector(bundle, window=8, min_window=4, codegraph=False) as inspector,
    ):
        for number in range(100, 106):
            inspector.push(paint(number))
        inspector.save_reference(tmp_path / "good.npz", source="parts")
    port = free_port()
    file = tmp_path / "station.yaml"
    file.write_text(
        "station: press-4\ndata: data\nstore_wait_ms: 10000\n"
        "cameras: [{name: top, source: 'watch:incoming?after=move'}]\n"
        f"recipes:\n  default: {{model: '{bundle_folder}', window: 24, min_window: 4, "
        "codegraph: false, reference: good.npz}\n  other: {band: 0.001}\nthreads: 1\n"
        f"storage: {{keep_free_gb: 0}}\npage: {{listen: '127.0.0.1:{port}'}}\n"
        "outputs: [{kind: json_lines, path: verdicts.jsonl}]\n"
    )
    made = Manager(tmp_path, file, port)
    yield made
    made.close()


def camera_of(station):
    return station.ask("/api/v1/state")[1]["cameras"]["top"]


def hidden_picture(folder, paint, number):
    content = cv2.imencode(".png", paint(number))[1].tobytes()
    (folder / f".{number}.png").write_bytes(content)


def show_picture(folder, number):
    (folder / f".{number}.png").rename(folder / f"{number}.png")


def given(station, folder, paint, numbers):
    """Give pictures to the camera's folder, and wait until each has its verdict."""
    before = camera_of(station)["frames"]
    for number in numbers:
        hidden_picture(folder, paint, number)
        show_picture(folder, number)
    station.wait(lambda: camera_of(station)["frames"] == before + len(numbers), 30)


def test_a_restart_brings_back_recipe_reference_set_and_window(manager, tmp_path, paint):
    first = manager.start()
    reference = camera_of(first)["window"]
    assert reference > 0
    status, _ = first.ask("/api/v1/recipe", {"recipe": "other", "camera": "top", "by": "me"})
    assert status < 300
    first.wait(lambda: camera_of(first)["recipe"] == "other", 20)
    given(first, tmp_path / "incoming", paint, range(6))
    window = camera_of(first)["window"]
    assert window > reference
    assert first.stop()[0] == 0

    second = manager.start()
    told = second.told.read_text().rpartition("station press-4 stops")[2]
    assert camera_of(second)["recipe"] == "other"
    assert camera_of(second)["window"] == window
    assert 'good.npz"' in told
    assert "the window goes on with" in told
    given(second, tmp_path / "incoming", paint, range(10, 12))
    second.wait(lambda: not list((tmp_path / "incoming").glob("[!.]*.png")), 10)  # put away
    hidden_picture(tmp_path / "incoming", paint, 12)
    second.process.send_signal(signal.SIGSTOP)  # as a stage that hangs
    manager.end_where_silent()

    # it comes while no station is there, and is judged before all else
    show_picture(tmp_path / "incoming", 12)
    third = manager.start()
    assert camera_of(third)["recipe"] == "other"
    third.wait(lambda: camera_of(third)["frames"] == 1, 20)
    assert camera_of(third)["window"] == window + 1  # as it was written last
    given(third, tmp_path / "incoming", paint, range(20, 21))
    assert third.stop()[0] == 0
    names = [name for (name,) in _rows(tmp_path, "SELECT id FROM part ORDER BY number")]
    assert names == [
        f"{n}.png" for n in (*range(6), 10, 11, 12, 20)
    ]  # none is lost, none comes twice
    verdicts = _rows(tmp_path, "SELECT verdict FROM part WHERE id = '20.png'")
    assert verdicts[0][0] in ("OK", "NG")


def _rows(folder, query):
    return rows(folder / "data", query)
