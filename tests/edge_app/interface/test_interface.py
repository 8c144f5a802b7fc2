"""The local interface over real sockets, before a small station that inspects real frames."""

import http.client
import json
import re
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import urllib3
from prometheus_client.parser import text_string_to_metric_families

from support.machine import ROOT
from support.messages import alarm_message, event_message, part_message, revision_message, until
from support.small_station import SmallStation, numbered, wait_for_pictures
from zeroline.edge_app.captured import Captured
from zeroline.edge_app.control import Answer, Health, Newest
from zeroline.edge_app.errors import InputError
from zeroline.edge_app.interface import live, repeated
from zeroline.edge_app.interface.app import made_app
from zeroline.edge_app.interface.interface import Interface
from zeroline.edge_app.interface.metrics import Metrics
from zeroline.runtime import Inspection, RecurringDefect, Revision, Verdict
from zeroline.runtime.results import Reason

ANSWER = {"X-Zeroline": "1"}


@pytest.fixture
def station(bundle_folder, paint):
    with SmallStation(bundle_folder, [paint(n, scratch=n == 7) for n in range(8)]) as made:
        yield made


@pytest.fixture
def still():
    """A station that does not inspect: nothing moves but what a test moves."""
    return SmallStation(None, [])


@pytest.fixture
def serve():
    opened = []

    def start(control, *, listen="127.0.0.1:0", metrics=None):
        opened.append(Interface(control, listen=listen, metrics=metrics or Metrics()))
        opened[-1].start()
        return opened[-1]

    yield start
    for interface in opened:
        interface.close()


def ask(interface, path, method="GET", body=None, **headers):
    """Return status, headers and body."""
    host, _, port = interface.address.rpartition(":")
    connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=10)
    packed = None if body is None else json.dumps(body)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    sent |= {} if body is None else {"Content-Type": "application/json"}
    connection.request(method, path, packed, sent)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content


def post(interface, path, body, **headers):
    headers = {"X_Zeroline": "1"} | headers
    status, _, content = ask(interface, f"/api/v1/{path}", "POST", body, **headers)
    return status, json.loads(content)


def test_health_is_told_by_the_status(still, serve):
    interface = serve(still)
    for health, alive, ready in (
        (Health(True, True), 200, 200),
        (Health(True, False, ("the station is paused",)), 200, 503),
        (Health(False, False, ("the inspection hangs",)), 503, 503),
    ):
        still.well = health
        status, headers, body = ask(interface, "/healthz")
        assert (status, headers["Cache-Control"]) == (alive, "no-store")
        assert json.loads(body)["reasons"] == list(health.reasons)
        assert ask(interface, "/readyz")[0] == ready
        assert ask(interface, "/api/v1/health")[0] == 200


def test_state_and_recipes(still, serve):
    interface = serve(still)
    assert json.loads(ask(interface, "/api/v1/state")[2]) == still.state()
    recipes = json.loads(ask(interface, "/api/v1/recipes")[2])
    assert recipes == {"recipes": ["bracket-a", "default"], "running": {"top": "default"}}


def test_what_is_told_arrives(still, serve):
    interface = serve(still)
    asked = {"part": "A-1", "lot": "L", "serial": "S", "recipe": "bracket-a"}
    assert post(interface, "trigger", asked) == (202, {"part": "A-1"})
    for path, body in (
        ("feedback", {"part": "A-1", "answer": "false_alarm", "note": "dust", "by": "ann"}),
        ("feedback", {"part": "A-2", "answer": "false_alarm", "by": "ann", "join": True}),
        ("threshold", {"reset": True, "by": "ann"}),
        ("recipe", {"recipe": "bracket-a", "by": "ann"}),
        ("recipe", {"recipe": "default", "camera": "top", "by": "ann"}),
        ("pause", {"on": True, "by": "ann"}),
        ("pause", {"on": False, "by": "ann"}),
        ("setup", {"on": True, "by": "ann"}),
    ):
        assert post(interface, path, body) == (200, {"done": True})
    assert still.told == [
        ("trigger", "A-1", "L", "S", "bracket-a"),
        ("feedback", "A-1", Answer.FALSE_ALARM, "dust", "ann", False),
        ("feedback", "A-2", Answer.FALSE_ALARM, "", "ann", True),
        ("reset", "ann"),
        ("switch", None, "bracket-a", "ann"),
        ("switch", "top", "default", "ann"),
        ("pause", True, "ann"),
        ("pause", False, "ann"),
        ("setup", True, "ann"),
    ]


