"""The webhook against a real HTTP server that goes down, hangs, refuses and closes half way."""

import logging
import os
import random
import signal
import ssl
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from support.hooks import SECRET, HookServer
from support.machine import ROOT
from support.messages import event_message, part_message, until
from support.outbox import FileOutbox
from zeroline.edge_app.errors import OutputError
from zeroline.edge_app.events import Event, EventName, Events
from zeroline.edge_app.outputs import posting, webhook
from zeroline.edge_app.outputs.hub import OutputHub
from zeroline.edge_app.outputs.webhook import DurableWebhook, Webhook
from zeroline.runtime import Verdict


@pytest.fixture
def server():
    made = HookServer()
    yield made
    made.stop()


@pytest.fixture
def outbox(tmp_path):
    made = FileOutbox(tmp_path / "store.db")
    yield made
    made.close()


class Station:
    """A hub with one webhook, and all events."""

    def __init__(self, hook):
        self.told, events = list[Event](), Events()
        events.listen(self.told.append)
        self.hub = OutputHub({"webhook": hook}, events=events, patient=False)

    @property
    def names(self):
        return [event.name for event in self.told]


@pytest.fixture
def started(server):
    stations = []

    def start(url=None, *, outbox=None, timeout_s=5.0, **options):
        options = {"secret": SECRET, "timeout_s": timeout_s} | options
        address = url or server.url
        if outbox is None:
            hook = Webhook(address, **options)
        else:
            options |= {"outbox": outbox, "delivered": outbox.delivered}
            hook = DurableWebhook(address, **options)
        stations.append(Station(hook))
        return stations[-1]

    yield start
    for station in stations:
        station.hub.close(0.3)


@pytest.fixture(params=["memory", "outbox"])
def kept(request):
    """Whether messages are in an outbox before they are put."""
    return request.getfixturevalue("outbox") if request.param == "outbox" else None


def put(station, outbox, *numbers, **more):
    for number in numbers:
        message = part_message(number, **more)
        if outbox is not None:
            outbox.add(message)
        station.hub.put(message)


def test_messages_are_signed_and_come_in_order(server, started, kept):
    station = started(outbox=kept, uncertain="third")
    put(station, kept, *range(1, 200))
    put(station, kept, 200, verdict=Verdict.UNCERTAIN)
    put(station, kept, 201, verdict=Verdict.NG)
    put(station, kept, 202, verdict=Verdict.FAULT, scored=False)
    until(lambda: len(server.bodies) == 202)
    assert server.numbers == list(range(1, 203))
    assert server.asked == server.numbers
    body = server.bodies[0]
    assert (body["part"], body["station"], body["verdict"]) == ("part-1", "press-4", "OK")
    assert [b["action"] for b in server.bodies[-4:]] == ["pass", "third", "reject", "reject"]
    assert station.told == []
    until(lambda: station.hub.states()["webhook"]["waiting"] == 0)


def test_a_wrong_secret_is_refused_by_the_other_side_and_loses_nothing(server, started, kept):
    station = started(outbox=kept, secret="another")  # noqa: S106 - no real one
    put(station, kept, 1, 2)
    until(lambda: station.names == [EventName.OUTPUT_LOST])
    assert station.told[0].text.endswith("the server answers 401")
    assert server.bodies == []
    assert station.hub.missed == {}


def test_a_server_that_is_down_for_a_while_misses_nothing(server, started, kept):
    station = started(outbox=kept)
    put(station, kept, 1, 2, 3)
    until(lambda: len(server.bodies) == 3)
    server.stop()
    put(station, kept, *range(4, 30))
    until(lambda: station.names == [EventName.OUTPUT_LOST])
    assert "cannot be reached: Connection refused" in station.told[0].text
    time.sleep(3)
    assert station.hub.states()["webhook"]["waiting"] >= 25
    server.start()
    until(lambda: len(server.bodies) == 29)
    assert server.numbers == list(range(1, 30))
    until(lambda: station.names == [EventName.OUTPUT_LOST, EventName.OUTPUT_BACK])


def test_a_server_that_never_answers_holds_up_nobody(server, outbox, tmp_path):
    """Two webhooks, one of which hangs: the other, and who puts, notice nothing."""
    hanging = HookServer()
    hanging.answer = lambda number: None
    told, events = list[Event](), Events()
    events.listen(told.append)
    outputs = {
        "good": Webhook(server.url, secret=SECRET),
        "hanging": Webhook(hanging.url, secret=SECRET, timeout_s=0.5),
    }
    hub = OutputHub(outputs, events=events, patient=False)
    messages = [part_message(number) for number in range(1, 201)]
    seconds, delays = [], []
    for message in messages:
        began = time.perf_counter()
        hub.put(message)
        seconds.append(time.perf_counter() - began)
        until(lambda count=message.number: len(server.bodies) == count)
        delays.append(time.perf_counter() - began)
    assert np.percentile(seconds, 99) < 0.005
    assert np.median(delays) < 0.05
    until(lambda: told)
    assert told[0].text.startswith("hanging does not work")
    assert told[0].text.endswith("no answer within 0.5 s")
    assert hub.states()["good"]["up"]
    began = time.monotonic()
    hub.close(2)
    assert time.monotonic() - began < 2.3
    hanging.stop()


