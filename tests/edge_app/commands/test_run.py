"""``zeroline run`` on real files, a real stream over HTTP, and real signals."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from zeroline.edge_app.cli import main
from zeroline.edge_app.errors import InputError
from zeroline.edge_app.events import Event, EventName, Events
from zeroline.edge_app.sources import live as sources
from zeroline.edge_app.sources.address import open_source
from zeroline.runtime.reference.files import read_reference


def run(*arguments):
    done = CliRunner().invoke(main, ["run", *map(str, arguments)])
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return done, lines


def test_a_folder_loses_no_picture(bundle_folder, image_folder, tmp_path):
    (image_folder / "good" / "05b.png").write_bytes(b"no picture")
    done, lines = run(
        "--source", image_folder, "--model", bundle_folder, "--min-window", 4, "--settle", 3,
        "--overlays", tmp_path / "o",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    frames = [line for line in lines if "frame" in line]
    names = ["bad/07.png"] + [f"good/{n:02d}.png" for n in range(10) if n != 7]
    names.insert(names.index("good/06.png"), "good/05b.png")
    assert [line["source"] for line in frames] == names
    assert [line["frame"] for line in frames] == list(range(11))
    assert [line["part"] for line in frames] == names  # a file's name is its part's
    verdicts = {line["source"]: line["verdict"] for line in frames}
    assert verdicts["good/05b.png"] == "FAULT"
    reasons = {line["source"]: line["reason"] for line in frames}
    assert reasons["good/05b.png"] == "damaged_frame"
    assert reasons["good/00.png"] == "warming_up"
    assert all((line["reason"] is None) == (line["verdict"] == "OK") for line in frames)
    assert verdicts["good/00.png"] == "UNCERTAIN"
    revised = {line["revision_of"]: line for line in lines if "revision_of" in line}
    assert revised[0]["verdict"] == "NG"  # the scratch, seen first, is found when others came
    assert revised[0]["first_verdict"] == "UNCERTAIN"
    assert "11 frames:" in done.stderr
    assert "1 FAULT; 0 dropped" in done.stderr
    pictures = sorted((tmp_path / "o").glob("*.png"))
    shown = {"NG", "UNCERTAIN"}
    not_ok = [f for f in frames if f["verdict"] in shown and f["score"] is not None]
    assert len(pictures) == len(not_ok)


def test_the_simulated_line_with_boxes_and_a_video(tmp_path):
    done, lines = run(
        "--source", "sim://parts?parts=40&defects=0.3&seed=3", "--degrees", "fused",
        "--video", tmp_path / "seen.avi", "--verdicts", tmp_path / "verdicts.jsonl",
        "--save-reference", tmp_path / "good.npz",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert not lines
    lines = [json.loads(line) for line in (tmp_path / "verdicts.jsonl").read_text().splitlines()]
    bad = [line for line in lines if line["verdict"] == "NG"]
    assert bad
    for x, y, width, height in (box for line in bad for box in line["regions"]):
        assert 0 <= x < x + width <= 640
        assert 0 <= y < y + height <= 640
    assert all(line["regions"] for line in bad)
    film = cv2.VideoCapture(str(tmp_path / "seen.avi"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 39  # the first frame had nothing to compare with
    film.release()
    done, lines = run(
        "--source", "sim://parts?parts=3&defects=0&seed=4", "--degrees", "fused",
        "--reference", tmp_path / "good.npz",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert {line["verdict"] for line in lines} <= {"OK", "NG"}


def test_a_video_loses_no_frame(bundle_folder, tmp_path, paint):
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (96, 96))
    for seed in range(25):
        writer.write(paint(seed))
    writer.release()
    done, lines = run("--source", path, "--model", bundle_folder, "--min-window", 4)
    assert done.exit_code == 0, done.output
    assert [line["source"] for line in lines] == [str(number) for number in range(25)]
    done, lines = run("--source", path, "--model", bundle_folder, "--frames", 7)
    assert len(lines) == 7


@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_line_after_the_frame_under_way(bundle_folder, tmp_path, kind):
    out = tmp_path / "verdicts.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-m", "zeroline.edge_app", "run", "--source", "sim://parts?parts=100000",
         "--model", str(bundle_folder), "--verdicts", str(out)],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not (out.exists() and out.read_text().count("\n") > 3):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, kind)
    _, told = process.communicate(timeout=30)
    assert process.returncode == 0, told
    assert "frames/s" in told
    lines = out.read_text()
    assert lines.endswith("\n")
    assert [json.loads(line)["frame"] for line in lines.splitlines()] == list(
        range(lines.count("\n"))
    )


class Camera:
    """An MJPEG stream over HTTP; each frame's brightness tells its number."""

    def __init__(self, rate):
        camera = self
        self.rate, self.sent, self.serving = rate, 0, True

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                while camera.serving:
                    frame = np.full((64, 64, 3), camera.sent % 200 + 20, np.uint8)
                    content = cv2.imencode(".jpg", frame)[1].tobytes()
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(content)}"
                    try:
                        self.wfile.write(head.encode() + b"\r\n\r\n" + content + b"\r\n")
                    except OSError:
                        return
                    camera.sent += 1
                    time.sleep(1 / camera.rate)

            def log_message(self, *_):
                pass

        self._handler = Handler
        self.port = 0
        self.start()

    def start(self):
        self.serving = True
        ThreadingHTTPServer.allow_reuse_address = True
        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.serving = False
        self.server.shutdown()
        self.server.server_close()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.port}/stream.mjpg"


