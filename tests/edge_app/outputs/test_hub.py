"""Outputs that fail, hang, die and vanish: neither the caller nor another output notices."""

import contextlib
import os
import threading
import time

import numpy as np
import pytest

from support.messages import event_message, part_message, until
from zeroline.edge_app.errors import ReaderGoneError
from zeroline.edge_app.events import Event, EventName, Events
from zeroline.edge_app.messages import Kind
from zeroline.edge_app.outputs import worker
from zeroline.edge_app.outputs.hub import OutputHub
from zeroline.edge_app.outputs.json_lines import JsonLines
from zeroline.edge_app.outputs.output import TryAgainError


class Taking:
    """An output that keeps what it was given; told numbers raise."""

    def __init__(self, fails=(), error=None):
        self.fails, self.calls = set(fails), []
        self.error = error or OSError("the disk is full")
        self.free, self.threads = threading.Event(), set()
        self.free.set()

    @property
    def numbers(self):
        return [call.number for call in list(self.calls) if not isinstance(call, str)]

    def take(self, message):
        self.threads.add(threading.current_thread())
        assert self.free.wait(30)
        if message.number in self.fails:
            raise self.error
        self.calls.append(message)

    def safe(self, why):
        self.calls.append(f"safe {why}")

    def close(self):
        self.calls.append("close")


@pytest.fixture
def heard():
    """Events, and all that were passed on."""
    events, told = Events(), list[Event]()
    events.listen(told.append)
    return events, told


@pytest.fixture
def opened(heard):
    hubs = []

    def make(outputs, *, patient=False):
        hubs.append(OutputHub(outputs, events=heard[0], patient=patient))
        return hubs[-1]

    yield make
    for hub in hubs:
        hub.close(0.2)


def names(told):
    return [event.name for event in told]


def test_messages_come_in_order_in_a_thread_of_each_output(opened):
    left, right = Taking(), Taking()
    hub = opened({"left": left, "right": right})
    for number in range(300):
        hub.put(part_message(number))
    hub.close(5)
    for output in (left, right):
        assert output.numbers == list(range(300))
        assert output.calls[0] == "safe start"
        assert output.calls[-2:] == ["safe stop", "close"]
    (one,), (other,) = left.threads, right.threads
    assert len({one, other, threading.current_thread()}) == 3
    assert (one.is_alive(), other.is_alive()) == (False, False)
    assert hub.missed == {}


def test_safe_stands_between_the_messages_before_and_after(opened):
    output = Taking()
    hub = opened({"plc": output})
    hub.put(part_message(1))
    hub.safe("pause")
    hub.put(part_message(2))
    hub.close(5)
    kinds = [call if isinstance(call, str) else call.number for call in output.calls]
    assert kinds == ["safe start", 1, "safe pause", 2, "safe stop", "close"]


@pytest.mark.parametrize("error", [OSError("the disk is full"), SystemExit("the disk is full")])
def test_an_output_that_fails_or_dies_stops_no_other(opened, heard, error):
    broken, whole = Taking({2, 3, 4}, error), Taking()
    hub = opened({"disk": broken, "log": whole})
    for number in range(8):
        hub.put(part_message(number))
    hub.close(5)
    assert whole.numbers == list(range(8))
    assert broken.numbers == [0, 1, 5, 6, 7]  # the next message is tried
    assert hub.missed == {"disk": 3}
    assert [(event.name, event.text) for event in heard[1]] == [
        (EventName.OUTPUT_LOST, "disk failed, 1 message(s) missed so far: the disk is full"),
        (EventName.OUTPUT_BACK, "disk works again, 3 message(s) missed so far"),
    ]


def test_an_output_that_cannot_be_finished_is_told(opened, heard):
    class Open(Taking):
        def close(self):
            raise RuntimeError("cannot be closed")

    hub = opened({"disk": Open()})
    hub.close(5)
    assert [event.text for event in heard[1]] == ["disk could not be finished: cannot be closed"]