def test_an_answer_byte_by_byte_is_ended_by_the_whole_time(started):
    """Each byte is in time, and the answer would take hours."""
    import socket

    listening = socket.create_server(("127.0.0.1", 0))
    over = threading.Event()

    def drip():
        other, _ = listening.accept()
        other.recv(1 << 16)
        for letter in b"HTTP/1.1 200 OK\r\nX-Long: " + b"a" * 50:  # 4 s
            try:
                other.send(bytes([letter]))
            except OSError:
                break
            time.sleep(0.05)
        over.set()
        other.close()

    threading.Thread(target=drip, daemon=True).start()
    poster = posting.Poster(
        f"http://127.0.0.1:{listening.getsockname()[1]}/", secret=None, timeout_s=0.4
    )
    began = time.monotonic()
    with pytest.raises(posting.NotTakenError, match="no whole answer within"):
        poster.post(1, b"{}")
    assert time.monotonic() - began < 2
    assert over.wait(2)
    poster.close()
    listening.close()


@pytest.mark.parametrize("status", [500, 503, 404, 302, 429])
def test_an_answer_of_the_server_as_a_whole_is_tried_again(server, started, kept, status):
    failures = iter([(status, {"Location": server.url, "Retry-After": "1"})])
    server.answer = lambda number: next(failures, 200)
    station = started(outbox=kept)
    began = time.monotonic()
    put(station, kept, 1, 2, 3)
    until(lambda: len(server.bodies) == 3)
    assert time.monotonic() - began >= 1  # as it has asked for
    assert server.asked == [1, 1, 2, 3]  # a redirect is not followed
    assert server.numbers == [1, 2, 3]
    assert f"the server answers {status}" in station.told[0].text
    assert station.hub.missed == {}


def test_a_message_that_is_refused_is_told_counted_and_skipped(server, started, kept):
    server.answer = lambda number: 422 if number == 2 else 200
    station = started(outbox=kept)
    put(station, kept, 1, 2, 3)
    until(lambda: 3 in server.numbers)
    assert list(dict.fromkeys(server.numbers)) == [1, 3]
    until(lambda: station.told)
    assert "message 2 is skipped, the server answers 422" in station.told[0].text
    assert station.hub.missed == {"webhook": 1}
    until(lambda: kept is None or kept.delivered_up_to == 3)


def test_a_server_that_refuses_all_by_400_loses_nothing(server, started, kept):
    """What a wrong secret gives with some servers: one bad answer is no reason to skip."""
    station = started(outbox=kept)
    put(station, kept, 1)
    until(lambda: server.numbers == [1])
    server.answer = lambda number: 400
    put(station, kept, 2, 3)
    until(lambda: len(server.asked) >= 6)
    assert station.hub.missed == {}
    server.answer = lambda number: 200
    until(lambda: server.numbers[-1] == 3)
    assert list(dict.fromkeys(server.numbers)) == [1, 2, 3]


def test_a_message_at_which_the_server_breaks_does_not_block_for_ever(
    server, started, kept, monkeypatch
):
    monkeypatch.setattr(webhook, "FIRST_WAIT", 0.01)
    server.answer = lambda number: 500 if number == 2 else 200
    station = started(outbox=kept)
    put(station, kept, 1, 2, 3)
    until(lambda: 3 in server.numbers)
    assert server.asked.count(2) == webhook.TRIES + 1
    assert server.numbers == [1, 1, 3]  # what it took last is the question whether it takes any
    assert station.hub.missed == {"webhook": 1}


def test_an_answer_that_ends_half_way_is_repeated(server, started, kept):
    station = started(outbox=kept)
    put(station, kept, 1)
    until(lambda: server.numbers == [1])
    server.half = True
    put(station, kept, 2)
    until(lambda: server.numbers == [1, 2])
    assert server.asked == [1, 2, 2]


def test_what_the_outbox_has_is_sent_at_the_start(server, started, outbox):
    for number in range(1, 251):
        outbox.add(part_message(number))
    outbox.delivered(3)
    station = started(outbox=outbox)
    until(lambda: len(server.bodies) == 247)
    assert server.numbers == list(range(4, 251))
    put(station, outbox, 251)
    until(lambda: server.numbers[-1] == 251)
    until(lambda: outbox.delivered_up_to == 251)