@pytest.fixture
def camera():
    made = Camera(rate=40)
    yield made
    made.stop()


def test_of_a_live_stream_a_slow_reader_gets_the_latest_frame(camera):
    source = open_source(camera.address, events=Events())
    assert source.live
    behind, dropped, numbers = [], 0, []
    for captured in source:
        assert captured.frame is not None
        behind.append(camera.sent % 200 + 20 - int(captured.frame.mean()))
        dropped += captured.dropped
        numbers.append(int(captured.name))
        if len(numbers) == 6:
            break
        time.sleep(0.5)  # twenty frames pass meanwhile
    source.close()
    assert dropped > 50
    assert numbers[-1] == dropped + 5  # counted from 0: nothing is lost uncounted
    assert max(behind[2:]) < 30  # a queue would be a hundred behind


def test_a_stream_that_is_lost_comes_back(camera, monkeypatch):
    monkeypatch.setattr(sources, "SILENCE", 1.0)
    heard: list[Event] = []
    events = Events()
    events.listen(heard.append)
    source = open_source(camera.address, events=events)
    frames = iter(source)
    assert next(frames).frame is not None
    camera.stop()
    found = next(frames)
    while found.frame is not None:
        found = next(frames)
    assert found.fault == "no frame for 1 s"
    camera.start()
    deadline = time.monotonic() + 30
    while found.frame is None and time.monotonic() < deadline:
        found = next(frames)
    source.close()
    assert found.frame is not None
    assert heard[0].name is EventName.CAMERA_LOST
    assert heard[0].text.endswith("no frames, tried again until they come")
    assert heard[-1].name is EventName.CAMERA_BACK
    assert heard[-1].text.endswith("frames again")