@pytest.mark.parametrize(
    ("path", "body", "status", "kind"),
    [
        ("trigger", {"name": "side"}, 404, "unknown"),
        ("feedback", {"part": "none", "answer": "missed", "by": "ann"}, 404, "unknown"),
        ("recipe", {"recipe": "x", "by": "ann"}, 404, "unknown"),
        ("pause", {"on": False, "by": "ann"}, 409, "not_now"),
        ("trigger", {"prt": "A-1"}, 422, "invalid"),
        ("trigger", {"part": "x" * 201}, 422, "invalid"),
        ("feedback", {"part": "A-1", "answer": "perhaps", "by": "ann"}, 422, "invalid"),
        ("feedback", {"part": "A-1", "answer": "note", "by": "ann"}, 422, "invalid"),
        ("feedback", {"part": "A-1", "answer": "missed", "by": "a", "join": True}, 422, "invalid"),
        ("threshold", {"reset": False, "by": "ann"}, 422, "invalid"),
        ("pause", {"on": "yes", "by": "ann"}, 422, "invalid"),
        ("pause", {"on": True, "by": " "}, 422, "invalid"),
    ],
)
def test_what_is_refused_is_a_problem(still, serve, path, body, status, kind):
    interface = serve(still)
    got, headers, content = ask(interface, f"/api/v1/{path}", "POST", body, X_Zeroline="1")
    found = json.loads(content)
    assert (got, found["status"], found["kind"]) == (status, status, kind)
    assert headers["Content-Type"] == "application/problem+json"
    assert found["type"] == "about:blank"
    assert found["detail"]
    assert still.told == []


def test_a_full_queue_is_503(still, serve):
    interface = serve(still)
    answers = [post(interface, "trigger", {})[0] for _ in range(10)]
    assert answers == [202] * 8 + [503] * 2


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/redoc", "/api/v1/nothing", "/api/v1/cameras/x/picture.jpg"]
)
def test_what_is_not_there_is_a_problem(still, serve, path):
    status, headers, body = ask(serve(still), path)
    assert (status, headers["Content-Type"]) == (404, "application/problem+json")
    assert json.loads(body)["detail"]
    assert ask(serve(still), "/api/v1/state", "DELETE", X_Zeroline="1")[0] == 405


def test_a_fault_of_the_station_is_told_without_its_inside(still, serve):
    still.state = lambda: 1 / 0
    status, headers, body = ask(serve(still), "/api/v1/state")
    assert (status, headers["Content-Type"]) == (500, "application/problem+json")
    assert b"division" not in body


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1:1", "127.0.0.1", ""]
)
def test_a_page_whose_name_leads_here_is_refused(still, serve, host):
    interface = serve(still)
    port = interface.address.rpartition(":")[2]
    for path in ("/api/v1/state", "/healthz", "/metrics"):
        status, headers, _ = ask(interface, path, Host=host.format(port=port))
        assert (status, headers["Content-Type"]) == (421, "application/problem+json")
    for name in ("localhost", "LOCALHOST", "[::1]", "127.0.0.1"):
        assert ask(interface, "/healthz", Host=f"{name}:{port}")[0] == 200


def test_what_changes_something_needs_the_header(still, serve):
    """A form of a foreign page may post, but not with a header of its own."""
    interface = serve(still)
    for headers in ({}, {"X_Zeroline": "0"}, {"Origin": "http://evil.example"}):
        status, answer, _ = ask(interface, "/api/v1/trigger", "POST", {}, **headers)
        assert status == 403
        assert "Access-Control-Allow-Origin" not in answer
    preflight = {"Origin": "http://evil.example", "Access_Control_Request_Method": "POST",
                 "Access_Control_Request_Headers": "x-zeroline"}  # fmt: skip
    status, answer, _ = ask(interface, "/api/v1/trigger", "OPTIONS", **preflight)
    assert status == 403
    assert "Access-Control-Allow-Origin" not in answer
    assert still.told == []


def test_a_long_body_is_refused_also_without_its_length(still, serve):
    interface = serve(still)
    assert post(interface, "trigger", {"part": "x" * 70_000})[0] == 413
    chunks = iter([b"x" * 40_000] * 3)
    answer = urllib3.request(
        "POST", f"http://{interface.address}/api/v1/trigger", body=chunks, headers=ANSWER,
        retries=False,
    )  # fmt: skip
    assert answer.status == 413


