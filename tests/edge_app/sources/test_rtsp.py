"""A real RTSP camera that is slow to read, dies, hangs and comes back."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from support.machine import SUPPORT, missing
from zeroline.edge_app.events import Events
from zeroline.edge_app.sources import live as sources
from zeroline.edge_app.sources.address import open_source

SERVER = SUPPORT / "rtsp_server.py"
MISSING = 77  # exit status of the server, as in its file
BLOCK, BITS = 32, 24  # of its pictures
RATE = 40


def wait_until(met, seconds=30.0):
    deadline = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.02)


class Camera:
    """GStreamer's RTSP server in a process of its own, which can be killed and frozen."""

    def __init__(self, folder):
        python = shutil.which("python3", path=os.defpath)
        if python is None:
            missing("no python3 of the system, which would run GStreamer's RTSP server")
        self._command = [python, "-I", str(SERVER)]
        self._log = folder / "camera.txt"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()

    @property
    def address(self):
        return f"rtsp://127.0.0.1:{self.port}/line"

    def start(self):
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [*self._command, str(self.port), str(RATE)], stdout=log, stderr=log
            )
        wait_until(lambda: self._process.poll() is not None or self._answers())
        if self._process.poll() == MISSING:
            missing(f"no RTSP server of GStreamer (CONTRIBUTING.md): {self._log.read_text()}")
        assert self._process.poll() is None, self._log.read_text()

    def kill(self):
        self._process.kill()  # frozen or not; its connections are closed by the system
        self._process.wait()

    def freeze(self):
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self._process.send_signal(signal.SIGCONT)

    def _answers(self):
        with socket.socket() as trial:
            return trial.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def camera(tmp_path):
    made = Camera(tmp_path)
    yield made
    made.kill()


def age(frame):
    """Return how many seconds ago the camera made a frame; the bits of the time are its blocks."""
    centres = frame[BLOCK // 2 :: BLOCK, BLOCK // 2 :: BLOCK].mean(axis=2).ravel()[:BITS]
    made = int(np.sum((centres > 128) << np.arange(BITS)))
    return (int(1000 * time.monotonic()) - made) % 2**BITS / 1000


def test_a_slow_reader_gets_the_latest_frame(camera):
    source = open_source(camera.address, events=Events())
    ages, dropped, numbers = [], [], []
    for captured in source:
        assert captured.frame is not None
        ages.append(age(captured.frame))
        dropped.append(captured.dropped)
        numbers.append(int(captured.name))
        if len(ages) == 9:
            break
        time.sleep(0.3)  # twelve frames pass meanwhile
    source.close()
    assert sum(dropped[2:]) > 40
    assert numbers[-1] - numbers[0] == sum(dropped[1:]) + 8  # nothing is lost uncounted
    # a queue would be two seconds behind; so would, on many cores, FFmpeg with all of them
    assert np.median(ages[2:]) < 0.35


def test_a_camera_that_hangs_and_dies_comes_back(camera, monkeypatch):
    told: list[str] = []
    events = Events()
    events.listen(lambda event: told.append(event.text))
    source = open_source(camera.address, events=events)
    frames = iter(source)
    before = next(frames)
    assert before.frame is not None
    monkeypatch.setattr(sources, "SILENCE", 1.0)
    camera.freeze()
    found = before
    while found.frame is not None:
        before, found = found, next(frames)
    assert found.fault == "no frame for 1 s"
    began = time.monotonic()
    camera.kill()
    camera.start()
    while found.frame is None and time.monotonic() < began + 30:
        found = next(frames)
    assert found.frame is not None
    assert age(found.frame) < time.monotonic() - began  # and not of the time before
    assert int(found.name) > int(before.name)
    source.close()
    lost, again = told
    assert lost == f"source {camera.address}: no frames, tried again until they come"
    assert again == f"source {camera.address}: frames again"


def test_a_camera_that_hangs_gives_no_old_frames(camera, monkeypatch):
    monkeypatch.setattr(sources, "LIMITS", (15.0, 2.0))
    told: list[str] = []
    events = Events()
    events.listen(lambda event: told.append(event.text))
    source = open_source(camera.address, events=events)
    frames = iter(source)
    while age(next(frames).frame) > 0.5:
        pass  # what came while the stream was opened
    monkeypatch.setattr(sources, "SILENCE", 1.0)
    camera.freeze()
    began = time.monotonic()
    found = [next(frames)]
    while not told and time.monotonic() < began + 30:
        found.append(next(frames))
        if found[-1].frame is not None:
            assert age(found[-1].frame) < 1.5
    assert next(each.fault for each in found if each.frame is None) == "no frame for 1 s"
    assert told[0].endswith("no frames, tried again until they come")
    camera.thaw()
    began = time.monotonic()
    while len(told) < 2 and time.monotonic() < began + 30:
        next(frames)
    assert told[-1].endswith("frames again")
    camera.freeze()
    began = time.monotonic()
    source.close()
    assert time.monotonic() - began < 1.9  # the limit of a read is 2


def test_the_line_goes_on_when_the_camera_is_back(camera, bundle_folder, tmp_path):
    out, log = tmp_path / "verdicts.jsonl", tmp_path / "told.txt"
    camera.kill()  # the line begins without it
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "zeroline.edge_app", "run", "--source", camera.address,
             "--model", str(bundle_folder), "--verdicts", str(out)], stderr=stderr,
        )  # fmt: skip

    def told(words):
        assert process.poll() is None, log.read_text()
        return log.read_text().count(words)

    def seen():
        assert process.poll() is None, log.read_text()
        return out.read_text().count("\n") if out.exists() else 0

    try:
        wait_until(lambda: told("no frames, tried again") == 1, 60)
        camera.start()
        wait_until(lambda: seen() > 3)
        camera.kill()
        wait_until(lambda: told("no frames, tried again") == 2)
        before = seen()
        camera.start()
        wait_until(lambda: seen() > before + 3)
        camera.freeze()
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=8) == 0  # a read waits for ten
    finally:
        process.kill()
        process.wait()
    everything = log.read_text()
    assert everything.count("frames again") == 2
    assert "frames/s" in everything
    assert "WARN" not in everything  # OpenCV's own lines
    written = [json.loads(line) for line in out.read_text().splitlines()]
    happened = [line["event"] for line in written if "event" in line]
    assert happened == ["camera.lost", "camera.back"] * 2
    lines = [line for line in written if "frame" in line]
    assert [line["frame"] for line in lines] == list(range(len(lines)))
    numbers = [int(line["source"]) for line in lines if line["verdict"] != "FAULT"]
    assert numbers == sorted(set(numbers))