def test_the_password_of_a_camera_is_neither_shown_nor_kept(camera, bundle_folder, tmp_path):
    secret = "hQ7zk"  # noqa: S105 - no real one
    address = camera.address.replace("://", f"://admin:a@{secret}@") + f"?pwd={secret}"
    done, _ = run(
        "--source", address, "--model", bundle_folder, "--frames", 12, "--window", 8,
        "--min-window", 4, "--save-reference", tmp_path / "good.npz", "--overlays", tmp_path / "o",
        "--draw", "all", "--verdicts", tmp_path / "lines.jsonl",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    kept = read_reference(tmp_path / "good.npz")
    assert kept.source == f"http://…@127.0.0.1:{camera.port}/stream.mjpg?pwd=…"
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 3
    written = [path.read_bytes() for path in files] + [done.output.encode(), repr(files).encode()]
    assert not any(secret.encode() in content for content in written)


def test_sources_that_are_none(tmp_path, bundle_folder):
    (tmp_path / "film.avi").write_bytes(b"no film")
    (tmp_path / "empty").mkdir()
    for address, message in (
        (tmp_path / "none", "is no file, folder, device number, URL"),
        (tmp_path / "film.avi", "cannot be opened as a video"),
        (tmp_path / "empty", "no image in"),
        ("sim://parts?part=3", "part"),
    ):
        done, _ = run("--source", address, "--model", bundle_folder)
        assert done.exit_code == 1, done.output
        assert message in done.stderr
    with pytest.raises(InputError):
        open_source("nothing", events=Events())
    done, _ = run("--source", tmp_path, "--draw", "all")
    assert done.exit_code == 2


def test_masks_beside_pictures_are_no_parts(bundle_folder, image_folder):
    mask = Image.fromarray(np.eye(96, dtype=np.uint8) * 255)
    for path in sorted(image_folder.rglob("*.png")):
        mask.save(path.with_name(f"{path.stem}_mask.png"))
    done, lines = run("--source", image_folder, "--model", bundle_folder)
    assert done.exit_code == 0, done.output
    told, *frames = lines
    assert (told["event"], told["masks"]) == ("source.masks", 10)
    assert len(frames) == 10
    assert "note: 10 files were not taken: they are masks, such as" in done.stderr


@pytest.mark.parametrize("shape", [(16, 16000, 3), (16000, 16, 3), (96, 96, 3)])
def test_very_long_pictures_are_drawn(bundle_folder, tmp_path, shape):
    """16 of 16,000 pixels ended `--overlays` with an error of OpenCV."""
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, shape).astype(np.uint8)
        cv2.imwrite(str(tmp_path / f"{number}.png"), pixels)
    done, _ = run(
        "--source", tmp_path, "--model", bundle_folder, "--min-window", 2,
        "--overlays", tmp_path / "o", "--draw", "all",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "failed" not in done.stderr
    pictures = sorted((tmp_path / "o").glob("*.png"))
    assert len(pictures) == 5  # the first one has nothing to be compared with
    drawn = cv2.imread(str(pictures[0]))
    assert drawn is not None
    height, width = drawn.shape[:2]
    assert 480 <= max(height, width) <= 1314
    assert min(height, width) >= 96


def test_what_is_on_disk_is_a_path(image_folder, monkeypatch):
    """A folder called by a number was once a camera, one with an exclamation mark a pipeline."""
    monkeypatch.chdir(image_folder)
    (image_folder / "good").rename("20260115")
    (image_folder / "bad").rename("Lot 12!")
    for name, count in (("20260115", 9), ("Lot 12!", 1)):
        source = open_source(name, events=Events())
        assert len(list(source)) == count


def test_a_full_disk_stops_no_line_and_is_told_in_one_line(bundle_folder, image_folder):
    """The event of the loss once went to the same file, and its failure ended the line."""
    done = subprocess.run(
        [sys.executable, "-m", "zeroline.edge_app", "run", "--source", image_folder, "--model",
         bundle_folder, "--window", "8", "--min-window", "4", "--threads", "1",
         "--verdicts", "/dev/full"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    count = len(list(image_folder.rglob("*.png")))
    full = "[Errno 28] No space left on device"
    start, _, after = done.stderr.partition("window of 8 frames")
    assert start.startswith("memory: ")
    lines = after.splitlines()
    assert lines[1:3] == [
        f"JSON lines failed, 1 message(s) missed so far: {full}",
        f"JSON lines could not be finished: {full}",
    ]
    assert lines[3].startswith(f"{count} frames: ")
    assert f"; {count} missed by JSON lines; " in lines[3]
    assert lines[4:] == [f"Error: {full}"]
    assert done.returncode == 1


def test_a_window_that_cannot_be_shown_is_said_at_the_start(bundle_folder, image_folder):
    """Its close once failed as well, and hid the message."""
    try:
        cv2.namedWindow("zeroline")
        cv2.destroyAllWindows()
        pytest.skip("this OpenCV has windows")
    except cv2.error:
        pass
    done, lines = run("--source", image_folder, "--model", bundle_folder, "--show")
    assert done.exit_code == 1
    assert not lines
    assert done.stderr.splitlines()[-1] == (
        "Error: this OpenCV cannot show windows: --video or --overlays does without"
    )


@pytest.mark.parametrize(("draw", "most"), [("ng", 9), ("all", 10), ("none", 0)])
def test_which_overlays_are_drawn(bundle_folder, image_folder, tmp_path, draw, most):
    done, lines = run(
        "--source", image_folder, "--model", bundle_folder, "--min-window", 4,
        "--overlays", tmp_path / "o", "--draw", draw,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    wanted = {
        "ng": [f for f in lines if f["verdict"] != "OK" and f["score"] is not None],
        "all": [f for f in lines if f["score"] is not None],
        "none": [],
    }[draw]
    drawn = list((tmp_path / "o").glob("*.png"))
    assert len(drawn) == len(wanted) <= most


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("7", "camera /dev/video7 does not exist: "),
        ("/dev/video7", "camera /dev/video7 does not exist: "),
        ("²", "is no file, folder, device number"),
        ("v4l2src device=/dev/video0 ! videoconvert ! appsink", "this OpenCV ("),
        ("gst ! " * 2000, "this OpenCV ("),
    ],
)
def test_a_camera_that_cannot_be_is_told_at_the_start(address, told, tmp_path, monkeypatch):
    """The line waited for it without end. Where this OpenCV has GStreamer, a pipeline may be."""
    if "OpenCV" in told and "GStreamer:                   YES" in cv2.getBuildInformation():
        pytest.skip("this OpenCV has GStreamer")
    monkeypatch.chdir(tmp_path)
    done, lines = run("--source", address)
    assert (done.exit_code, lines) == (1, [])
    assert told in done.output
    assert done.output.count("Error") == 1