def test_the_same_key_gets_the_same_answer_and_no_second_part(still, serve, monkeypatch):
    interface = serve(still)
    first = post(interface, "trigger", {"lot": "L"}, Idempotency_Key="k-1")
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(
            lambda _: post(interface, "trigger", {"lot": "L"}, Idempotency_Key="k-1"), range(12)
        ))  # fmt: skip
    assert set(map(str, again)) == {str(first)}
    assert len(still.told) == 1
    other = post(interface, "trigger", {"lot": "M"}, Idempotency_Key="k-1")
    assert (other[0], other[1]["kind"]) == (422, "invalid")
    assert post(interface, "trigger", {"lot": "L"}, Idempotency_Key="k-2")[1] != first[1]
    # what was refused may be asked again
    while post(interface, "trigger", {})[0] == 202:
        pass
    assert post(interface, "trigger", {}, Idempotency_Key="k-3")[0] == 503
    still.empty()
    assert post(interface, "trigger", {}, Idempotency_Key="k-3")[0] == 202
    count = len(still.told)
    monkeypatch.setattr(repeated, "KEPT", 0.0)
    assert post(interface, "trigger", {"lot": "L"}, Idempotency_Key="k-1")[0] == 202
    assert len(still.told) == count + 1


def test_four_clients_get_a_part_for_each_trigger(bundle_folder, paint, serve):
    with SmallStation(bundle_folder, [paint(0)], queue=400) as station:
        interface = serve(station)
        names = [f"A-{n}" for n in range(400)]
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda name: post(interface, "trigger", {"part": name}), names))
    assert [answer[1]["part"] for answer in answers] == names
    assert sorted(told[1] for told in station.told) == sorted(names)


def test_a_picture_shows_the_newest_frame_with_its_overlay(station, serve):
    interface = serve(station)
    wait_for_pictures(station, 9)
    status, headers, content = ask(interface, "/api/v1/cameras/top/picture.jpg")
    assert (status, headers["Content-Type"]) == (200, "image/jpeg")
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (480 + 34, 480, 3)
    assert int(headers["X-Zeroline-Frame"]) >= 9


@pytest.mark.parametrize("reason", [Reason.NO_FRAME, Reason.WARMING_UP])
def test_a_frame_without_a_score_is_shown_for_what_it_is(still, serve, paint, reason):
    verdict = Verdict.FAULT if reason is Reason.NO_FRAME else Verdict.UNCERTAIN
    captured = Captured(None if verdict is Verdict.FAULT else paint(1), "1.png")
    inspection = Inspection(1, None, verdict, reason, 0.0, 0.0, fault="no frame für 1 s")
    still.show(Newest(1, captured, inspection))
    status, _, content = ask(serve(still), "/api/v1/cameras/top/picture.jpg")
    assert status == 200
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    dark = picture[:-34].max() < 20
    assert dark == (verdict is Verdict.FAULT)


def test_before_the_first_frame_there_is_no_picture(still, serve):
    status, _, body = ask(serve(still), "/api/v1/cameras/top/picture.jpg")
    assert (status, json.loads(body)["kind"]) == (404, "unknown")