def test_an_output_that_keeps_failing_is_told_once_a_minute(opened, heard, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    output = Taking(range(100))
    hub = opened({"disk": output})
    for number in range(13):
        hub.put(part_message(number))
        until(lambda count=number + 1: hub.missed["disk"] == count)
        now[0] += 10
    assert [event.data["missed"] for event in heard[1]] == [1, 7, 13]


def test_an_output_that_hangs_is_lost_and_neither_the_caller_nor_another_notices(
    opened, heard, monkeypatch
):
    monkeypatch.setattr(worker, "HUNG", 0.3)
    hung, whole = Taking(), Taking()
    hung.free.clear()
    hub = opened({"hook": hung, "log": whole})
    messages = [part_message(number) for number in range(1500)]
    seconds = []
    for message in messages:
        began = time.perf_counter()
        hub.put(message)
        seconds.append(time.perf_counter() - began)
        if message.number % 100 == 99:
            until(lambda count=message.number + 1: len(whole.numbers) == count)
    assert np.percentile(seconds, 95) < 0.001
    until(lambda: EventName.OUTPUT_LOST in names(heard[1]))
    state = hub.states()
    assert (state["log"]["up"], state["log"]["waiting"]) == (True, 0)
    assert not state["hook"]["up"]
    assert abs(state["hook"]["lost_since"] - time.time()) < 5
    assert (state["hook"]["waiting"], state["hook"]["dropped"]) == (1001, 499)
    until(lambda: EventName.OUTPUT_DROPPED in names(heard[1]))
    hung.free.set()
    until(lambda: EventName.OUTPUT_BACK in names(heard[1]))
    until(lambda: hub.states()["hook"]["waiting"] == 0)
    assert hung.numbers == [0, *range(500, 1500)]  # the newest are kept, in order
    assert whole.numbers == list(range(1500))
    assert {event.data["output"] for event in heard[1]} == {"hook"}


def test_pixels_are_kept_for_the_newest_messages_only(opened):
    """A hung output once kept every frame of 1,000 parts in memory."""
    hung, frame = Taking(), np.zeros((8, 8, 3), np.uint8)
    hung.free.clear()
    hub = opened({"hook": hung})
    for number in range(200):
        hub.put(part_message(number, frame=frame))
    hung.free.set()
    hub.close(5)
    kept = [m.number for m in hung.calls if m not in ("safe start", "safe stop", "close")
            and m.part.views[0].captured.frame is not None]  # fmt: skip
    assert kept[-32:] == list(range(168, 200))
    assert len(kept) <= 34  # and the one that it was taking
    assert hung.numbers == list(range(200))
    assert all(m.part.views[0].inspection.scores is not None for m in hung.calls[1:-2])


def test_a_patient_hub_waits_for_a_slow_output_and_loses_nothing(opened):
    slow = Taking()
    slow.free.clear()
    hub = opened({"pictures": slow}, patient=True)
    done = threading.Event()

    def fill():
        for number in range(100):
            hub.put(part_message(number))
        done.set()

    threading.Thread(target=fill, daemon=True).start()
    assert not done.wait(0.3)
    hub.put(event_message(1000))  # who tells events may hold a lock, and is not held up
    slow.free.set()
    assert done.wait(5)
    hub.close(5)
    assert [n for n in slow.numbers if n != 1000] == list(range(100))
    assert hub.missed == {}


def test_a_patient_hub_closes_when_slow_outputs_have_taken_all(opened):
    """Pictures that were still to be drawn were once left out at the end of a folder."""

    class Slow(Taking):
        def take(self, message):
            time.sleep(0.02)
            super().take(message)

    slow = Slow()
    hub = opened({"pictures": slow}, patient=True)
    for number in range(32):
        hub.put(part_message(number))
    hub.close(0.1)
    assert slow.numbers == list(range(32))
    assert hub.missed == {}


def test_two_outputs_that_fail_at_once_do_not_wait_for_each_other(heard, opened):
    """Each tells the other of its loss, while both queues are full and a third one waits."""
    events, _ = heard
    left, right = Taking(range(1000)), Taking(range(1000))
    hub = opened({"left": left, "right": right}, patient=True)
    count = iter(range(10_000, 20_000))
    events.listen(lambda event: hub.put(event_message(next(count), event)))
    for number in range(200):
        hub.put(part_message(number))
    began = time.monotonic()
    hub.close(5)
    assert time.monotonic() - began < 3
    assert hub.missed == {"left": 200, "right": 200}


def test_an_event_about_an_output_goes_to_the_others_only(heard, opened):
    events, _ = heard
    broken, whole = Taking({0, 1, 2}), Taking()
    hub = opened({"disk": broken, "log": whole})
    events.listen(lambda event: hub.put(event_message(100, event)))
    for number in range(4):
        hub.put(part_message(number))
    until(lambda: whole.numbers.count(100) == 2)
    hub.close(5)
    assert [m.number for m in broken.calls if not isinstance(m, str)] == [3]
    told = [m.event.name for m in whole.calls if not isinstance(m, str) and m.kind is Kind.EVENT]
    assert told == [EventName.OUTPUT_LOST, EventName.OUTPUT_BACK]


def test_what_is_to_be_tried_again_comes_before_all_others(heard, opened):
    class Down(Taking):
        tries = 0

        def take(self, message):
            self.tries += 1
            if self.tries < 4:
                raise TryAgainError("refused", after=0.05)
            super().take(message)

    output = Down()
    hub = opened({"hook": output})
    for number in range(3):
        hub.put(part_message(number))
    until(lambda: len(output.numbers) == 3)
    assert output.numbers == [0, 1, 2]
    assert names(heard[1]) == [EventName.OUTPUT_LOST, EventName.OUTPUT_BACK]
    assert heard[1][0].text.startswith("hook does not work, ")
    assert heard[1][0].text.endswith("message(s) wait: refused")
    assert hub.missed == {}


def test_a_hub_closes_in_its_time_and_counts_what_is_left(heard, opened):
    class Down(Taking):
        def take(self, message):
            raise TryAgainError("refused", after=30.0)

    hung, down, whole = Taking(), Down(), Taking()
    hung.free.clear()
    hub = opened({"hung": hung, "down": down, "log": whole})
    for number in range(5):
        hub.put(part_message(number))
    time.sleep(0.1)
    began = time.monotonic()
    hub.close(1.0)
    assert time.monotonic() - began < 1.3
    assert whole.numbers == [0, 1, 2, 3, 4]
    assert hub.missed == {"hung": 5, "down": 5}
    texts = [event.text for event in heard[1]]
    assert "hung does not end, and is left behind" in texts
    assert "down has not taken the last 4 message(s)" in texts
    hung.free.set()


def test_when_the_reader_of_a_pipe_goes_a_patient_hub_tells_it(opened):
    reader, writer = os.pipe()
    pipe = os.fdopen(writer, "w")
    hub = opened({"JSON lines": JsonLines(pipe)}, patient=True)
    hub.put(part_message(0))
    until(lambda: hub.states()["JSON lines"]["waiting"] == 0)
    assert not hub.gone.is_set()
    os.close(reader)
    hub.put(part_message(1))
    assert hub.gone.wait(5)
    for number in range(100):  # nobody waits for it any more
        hub.put(part_message(number))
    hub.close(5)
    with pytest.raises(BrokenPipeError):
        pipe.close()


def test_a_reader_that_goes_is_no_end_of_a_station(heard, opened):
    output = Taking({0}, ReaderGoneError("nobody reads"))
    hub = opened({"JSON lines": output})
    hub.put(part_message(0))
    hub.put(part_message(1))
    hub.close(5)
    assert not hub.gone.is_set()
    assert output.numbers == [1]


def test_a_connection_that_breaks_is_an_output_that_failed(opened):
    """Every BrokenPipeError once ended the line, also that of a connection to another machine."""
    output = Taking({0}, BrokenPipeError("the other side has closed"))
    hub = opened({"PLC": output}, patient=True)
    hub.put(part_message(0))
    hub.close(5)
    assert not hub.gone.is_set()
    assert hub.missed == {"PLC": 1}


def test_a_full_disk_is_told_and_counted(heard, opened):
    full = open("/dev/full", "w")  # noqa: PTH123, SIM115 - a device; its end fails as well
    hub = opened({"JSON lines": JsonLines(full)}, patient=True)
    for number in range(5):
        hub.put(part_message(number))
    hub.close(5)
    assert hub.missed == {"JSON lines": 5}
    assert [event.text for event in heard[1]] == [
        "JSON lines failed, 1 message(s) missed so far: [Errno 28] No space left on device",
        "JSON lines could not be finished: [Errno 28] No space left on device",
    ]
    with contextlib.suppress(OSError):
        full.close()
