"""Addresses are shown without their passwords, wherever they are."""

import contextlib
import io
import threading
import time

import pytest
from click.testing import CliRunner

from support.messages import event_message
from zeroline.edge_app.cli import main
from zeroline.edge_app.errors import InputError
from zeroline.edge_app.events import Event, Events
from zeroline.edge_app.outputs.json_lines import JsonLines
from zeroline.edge_app.passwords import without_password, without_passwords
from zeroline.edge_app.sources import live
from zeroline.edge_app.sources.address import open_source

SECRET = "hQ7zk"  # noqa: S105 - no real one
HOST = "127.0.0.1:9"
URLS = [
    f"rtsp://admin:{SECRET}@{HOST}/stream",
    f"RTSP://admin:{SECRET}@{HOST}/stream",
    f"rtsps://admin:{SECRET}@{HOST}",
    f"http://admin:{SECRET}@{HOST}/video.mjpg",
    f"https://:{SECRET}@{HOST}/",
    f"rtsp://{SECRET}@{HOST}/stream",
    f"rtsp://{SECRET}:@{HOST}/stream",
    f"rtsp://admin:a/{SECRET}@{HOST}/stream",
    f"rtsp://admin:{SECRET}/b@{HOST}/stream",
    f"rtsp://admin:a@{SECRET}@{HOST}/stream",
    f"rtsp://admin:a:{SECRET}@{HOST}/stream",
    f"rtsp://admin:a?{SECRET}@{HOST}/stream",
    f"rtsp://admin:a#{SECRET}@{HOST}/stream",
    f"rtsp://admin:a {SECRET}@{HOST}/stream",
    f"rtsp://admin:a!{SECRET}@{HOST}/stream",
    f"rtsp://admin:%41{SECRET}%40@{HOST}/stream",
    f"rtsp://admin:{SECRET}@[::1]:9/stream",
    f"http://{HOST}/cgi/video?user=admin&pwd={SECRET}",
    f"http://{HOST}/video?channel=1&password={SECRET}&subtype=0",
    f"http://{HOST}/video?token={SECRET}",
    f"http://{HOST}/video?auth={SECRET}==",
    f"http://{HOST}/video?X-Amz-Signature={SECRET}",
    f"http://{HOST}/video?api_key={SECRET}#t=1",
    f"http://{HOST}/video?q=1;key={SECRET}",
    f"http://{HOST}/video?{SECRET}",
    f"http://{HOST}/video#access_token={SECRET}",
    f"http://{HOST}/video;password={SECRET}/x.mjpg",
    f"rtsp://{HOST}/user=admin_password={SECRET}_channel=1_stream=0.sdp",
    f"rtsp://{HOST}/{SECRET}0123456789abcdef/stream",
    f"rtsp://{HOST}/cam&password={SECRET}&channel=1",
    f"rtsp://{HOST}/live/admin:{SECRET}/1",
    f"rtmp://{HOST}/app/x pubUser=a pubPasswd={SECRET}",
    f"http://{HOST}/video?pwd=a b {SECRET}",
    f'http://{HOST}/video?pwd=a"{SECRET}',
    f"http://{HOST}/video?pwd=a#{SECRET}",
    f"http://{HOST}/video?user=admin&pwd=a@{SECRET}",
    f"rtsp://{HOST}/user=admin_password=a@{SECRET}_channel=1.sdp",
    f"udp://admin:{SECRET}@{HOST}",
]
PIPELINES = [
    f"rtspsrc location=rtsp://admin:{SECRET}@{HOST}/x ! decodebin ! appsink",
    f"rtspsrc location=rtsp://{HOST}/x user-id=admin user-pw={SECRET} ! decodebin ! appsink",
    f'rtspsrc location="rtsp://{HOST}/x" user-pw = "a b ! {SECRET}" ! decodebin ! appsink',
    f"rtspsrc user-pw='{SECRET} x' location=rtsp://{HOST}/x ! decodebin ! appsink",
    f"rtspsrc user-pw=(string)a\\ {SECRET} location=rtsp://{HOST}/x ! decodebin ! appsink",
    f"rtspsrc user-pw=a!{SECRET} location=rtsp://{HOST}/x ! decodebin ! appsink",
    f'rtspsrc user-pw="a\\"{SECRET}" location=rtsp://{HOST}/x ! decodebin ! appsink',
    f"rtspsrc location=rtsp://{HOST}/x proxy-pw={SECRET} ! decodebin ! appsink",
    f'souphttpsrc extra-headers="h,Authorization=\\"Basic {SECRET}\\"" ! jpegdec ! appsink',
    f"souphttpsrc cookies=session={SECRET} location=http://{HOST} ! jpegdec ! appsink",
    f"srtsrc uri=srt://{HOST}?passphrase={SECRET}&latency=20 ! tsdemux ! appsink",
    f"srtsrc uri=srt://{HOST} passphrase={SECRET} ! tsdemux ! appsink",
    f'souphttpsrc location="http://{HOST}/x?pwd=a {SECRET}" is-live=true ! jpegdec ! appsink',
    f"rtspsrc location=rtsp://{HOST}/x?pwd=a@{SECRET} latency=0 ! decodebin ! appsink",
    f"srtpdec srtp-key=(buffer){SECRET} ! appsink",
    f"kvssrc access-key=a secret-key={SECRET} ! decodebin ! appsink",
    f"rtspsrc location=rtps:admin:p={SECRET}@{HOST} ! decodebin ! appsink",
    f"uridecodebin uri=rtsp:/admin:{SECRET}@{HOST} ! appsink",
]
MISTYPED = [
    f"rtps://admin:{SECRET}@{HOST}/stream",
    f"rtsp:/admin:{SECRET}@{HOST}/stream",
    f"rtsp:admin:{SECRET}@{HOST}/stream",
    f"rtsp//admin:{SECRET}@{HOST}/stream",
    f"rtsp;//admin:{SECRET}@{HOST}/stream",
    f"rtsp:\\\\admin:{SECRET}@{HOST}/stream",
    f"//admin:{SECRET}@{HOST}/stream",
    f"admin:{SECRET}@{HOST}/stream",
    f"{SECRET}@{HOST}/stream",
    f"ttp://{HOST}/video?pwd={SECRET}",
    f"http:/{HOST}/video?token={SECRET}",
    f"{HOST}/video?token={SECRET}",
    f"sim://admin:{SECRET}@parts",
    f"sim://parts?password={SECRET}",
]
ALL = [*URLS, *PIPELINES, *MISTYPED]


