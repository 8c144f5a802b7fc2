"""Messages leave in their order, and wait for the store, for a while."""

import threading
import time

import pytest

from support.messages import RUN, part_of, view_of
from zeroline.edge_app.events import Event, EventName, Events
from zeroline.edge_app.messages import Kind, Message
from zeroline.edge_app.station.dispatch import Dispatch


class Ticket:
    def __init__(self):
        self.stored = threading.Event()
        self.left = False

    def wait(self, timeout):
        return self.stored.wait(timeout)

    def leave(self):
        self.left = True


class Disk:
    """A store whose commits a test lets through."""

    def __init__(self, *, open_=True):
        self.tickets, self.written, self.open = [], [], open_

    def write(self, message):
        ticket = Ticket()
        self.written.append(message)
        self.tickets.append(ticket)
        if self.open:
            ticket.stored.set()
        return ticket

    def next_number(self):
        return 41


@pytest.fixture
def left():
    """A dispatch over a disk, and what has left."""
    made = []

    def make(disk, **options):
        messages, events = list[Message](), Events()
        dispatch = Dispatch(
            messages.append, run=RUN, station="s", events=events, store=disk, **options
        )
        events.listen(dispatch.event)
        made.append(dispatch)
        return dispatch, messages, events

    yield make
    for one in made:
        assert one.close(2)


def until(true, seconds=3):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_numbers_go_on_where_the_store_ended_and_rise_by_one(left):
    dispatch, messages, events = left(Disk())
    dispatch.part(part_of(view_of(0)))
    events(Event(EventName.CAMERA_LOST, "lost"))
    dispatch.part(part_of(view_of(1)))
    until(lambda: len(messages) == 3)
    assert [(m.number, m.kind) for m in messages] == [
        (41, Kind.PART), (42, Kind.EVENT), (43, Kind.PART),
    ]  # fmt: skip
    assert [m.body["message"] for m in messages] == [41, 42, 43]


def test_a_message_leaves_when_the_store_has_it(left):
    disk = Disk(open_=False)
    dispatch, messages, _ = left(disk, store_wait=5)
    dispatch.part(part_of(view_of(0)))
    time.sleep(0.1)
    assert messages == []
    disk.tickets[0].stored.set()
    until(lambda: messages)
    assert (messages[0].unstored, dispatch.waited >= 0.1) == (False, True)


def test_a_store_that_hangs_holds_each_verdict_up_for_its_time_alone(left):
    """Ten verdicts behind a hung disk leave together, not one after the other."""
    disk = Disk(open_=False)
    dispatch, messages, _ = left(disk, store_wait=0.15)
    began = time.monotonic()
    for number in range(10):
        dispatch.part(part_of(view_of(number)))
    until(lambda: sum(m.kind is Kind.PART for m in messages) == 10)
    assert 0.15 <= time.monotonic() - began < 0.6
    parts = [m for m in messages if m.kind is Kind.PART]
    assert all(m.unstored and m.body["unstored"] for m in parts)
    assert all(ticket.left for ticket in disk.tickets[:10])
    assert [m.number for m in parts] == sorted(m.number for m in parts)
    told = [m for m in messages if m.kind is Kind.EVENT]
    until(lambda: any(m.kind is Kind.EVENT for m in messages))
    told = [m.body["event"] for m in messages if m.kind is Kind.EVENT]
    assert told == ["storage.late"]  # once for the row
    disk.open = True
    dispatch.part(part_of(view_of(11)))
    until(lambda: messages[-1].kind is Kind.PART and not messages[-1].unstored)


def test_what_left_unstored_is_told_as_stored_when_it_is(left):
    """A picture of a watched folder stays until its verdict is kept."""
    disk, stored = Disk(open_=False), list[int]()
    dispatch, messages, _ = left(disk, store_wait=0.02, stored=lambda m: stored.append(m.number))
    dispatch.part(part_of(view_of(0)))
    until(lambda: messages)
    time.sleep(0.1)
    assert stored == []
    disk.tickets[0].stored.set()
    until(lambda: stored == [41])
    disk.open = True
    dispatch.part(part_of(view_of(1)))
    until(lambda: 41 in stored and len(stored) >= 2)


def test_without_a_store_nothing_waits(left):
    dispatch, messages, _ = left(None)
    dispatch.part(part_of(view_of(0)))
    until(lambda: messages)
    assert (messages[0].number, messages[0].unstored) == (1, False)


def test_an_output_that_raises_in_the_end_is_the_stations_trouble(left):
    def put(message):
        raise RuntimeError("no thread is left")

    dispatch = Dispatch(put, run=RUN, station="s", events=Events())
    dispatch.part(part_of(view_of(0)))
    until(lambda: dispatch.trouble is not None)
    assert str(dispatch.trouble) == "no thread is left"