class Stream:
    """A viewer of a stream of pictures; reads as fast as it is told."""

    def __init__(self, interface):
        self.pool = urllib3.PoolManager(retries=False)
        url = f"http://{interface.address}/api/v1/cameras/top/stream.mjpg"
        self.answer = self.pool.request("GET", url, preload_content=False, timeout=5)
        assert self.answer.status == 200
        kind = self.answer.headers["Content-Type"]
        assert kind == "multipart/x-mixed-replace; boundary=zeroline-frame"
        self._file = self.answer

    def picture(self):
        """Return number and JPEG of the next picture; None at the end."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            if head == b"--zeroline-frame--\r\n":
                return None
            head += self._file.read(1)
        fields = dict(line.split(": ") for line in head.decode().split("\r\n") if ": " in line)
        jpeg = self._file.read(int(fields["Content-Length"]))
        assert self._file.read(2) == b"\r\n"
        return int(fields["X-Zeroline-Frame"]), jpeg

    def close(self):
        self.answer.close()
        self.pool.clear()


def test_a_stream_is_encoded_once_for_all_and_only_while_someone_looks(station, serve, monkeypatch):
    encoded = []
    real = live.LiveView._encoded

    def counted(self, newest):
        encoded.append(newest.number)
        return real(self, newest)

    monkeypatch.setattr(live.LiveView, "_encoded", counted)
    interface = serve(station)
    wait_for_pictures(station, 5)
    assert encoded == []
    began = time.monotonic()
    viewers = [Stream(interface) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool:
        seen = list(pool.map(lambda viewer: [viewer.picture() for _ in range(8)], viewers))
    seconds = time.monotonic() - began
    for viewer in viewers:
        viewer.close()
    for pictures in seen:
        numbers = [number for number, _ in pictures]
        assert numbers == sorted(set(numbers))
        assert all(jpeg.startswith(b"\xff\xd8") for _, jpeg in pictures)
    assert len(encoded) <= seconds / live.PERIOD + 2  # not three times as many
    time.sleep(0.3)
    count = len(encoded)
    time.sleep(0.5)
    assert len(encoded) == count


def test_a_slow_viewer_gets_newer_frames_and_no_backlog(still, serve):
    noise = np.random.default_rng(0).integers(0, 256, (960, 1280, 3)).astype(np.uint8)
    stop = threading.Event()
    count = [0]

    def camera():
        while not stop.wait(0.02):
            count[0] += 1
            still.show(numbered(count[0], noise))

    thread = threading.Thread(target=camera)
    thread.start()
    try:
        until(lambda: count[0])
        viewer = slow_viewer(serve(still))
        assert next(viewer)[1] > 300_000
        time.sleep(3)  # 150 frames pass; without a bound 30 pictures would wait
        behind = []
        for _ in range(6):
            number, _ = next(viewer)
            behind.append(count[0] - number)
        viewer.close()
    finally:
        stop.set()
        thread.join()
    old = [frames for frames in behind if frames > 50]
    assert len(old) <= 3, behind
    assert behind[-1] < 50, behind


def slow_viewer(interface):
    """Yield numbers and sizes of pictures; its kernel keeps little for it."""
    host, port = interface.address.split(":")
    with socket.socket() as viewer:
        viewer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        viewer.connect((host, int(port)))
        path = "/api/v1/cameras/top/stream.mjpg"
        viewer.sendall(f"GET {path} HTTP/1.1\r\nHost: {interface.address}\r\n\r\n".encode())
        with viewer.makefile("rb") as lines:
            size = 0
            for line in lines:
                name, _, value = line.decode("latin-1").partition(": ")
                if name == "Content-Length":
                    size = int(value)
                elif name == "X-Zeroline-Frame":
                    yield int(value), size


def test_a_stream_ends_when_the_station_stops(station, serve):
    interface = serve(station)
    wait_for_pictures(station, 5)
    viewer = Stream(interface)
    assert viewer.picture() is not None
    began = time.monotonic()
    interface.close()
    assert time.monotonic() - began < 2
    assert not interface._thread.is_alive()
    while viewer.picture() is not None:
        pass
    viewer.close()


def test_a_viewer_that_does_not_read_holds_no_end_up(still, serve):
    noise = np.random.default_rng(0).integers(0, 256, (960, 1280, 3)).astype(np.uint8)
    still.show(numbered(1, noise))
    interface = serve(still)
    viewer = slow_viewer(interface)
    assert next(viewer)
    for number in range(2, 6):  # the server waits in the middle of one of them
        still.show(numbered(number, noise))
        time.sleep(0.2)
    began = time.monotonic()
    interface.close()
    assert time.monotonic() - began < 2
    assert not interface._thread.is_alive()
    viewer.close()


def test_a_port_that_is_taken_is_one_line(still, serve):
    interface = serve(still)
    with pytest.raises(InputError) as refused:
        serve(still, listen=interface.address)
    assert str(refused.value) == (
        f'page.listen is "{interface.address}": another program listens there, perhaps another '
        "station"
    )
    with pytest.raises(InputError, match="0 to 65535"):
        serve(still, listen="127.0.0.1:99999")


def test_it_listens_on_every_name_of_this_machine(still, serve):
    for listen in ("localhost:0", "[::1]:0"):
        if listen.startswith("[") and not socket.has_ipv6:
            continue
        interface = serve(still, listen=listen)
        assert ask(interface, "/healthz")[0] == 200
        assert interface.address.rpartition(":")[0] == listen.rpartition(":")[0]


def test_a_station_that_hangs_hangs_no_end(still, serve):
    """The interface waits for the station, and still ends in its time."""
    interface = serve(still)
    still.hangs.clear()
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(ask, interface, "/healthz") for _ in range(2)]
        time.sleep(0.2)
        began = time.monotonic()
        interface.close()
        assert time.monotonic() - began < 2.2
        still.hangs.set()
        for one in waiting:
            one.exception(timeout=10)


def test_metrics_count_what_has_passed_and_show_what_is(still, serve):
    metrics = Metrics()
    revision = Revision(0, "a", None, Verdict.NG, Reason.RECURRING, Verdict.OK, recurring=True)
    defect = RecurringDefect(1, True, 0, None, (0,), 0.5, np.ones((1, 4), bool))
    for message in (
        *(part_message(number) for number in range(3)),
        part_message(4, Verdict.NG, unstored=True),
        part_message(5, Verdict.FAULT, scored=False),
        revision_message(6, revision),
        alarm_message(7, defect),
        event_message(8),
    ):
        metrics.take(message)
    interface = serve(still, metrics=metrics)
    _, headers, body = ask(interface, "/metrics")
    assert headers["Content-Type"].startswith("text/plain; version=")
    found = {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }
    for key, value in {
        ("zeroline_parts_total", "camera", "", "OK"): 3,
        ("zeroline_parts_total", "camera", "score", "NG"): 1,
        ("zeroline_parts_total", "camera", "no_frame", "FAULT"): 1,
        ("zeroline_revisions_total", "camera"): 1,
        ("zeroline_alarms_total", "camera"): 1,
        ("zeroline_events_total", "camera.lost"): 1,
        ("zeroline_unstored_total",): 1,
        ("zeroline_stage_seconds_count", "camera", "network"): 5,
        ("zeroline_verdict_seconds_count",): 5,
        ("zeroline_output_up", "webhook"): 0,
        ("zeroline_output_waiting", "webhook"): 7,
        ("zeroline_output_dropped_total", "webhook"): 3,
        ("zeroline_triggers_missed_total", "main"): 2,
        ("zeroline_triggers_late_total", "main"): 1,
        ("zeroline_camera_threshold", "top"): 0.5,
        ("zeroline_store_commit_seconds",): 0.0065,
        ("zeroline_store_full",): 1,
        ("zeroline_store_waiting",): 2,
        ("zeroline_alive",): 1,
        ("zeroline_paused",): 0,
    }.items():
        assert found[key] == value, key
    assert found["process_resident_memory_bytes",] > 1e6
    opened = ask(interface, "/metrics", Accept="application/openmetrics-text")[2]
    assert opened.endswith(b"# EOF\n")
    assert opened.count(b"# EOF") == 1


def cells(heading):
    """Return the first cells of the table of a section of docs/interface.md."""
    text = (ROOT / "docs" / "interface.md").read_text(encoding="utf-8")
    section = text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `([^`]+)` \|", section, re.M)


def test_all_addresses_are_documented(still):
    app = made_app(still, Metrics(), threading.Event())
    routes = {
        f"{method} {getattr(route, 'path', None)}"
        for route in app.routes
        for method in getattr(route, "methods", None) or ()
        if method != "HEAD"
    }
    assert set(cells("Addresses")) == routes


def test_all_metrics_are_documented(still):
    metrics = Metrics()
    for message in (part_message(1, unstored=True), event_message(2)):
        metrics.take(message)
    text = metrics.page(still)[0].decode()
    found = {
        f"{name}_total" if kind == "counter" and not name.endswith("_total") else name
        for name, kind in re.findall(r"^# TYPE (zeroline_\w+) (\w+)$", text, re.M)
        if not name.endswith("_created")
    }
    assert set(cells("Metrics")) == found


def test_two_stations_in_one_process_do_not_count_together(still):
    first, second = Metrics(), Metrics()
    first.take(part_message(1))
    assert b'verdict="OK"} 1.0' in first.page(still)[0]
    assert b'verdict="OK"' not in second.page(still)[0]


def test_the_description_needs_no_other_server(still, serve):
    found = json.loads(ask(serve(still), "/api/v1/openapi.json")[2])
    assert "/api/v1/trigger" in found["paths"]


def test_commands_come_without_the_server():
    """`import fastapi` takes a quarter of a second; commands that only ask do without."""
    script = (
        "import sys; import zeroline.edge_app.commands.ask, zeroline.edge_app.interface.client;"
        "print({'fastapi', 'uvicorn', 'cv2', 'yaml'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