@pytest.mark.parametrize("address", ALL)
def test_the_password_is_hidden(address):
    """It was shown for user-pw=, a / in the password, pwd= in a query, a mistyped scheme."""
    shown = without_password(address)
    assert SECRET not in shown
    assert without_password(shown) == shown
    assert "…" in shown


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (f"rtsp://u:p@{HOST}/Streaming/Channels/101?transportmode=unicast",
         f"rtsp://…@{HOST}/Streaming/Channels/101?transportmode=unicast"),
        (f"rtsp://u:p@{HOST}/cam/realmonitor?channel=1&subtype=0&x=1",
         f"rtsp://…@{HOST}/cam/realmonitor?channel=1&subtype=0&x=…"),
        (f"rtspsrc location=rtsp://u:p@{HOST}/x latency=0 ! rtph264depay ! appsink",
         f"rtspsrc location=rtsp://…@{HOST}/x latency=0 ! rtph264depay ! appsink"),
        (f"http://{HOST}/video?pwd=x&subtype=0&resolution=1920x1080",
         f"http://{HOST}/video?pwd=…&subtype=0&resolution=1920x1080"),
        ("souphttpsrc location=http://h/x?a=1&channel=2 is-live=true ! appsink",
         "souphttpsrc location=http://h/x?a=…&channel=2 is-live=true ! appsink"),
        ("rtspsrc location=rtsp://h/1 user-pw=p latency=0 ! appsink",
         "rtspsrc location=rtsp://h/1 user-pw=… latency=0 ! appsink"),
    ],
)  # fmt: skip
def test_what_tells_the_camera_stays(address, shown):
    assert without_password(address) == shown


@pytest.mark.parametrize("address", [
    "0", "rtsp://10.0.0.7:554/h264Preview_01_main", "http://cam/video.mjpg", "/data/parts/20260115",
    "v4l2src device=/dev/video0 ! videoconvert ! appsink", "sim://parts?seed=3", "a/b.mp4",
    "videotestsrc num-buffers=3 ! video/x-raw,format=BGR,width=64 ! appsink", "",
])  # fmt: skip
def test_addresses_without_a_password_stay_as_they_are(address):
    assert without_password(address) == address


def test_a_path_that_exists_is_no_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lot:7@press token=5").mkdir()
    assert without_password("lot:7@press token=5") == "lot:7@press token=5"


@pytest.mark.parametrize("address", ALL)
def test_a_source_that_is_lost_or_none_shows_no_password(address, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(live, "LIMITS", (1.0, 1.0))
    file, heard = io.StringIO(), threading.Event()
    told: list[Event] = []
    lines, events = JsonLines(file), Events()

    def line(event: Event) -> None:
        lines.take(event_message(1, event))

    for listener in (line, told.append, lambda _: heard.set()):
        events.listen(listener)
    try:
        source = open_source(address, events=events)
    except InputError as error:
        shown = str(error)
    else:
        with contextlib.closing(source):
            assert heard.wait(20)
        shown = file.getvalue() + "".join(f"{event.text} {event.data}" for event in told)
    assert SECRET not in shown
    assert shown


@pytest.mark.parametrize("address", ALL)
def test_no_error_of_a_command_shows_it(address, tmp_path, monkeypatch):
    """`zeroline run ADDRESS`, with the option's name forgotten, repeated it."""
    monkeypatch.chdir(tmp_path)
    for arguments in (
        ["run", address],
        ["run", "--source", "sim://parts", "--model", address],
        ["run", "--source", "sim://parts", f"--threshold={address}"],
        ["run", f"--sourc={address}"],
        ["score", address],
        ["score", address, "--debug"],
        ["evaluate", address],
        ["reference", "show", address],
        ["reference", "build", address, "--output", "set.npz"],
        ["threshold", address, "--threshold", "1"],
        [address],
    ):
        done = CliRunner().invoke(main, arguments)
        assert done.exit_code in (1, 2), arguments
        assert SECRET not in done.output, arguments
        assert "Error: " in done.output, arguments


@pytest.mark.parametrize(
    "text", ["a", "pw=", "user-pw=a ", "/", "http://", "a@", "?a&", " ", "/a1"]
)
def test_long_texts_take_no_time(text):
    began = time.monotonic()
    without_password(text * (30_000 // len(text)))
    assert time.monotonic() - began < 5


def test_only_the_arguments_change_in_a_message():
    arguments = ["run", "--source=rtsp://u:p@h/x", "-q"]
    text = "[Errno 2] No such file: '/home/me@work/x'; rtsp:/u:p@h; rtsp://u:p@h/x"
    assert without_passwords(text, arguments) == (
        "[Errno 2] No such file: '/home/me@work/x'; rtsp:/…@h; rtsp://…@h/x"
    )