def test_what_memory_has_dropped_comes_from_the_outbox(server, started, outbox, monkeypatch):
    monkeypatch.setattr("zeroline.edge_app.outputs.worker.MOST", 50)
    gate = threading.Event()
    server.answer = lambda number: 200 if gate.wait(20) else 500
    station = started(outbox=outbox)
    put(station, outbox, *range(1, 301))
    gate.set()
    until(lambda: len(server.bodies) == 300)
    assert server.numbers == list(range(1, 301))
    assert station.hub.missed == {}  # nothing is lost, and nothing is told
    assert station.told == []


def test_what_the_store_has_late_goes_from_memory_and_not_twice(server, started, outbox):
    station = started(outbox=outbox)
    put(station, outbox, 1)
    until(lambda: server.numbers == [1])
    late = [part_message(number, unstored=True) for number in (2, 3)]
    for message in late:
        station.hub.put(message)
    until(lambda: server.numbers == [1, 2, 3])
    assert [body["unstored"] for body in server.bodies] == [False, True, True]
    for message in late:
        outbox.add(message)
    put(station, outbox, 4)
    until(lambda: server.numbers == [1, 2, 3, 4])
    until(lambda: outbox.delivered_up_to == 4)


def test_a_store_that_fails_does_not_stop_verdicts(server, started):
    class Broken:
        delivered_up_to = 0

        def after(self, number, limit):
            raise OSError("the disk is gone")

        def delivered(self, number):
            raise AssertionError

    station = started(outbox=Broken())
    put(station, None, 1, 2)
    until(lambda: server.numbers == [1, 2])
    assert station.told == []


@pytest.mark.parametrize("seed", range(3))
def test_after_a_kill_nothing_of_the_outbox_is_missing(server, tmp_path, seed):
    """The sender is killed at random moments, and started anew, until all have come."""
    path, chance = tmp_path / "store.db", random.Random(seed)  # noqa: S311 - a test
    last = 0
    for kill in (True, True, True, False):
        sender = subprocess.Popen(
            [sys.executable, "-m", "support.outbox", path, server.url, "150" if kill else "5"],
            stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env={**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"},
        )  # fmt: skip
        end = chance.randrange(5, 120) if kill else None
        with sender:
            assert sender.stdout is not None
            for count, line in enumerate(sender.stdout):
                last = int(line)
                if count == end:
                    os.kill(sender.pid, signal.SIGKILL)
                    break
            sender.stdout.read()
        assert sender.returncode == (-signal.SIGKILL if kill else 0)
    box = FileOutbox(path)
    last = max(last, box.newest)
    assert box.delivered_up_to == last
    box.close()
    firsts = list(dict.fromkeys(server.numbers))
    assert firsts == list(range(1, last + 1))  # in order, none is missing


def test_no_secret_is_told(server, started, caplog):
    """In an address, in a header, of a signature: neither events nor any log have it."""
    server.stop()
    hidden = "hQ7zk"
    caplog.set_level(logging.DEBUG)
    address = server.url.replace("://", f"://mes:{hidden}@") + f"?token={hidden}"
    stations = [started(address, secret=hidden), started(f"http://{hidden}.invalid/?key={hidden}")]
    for station in stations:
        station.hub.put(part_message(1))
        until(lambda one=station: one.told)
    server.start()
    server.answer = lambda number: 302
    until(lambda: server.asked)
    with pytest.raises(OutputError) as refused:
        Webhook(f"ftp://mes:{hidden}@host/", secret=hidden)
    told = [str(refused.value), caplog.text]
    told += [f"{event.text} {event.data}" for station in stations for event in station.told]
    assert not any(hidden in text for text in told)


def test_tls_is_verified(server, started, tmp_path, monkeypatch):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key,
         "-out", certificate, "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server._server.socket = context.wrap_socket(server._server.socket, server_side=True)
    server._server.handle_error = lambda *_: None
    url = server.url.replace("http:", "https:")
    station = started(url)
    station.hub.put(part_message(1))
    until(lambda: station.told)
    assert "no trusted TLS: " in station.told[0].text
    assert server.bodies == []
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    station = started(url)
    station.hub.put(part_message(1))
    until(lambda: server.numbers == [1])


def test_events_are_posted_too(server, started):
    station = started()
    station.hub.put(event_message(1))
    until(lambda: server.bodies)
    body = server.bodies[0]
    assert (body["event"], body["text"], body["source"]) == ("camera.lost", "lost", "rtsp://camera")
    assert "action" not in body
