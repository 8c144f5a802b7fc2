"""Videos that are damaged, cut, of any kind: every frame is a frame or a fault, none is lost."""

import io
import json
import os
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

pytest.importorskip("av")

from support.films import decoded, jpeg, picture, write, write_packets
from zeroline.edge_app.cli import main
from zeroline.edge_app.errors import InputError
from zeroline.edge_app.events import Event, EventName, Events
from zeroline.edge_app.sources.address import open_source
from zeroline.runtime.results import Reason

DAMAGE = {
    "zeros": lambda whole: bytes(len(whole)),
    "half": lambda whole: whole[: len(whole) // 2],
    "a byte": lambda whole: whole[:1],
}


def played(address):
    """Everything that came from a source, what was told, and the source."""
    heard: list[Event] = []
    events = Events()
    events.listen(heard.append)
    source = open_source(str(address), events=events)
    return list(source), heard, source


def test_a_frame_that_is_damaged_is_a_fault_and_the_others_are_inspected(bundle_folder, tmp_path):
    """The video once ended there, with exit code 0 and no word."""
    packets = [jpeg(number) for number in range(24)]
    packets[11] = bytes(len(packets[11]))
    packets[15] = packets[15][: len(packets[15]) // 2]
    write_packets(tmp_path / "film.avi", packets)
    arguments = ["run", "--source", tmp_path / "film.avi", "--model", bundle_folder]
    done = CliRunner().invoke(main, [*map(str, arguments), "--min-window", "4"])
    assert done.exit_code == 1, done.output
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    frames = [line for line in lines if "frame" in line]
    assert [line["source"] for line in frames] == [str(number) for number in range(24)]
    faults = {line["source"]: line["reason"] for line in frames if line["verdict"] == "FAULT"}
    assert faults == {"11": "damaged_frame", "15": "damaged_frame"}
    assert not any(line["admitted"] for line in frames if line["verdict"] == "FAULT")
    told = f"source {tmp_path / 'film.avi'}: 24 frames were announced, 24 came, 2 of them damaged"
    assert told in done.stderr
    (count,) = [line for line in lines if line.get("event") == "source.count"]
    assert (count["announced"], count["came"], count["damaged"]) == (24, 24, 2)


@pytest.mark.parametrize("kind", ["avi", "mp4", "mkv", "mov"])
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("place", [0, 5, 11])
def test_what_pillow_refuses_is_never_a_frame(tmp_path, kind, damage, place):
    """FFmpeg fills half a JPEG with grey, and calls it whole."""
    packets = [jpeg(number) for number in range(12)]
    packets[place] = DAMAGE[damage](packets[place])
    path = tmp_path / f"film.{kind}"
    write_packets(path, packets)
    found, heard, source = played(path)
    assert [captured.name for captured in found] == [str(number) for number in range(12)]
    assert [n for n, captured in enumerate(found) if captured.frame is None] == [place]
    assert found[place].reason is Reason.DAMAGED_FRAME
    assert found[place].fault
    assert source.incomplete
    assert [event.name for event in heard] == [EventName.SOURCE_COUNT]
    for number, captured in enumerate(found):
        if captured.frame is not None:
            assert abs(captured.frame[:, :, ::-1].astype(int) - picture(number)).mean() < 6


@pytest.mark.parametrize("kind", ["avi", "mp4", "mkv"])
@pytest.mark.parametrize("share", [0.3, 0.62, 0.9])
def test_a_cut_file_is_told(tmp_path, kind, share):
    """A cut video once ended early, with exit code 0 and no word."""
    path = tmp_path / f"film.{kind}"
    if kind == "mp4":
        write(path, "libx264", container={"movflags": "faststart"})
    else:
        write_packets(path, [jpeg(number) for number in range(24)])
    whole, heard, source = played(path)
    assert (len(whole), heard, source.incomplete) == (24, [], False)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    try:
        found, heard, source = played(path)
    except InputError:
        assert kind == "mp4"  # its begin is a table
        return
    assert 0 < len(found) < 24
    assert source.incomplete
    (event,) = heard
    assert event.text.startswith(f"warning: source {path}: 24 frames were announced, {len(found)}")


@pytest.mark.parametrize(
    ("name", "codec", "kind"),
    [
        ("a.ts", "libx264", "mpegts"), ("a.h264", "libx264", "h264"), ("a.mkv", "libx264", None),
        ("a.mp4", "libx264", None), ("a.webm", "libvpx-vp9", None), ("a.mjpeg", "mjpeg", "mjpeg"),
        ("without_ending", "libx264", "mp4"), ("a.bin", "mjpeg", "avi"),
    ],
)  # fmt: skip
def test_kinds_of_videos_are_read_as_another_reader_does(tmp_path, name, codec, kind):
    write(tmp_path / name, codec, kind=kind)
    found, heard, source = played(tmp_path / name)
    assert (heard, source.incomplete) == ([], False)
    expected = decoded(tmp_path / name)
    assert len(found) == len(expected) == 24
    for captured, other in zip(found, expected, strict=True):
        assert abs(captured.frame[:, :, ::-1].astype(int) - other).mean() < 6


def test_a_varying_rate_is_no_loss(tmp_path):
    """A length and a rate announce 164 frames of 30."""
    pauses = np.random.default_rng(0).integers(33, 1000, 30)
    write(tmp_path / "a.mkv", "libx264", frames=30, times=np.cumsum(pauses).tolist())
    found, heard, source = played(tmp_path / "a.mkv")
    assert (len(found), source.incomplete) == (30, False)
    assert "30 came up to its end, at a varying rate" in heard[0].text


def test_a_video_without_a_decoder_is_an_error(tmp_path):
    """AV1 once gave no frame, exit code 0 and no word."""
    import av

    if "libsvtav1" not in av.codecs_available:
        pytest.skip("no AV1 encoder")
    write(tmp_path / "a.mp4", "libsvtav1", options={"svtav1-params": "lp=1"})
    with pytest.raises(InputError, match=r"no frame can be decoded \(codec AV01, 24 frames"):
        played(tmp_path / "a.mp4")  # the wheels of OpenCV have no decoder


def test_what_is_neither_a_video_nor_an_image_is_called_so(tmp_path):
    """FFmpeg plays texts, and one tile of a HEIC file; it fills a picture that is cut."""
    (tmp_path / "notes.txt").write_text("a text, which FFmpeg plays as a film\n" * 40)
    (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(400))
    (tmp_path / "a.dat").write_bytes(bytes(4000))
    for name, word in (
        ("notes.txt", "a text or a single"),
        ("a.heic", "HEIC"),
        ("a.dat", "cannot be opened"),
    ):
        with pytest.raises(InputError, match=f"is neither an image nor a video: .*{word}"):
            played(tmp_path / name)
    for kind in ("BMP", "WEBP", "JPEG2000", "PPM", "PNG"):
        Image.fromarray(picture(0)).save(tmp_path / "whole", kind)
        half = (tmp_path / "whole").read_bytes()[:-99]
        (tmp_path / "a.mp4").write_bytes(half)
        (tmp_path / "a.part").write_bytes(half)
        for name in ("a.mp4", "a.part"):
            try:
                found, _, _ = played(tmp_path / name)
            except InputError:
                continue
            assert [captured.frame for captured in found] == [None], kind
    Image.fromarray(picture(0)).save(tmp_path / "a.part", "PNG")
    found, _, _ = played(tmp_path / "a.part")
    np.testing.assert_array_equal(found[0].frame[:, :, ::-1], picture(0))


@pytest.mark.parametrize("codec", ["libx264", "mjpeg"])
@pytest.mark.parametrize("turn", [90, 180, 270])
def test_a_video_that_says_it_is_turned_is_turned(tmp_path, codec, turn):
    """A phone stores it as it lies in the sensor; a matrix in the file says how it is seen."""
    write(tmp_path / "a.mp4", codec, frames=3)
    plain = [captured.frame for captured in played(tmp_path / "a.mp4")[0]]
    film = bytearray((tmp_path / "a.mp4").read_bytes())
    one, minus = (1 << 16).to_bytes(4, "big"), (-1 << 16).to_bytes(4, "big", signed=True)
    none, last = bytes(4), (1 << 30).to_bytes(4, "big")
    first_four = {90: (none, one, minus, none), 180: (minus, none, none, minus),
                  270: (none, minus, one, none)}[turn]  # fmt: skip
    a, b, c, d = first_four
    place = film.index(one + none * 3 + one + none * 3 + last, film.index(b"tkhd"))
    film[place : place + 36] = a + b + none + c + d + none * 3 + last
    (tmp_path / "a.mp4").write_bytes(film)
    for frame, upright in zip(played(tmp_path / "a.mp4")[0], plain, strict=True):
        np.testing.assert_array_equal(frame.frame, np.rot90(upright, -turn // 90))


def test_videos_without_compression_are_read_and_a_cut_one_is_told(tmp_path):
    path = tmp_path / "a.avi"
    writer = cv2.VideoWriter(str(path), 0, 10, (96, 96))
    for number in range(6):
        writer.write(np.ascontiguousarray(picture(number)[:, :, ::-1]))
    writer.release()
    found, heard, _ = played(path)
    assert (len(found), heard) == (6, [])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found, heard, source = played(path)
    assert sum(captured.frame is not None for captured in found) in (2, 3)
    assert source.incomplete
    assert heard


def test_two_fields_of_a_frame_are_no_half_picture(tmp_path):
    """Old grabbers send two JPEGs of half the rows; FFmpeg weaves them."""
    packets = []
    for number in range(6):
        fields = [io.BytesIO(), io.BytesIO()]
        for first, file in enumerate(fields):
            Image.fromarray(picture(number)[first::2]).save(file, "JPEG", quality=90)
        packets.append(b"".join(file.getvalue() for file in fields))
    write_packets(tmp_path / "a.avi", packets)
    found, _, source = played(tmp_path / "a.avi")
    assert not source.incomplete
    for number, captured in enumerate(found):
        assert captured.frame.shape == (96, 96, 3)
        assert abs(captured.frame[:, :, ::-1].astype(int) - picture(number)).mean() < 6


def test_pictures_without_huffman_tables_are_read(tmp_path):
    """As many USB cameras send them."""
    packets = []
    for number in range(4):
        rest, bare = jpeg(number)[2:], b"\xff\xd8"
        while rest[:2] != b"\xff\xda":
            size = 2 + int.from_bytes(rest[2:4], "big")
            bare += b"" if rest[1] == 0xC4 else rest[:size]
            rest = rest[size:]
        packets.append(bare + rest)
    write_packets(tmp_path / "a.avi", packets)
    found, _, source = played(tmp_path / "a.avi")
    assert not source.incomplete
    for number, captured in enumerate(found):
        assert abs(captured.frame[:, :, ::-1].astype(int) - picture(number)).mean() < 6


def test_ffmpeg_writes_no_lines_of_its_own(tmp_path):
    write(tmp_path / "a.avi", "mpeg4")
    film = bytearray((tmp_path / "a.avi").read_bytes())
    middle = len(film) // 2
    film[middle : middle + 400] = np.random.default_rng(0).bytes(400)
    (tmp_path / "a.avi").write_bytes(film)
    (tmp_path / "b.mp4").write_bytes(b"no film")
    code = (
        "import sys; from zeroline.edge_app.events import Events\n"
        "from zeroline.edge_app.errors import InputError\n"
        "from zeroline.edge_app.sources.address import open_source\n"
        "for path in sys.argv[1:]:\n"
        "    try: print(len(list(open_source(path, events=Events()))))\n"
        "    except InputError: print(0)"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OPENCV_FFMPEG_LOGLEVEL"}
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.avi", tmp_path / "b.mp4"],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    assert int(done.stdout.split()[0]) > 10
    assert done.stderr == ""


class Handler(BaseHTTPRequestHandler):
    """A video file, a camera that sends one JPEG for a request, and one that sends a stream."""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        server.requests += 1
        if self.path == "/snapshot":
            content = jpeg(server.requests)
            self._answer("image/jpeg", content[: len(content) // (1 + (server.requests == 8))])
        elif self.path == "/stream":
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
            self.end_headers()
            for number in range(1000):
                content = jpeg(number)
                content = content[: len(content) // 2] if number % 2 else content
                head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(content)}"
                try:
                    self.wfile.write(head.encode() + b"\r\n\r\n" + content + b"\r\n")
                    time.sleep(0.02)
                except OSError:
                    return
        else:
            self._answer("video/mp4", server.film)

    def _answer(self, kind: str, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    requests = 0
    film = b""


@pytest.fixture
def server():
    with Server(("127.0.0.1", 0), Handler) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


def address(server, path):
    return f"http://127.0.0.1:{server.server_address[1]}/{path}"


@pytest.mark.parametrize(("name", "kind"), [("a.mp4", "mp4"), ("a.ts", "mpegts"), ("film", "mp4")])
def test_a_video_file_behind_a_url_is_played_once(server, tmp_path, name, kind):
    """It was once a camera that is lost at its end, and played again."""
    write(tmp_path / "film", "libx264", kind=kind)
    server.film = (tmp_path / "film").read_bytes()
    found, heard, source = played(address(server, f"{name}?size=1"))
    assert (len(found), heard, source.live) == (24, [], False)


def test_a_camera_that_sends_one_picture_a_request_is_not_lost(server):
    heard: list[Event] = []
    events = Events()
    events.listen(heard.append)
    source = open_source(address(server, "snapshot"), events=events)
    assert source.live
    found = []
    for captured in source:
        found.append(captured)
        if len(found) == 12:
            break
    source.close()
    assert heard == []
    assert all("truncated" in c.fault for c in found if c.frame is None)
    assert sum(c.frame is not None for c in found) >= 11


def test_half_a_picture_of_a_stream_is_a_fault(server):
    source = open_source(address(server, "stream"), events=Events())
    found = []
    for captured in source:
        found.append(captured)
        if len(found) == 12:
            break
    source.close()
    faults = [c for c in found if c.frame is None]
    assert 0 < len(faults) < 12
    assert {c.reason for c in faults} == {Reason.DAMAGED_FRAME}
    for captured in found:
        if captured.frame is not None:  # no grey half
            assert abs(captured.frame[64:, :, ::-1].astype(int) - picture(0)[64:]).mean() < 6
