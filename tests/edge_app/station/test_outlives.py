"""The line outlives its parts: listeners and searches that fail, late networks."""

import threading
import time
from typing import Any

import numpy as np
import pytest

from support.small_network import CHANNELS, CLASS_CHANNELS, PATCHES
from zeroline.edge_app.bodies import event_body
from zeroline.edge_app.captured import Captured
from zeroline.edge_app.events import Event, EventName, Events, HeldEvents, events_of
from zeroline.edge_app.runs import Run
from zeroline.edge_app.sources.files import PictureSource
from zeroline.edge_app.station.inspection import inspected
from zeroline.runtime import RollingInspector, Tokens, codegraph, load_bundle
from zeroline.runtime.frames import CaptureTime


@pytest.fixture(scope="module")
def bundle(bundle_folder):
    with load_bundle(bundle_folder, device="cpu", threads=1) as opened:
        yield opened


@pytest.fixture
def events():
    """Events, and all that were passed on."""
    opened, heard = Events(), list[Event]()
    opened.listen(heard.append)
    return opened, heard


def test_a_listener_that_fails_stops_neither_others_nor_the_line(events):
    passed, heard = Events(), list[Event]()

    def full(event):
        raise OSError("the disk is full")

    passed.listen(full)
    passed.listen(heard.append)
    passed(Event(EventName.CAMERA_LOST, "lost"))
    assert [event.text for event in heard] == ["lost"]


def test_events_of_the_time_before_are_held_for_their_listener(events):
    passed, _ = events
    held, late = HeldEvents(passed), list[str]()
    for text in ("a", "b"):
        passed(Event(EventName.CAMERA_LOST, text))
    held.pass_to(lambda event: late.append(event.text))
    passed(Event(EventName.CAMERA_BACK, "c"))
    assert late == ["a", "b", "c"]


def frame_tokens(number, *, marked):
    rng = np.random.default_rng((1, number))
    layers = []
    for layer, channels in enumerate(CHANNELS):
        rows = np.random.default_rng((2, layer)).standard_normal((PATCHES, channels))
        rows = rows + 0.5 * rng.standard_normal((PATCHES, channels))
        if marked:
            rows[[27, 28, 35]] = 1.5 * np.random.default_rng(3).standard_normal(channels)
        layers.append(rows[None].astype(np.float32))
    token = rng.standard_normal((1, CLASS_CHANNELS)).astype(np.float32)
    return Tokens(tuple(layers), token / np.linalg.norm(token))


def pushed(inspector, count, *, after=lambda: None):
    """Inspections of a line that a stuck tool marks; something is called after each push."""
    inspections = []
    for number in range(count):
        tokens = frame_tokens(number, marked=number > 40 and number % 4 == 0)
        inspections.append(inspector.push_tokens(tokens))
        after()
    return inspections


OPTIONS: dict[str, Any] = {
    "window": 40,
    "min_window": 12,
    "rscin": (),
    "threads": 1,
    "degrees": (1,),
}


def test_a_search_that_raises_is_told_and_the_line_goes_on(bundle, monkeypatch):
    """A MemoryError in the search once ended `run`, and the frame's verdict was lost."""
    failures = iter([MemoryError("no room for the graph")])

    def search(distances, **options):
        for failure in failures:
            raise failure
        return real(distances, **options)

    real = codegraph
    monkeypatch.setattr("zeroline.runtime.line.searched.codegraph", search)
    with RollingInspector(bundle, **OPTIONS) as inspector:
        inspections = pushed(inspector, 140)
    failed = [i for i in inspections if i.search_failed]
    assert [i.search_failed for i in failed] == ["no room for the graph"]
    assert failed[0].scores is not None
    alarms = [alarm.number for i in inspections for alarm in i.alarms]
    assert alarms == [1]  # by a later search
    (event,) = events_of(failed[0])
    assert event.name is EventName.RECURRING_SEARCH_FAILED
    assert event.text == "a search for recurring defects failed: no room for the graph"
    body = event_body(event, number=1, run=Run("test"), station="s")
    assert (body["event"], body["reason"]) == ("recurring.search_failed", "no room for the graph")


def test_a_slow_search_holds_no_push_of_a_live_line_up(bundle, monkeypatch):
    """A search of a second once held one push up for 0.94 s: here it waits for ten pushes."""
    real, begun, may_end, waited = codegraph, threading.Event(), threading.Event(), list[bool]()

    def slow(distances, **options):
        begun.set()
        waited.append(may_end.wait(20))
        return real(distances, **options)

    def count():
        if begun.is_set() and not may_end.is_set():
            meanwhile.append(1)
            if len(meanwhile) == 10:
                may_end.set()
        time.sleep(0.01)  # as frames come

    meanwhile = list[int]()
    monkeypatch.setattr("zeroline.runtime.line.searched.codegraph", slow)
    with RollingInspector(bundle, wait_for_search=False, **OPTIONS) as inspector:
        inspections = pushed(inspector, 140, after=count)
    assert waited
    assert all(waited)  # no push waited for a search
    assert sum(len(i.alarms) for i in inspections) >= 1  # asked again until it was ready


def test_times_are_those_of_the_capture(bundle, paint, monkeypatch):
    """The time was once taken after the network, 0.33 s late in a trial."""
    real = type(bundle).embed

    def slow(self, images):
        time.sleep(0.3)
        return real(self, images)

    monkeypatch.setattr(type(bundle), "embed", slow)
    with RollingInspector(bundle, window=8, min_window=4) as inspector:
        for _ in range(2):
            wall, monotonic = time.time(), time.monotonic()
            inspection = inspected(Captured(paint(0), "0", part_id="a"), inspector)
            assert abs(inspection.wall_time - wall) < 0.02
            assert abs(inspection.monotonic_time - monotonic) < 0.02
            assert inspection.part_id == "a"
        earlier = CaptureTime(1.0, 2.0)
        inspection = inspected(Captured(paint(1), "1", time=earlier), inspector)
        assert (inspection.wall_time, inspection.monotonic_time) == (1.0, 2.0)
        fault = inspected(Captured(None, "2", time=earlier, fault="no frame"), inspector)
        assert (fault.wall_time, fault.monotonic_time) == (1.0, 2.0)


def test_a_files_name_is_its_parts_name(image_folder):
    captured = list(PictureSource(image_folder))
    assert [c.part_id for c in captured] == [c.name for c in captured]
    assert captured[0].part_id == "bad/07.png"
