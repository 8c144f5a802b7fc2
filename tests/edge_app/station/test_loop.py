"""The line outlives its parts: outputs that fail, searches that fail or are slow, late networks."""

import contextlib
import json
import os
import threading
import time
from typing import Any

import numpy as np
import pytest

from support.small_network import CHANNELS, CLASS_CHANNELS, PATCHES
from zeroline.edge_app.captured import Captured
from zeroline.edge_app.errors import ReaderGoneError
from zeroline.edge_app.events import Event, EventName, Events
from zeroline.edge_app.outputs import guarded
from zeroline.edge_app.outputs.json_lines import JsonLines
from zeroline.edge_app.runs import Run
from zeroline.edge_app.sources.files import PictureSource
from zeroline.edge_app.station.loop import inspected, run_line
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


class Frames:
    """A source of frames that are there already."""

    live = False
    incomplete = False
    announced: int | None = None

    def __init__(self, frames):
        self._frames, self.closed = frames, False

    def __iter__(self):
        for number, frame in enumerate(self._frames):
            yield Captured(frame, str(number))

    def close(self):
        self.closed = True


class Failing:
    """An output that fails on some frames."""

    def __init__(self, fails):
        self.fails, self.taken, self.closed = fails, [], False

    def take(self, captured, inspection):
        if inspection.frame_id in self.fails:
            raise OSError("the disk is full")
        self.taken.append(inspection.frame_id)

    def close(self):
        self.closed = True
        raise RuntimeError("cannot be closed")


def test_an_output_that_fails_stops_neither_the_line_nor_another_output(bundle, events, paint):
    passed, heard = events
    source = Frames([paint(n) for n in range(8)])
    broken, whole = Failing({2, 3, 4}), Failing(set())
    with RollingInspector(bundle, window=8, min_window=4) as inspector:
        tally = run_line(
            source, inspector, {"disk": broken, "log": whole}, events=passed, stop=threading.Event()
        )
    assert whole.taken == list(range(8))
    assert broken.taken == [0, 1, 5, 6, 7]  # tried again with the next frame
    assert (source.closed, broken.closed, whole.closed) == (True, True, True)
    assert tally.frames == 8
    assert dict(tally.missed) == {"disk": 3}
    assert str(tally).endswith("; 3 missed by disk")
    texts = [(event.name, event.text) for event in heard]
    assert texts[:2] == [
        (EventName.OUTPUT_LOST, "disk failed, 1 frame(s) missed so far: the disk is full"),
        (EventName.OUTPUT_BACK, "disk works again after 3 missed frame(s)"),
    ]
    assert [event.data["output"] for event in heard[2:]] == ["disk", "log"]  # at the close


def test_an_output_that_keeps_failing_is_told_once_a_minute(bundle, events, paint, monkeypatch):
    passed, heard = events
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    output = guarded.GuardedOutput("disk", Failing(set(range(100))), passed)
    with RollingInspector(bundle, window=8, min_window=4) as inspector:
        inspection = inspector.push(paint(0))
    for _ in range(13):
        output.take(Captured(None, ""), inspection)
        now[0] += 10
    assert [event.data["missed"] for event in heard] == [1, 7, 13]


def test_when_the_reader_of_a_pipe_goes_the_line_ends(bundle, events, paint):
    source = Frames([paint(0), paint(1)])
    reader, writer = os.pipe()
    os.close(reader)
    with (
        os.fdopen(writer, "w") as pipe,
        RollingInspector(bundle, window=8, min_window=4) as inspector,
    ):
        outputs = {"JSON lines": JsonLines(pipe, Run("test"))}
        with pytest.raises(ReaderGoneError):
            run_line(source, inspector, outputs, events=events[0], stop=threading.Event())
        assert source.closed
        with contextlib.suppress(BrokenPipeError):
            pipe.close()


def test_a_connection_that_breaks_is_an_output_that_failed(bundle, events, paint):
    """Every BrokenPipeError once ended the line, also that of a connection to another machine."""

    class Connection(Failing):
        def take(self, captured, inspection):
            raise BrokenPipeError("the other side has closed")

    source = Frames([paint(0), paint(1)])
    with RollingInspector(bundle, window=8, min_window=4) as inspector:
        tally = run_line(
            source, inspector, {"PLC": Connection(())}, events=events[0], stop=threading.Event()
        )
    assert (tally.frames, dict(tally.missed)) == (2, {"PLC": 2})


def test_a_listener_that_fails_stops_neither_others_nor_the_line(events):
    passed, heard = Events(), list[Event]()

    def full(event):
        raise OSError("the disk is full")

    passed.listen(full)
    passed.listen(heard.append)
    passed(Event(EventName.CAMERA_LOST, "lost"))
    assert [event.text for event in heard] == ["lost"]


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


def pushed(inspector, count, *, pause=0.0):
    """Inspections of a line that a stuck tool marks, and the seconds of each push."""
    inspections, seconds = [], []
    for number in range(count):
        tokens = frame_tokens(number, marked=number > 40 and number % 4 == 0)
        began = time.perf_counter()
        inspections.append(inspector.push_tokens(tokens))
        seconds.append(time.perf_counter() - began)
        time.sleep(pause)
    return inspections, seconds


OPTIONS: dict[str, Any] = {
    "window": 40,
    "min_window": 12,
    "rscin": (),
    "threads": 1,
    "degrees": (1,),
}


def test_a_search_that_raises_is_told_and_the_line_goes_on(bundle, events, monkeypatch, tmp_path):
    """A MemoryError in the search once ended `run`, and the frame's verdict was lost."""
    failures = iter([MemoryError("no room for the graph")])

    def search(distances, **options):
        for failure in failures:
            raise failure
        return real(distances, **options)

    real = codegraph
    monkeypatch.setattr("zeroline.runtime.line.searched.codegraph", search)
    with RollingInspector(bundle, **OPTIONS) as inspector:
        inspections, _ = pushed(inspector, 140)
    failed = [i for i in inspections if i.search_failed]
    assert [i.search_failed for i in failed] == ["no room for the graph"]
    assert failed[0].scores is not None
    alarms = [alarm.number for i in inspections for alarm in i.alarms]
    assert alarms == [1]  # by a later search
    passed, heard = events
    with (tmp_path / "out.jsonl").open("w") as file:
        lines = JsonLines(file, Run("test"))
        passed.listen(lines.event)
        from zeroline.edge_app.events import events_of

        for event in events_of(failed[0]):
            passed(event)
    assert heard[0].name is EventName.RECURRING_SEARCH_FAILED
    assert heard[0].text == "a search for recurring defects failed: no room for the graph"
    line = json.loads((tmp_path / "out.jsonl").read_text())
    assert line["event"] == "recurring.search_failed"
    assert line["reason"] == "no room for the graph"


def test_a_slow_search_holds_no_push_of_a_live_line_up(bundle, monkeypatch):
    """A search of a second once held one push up for 0.94 s."""
    real = codegraph

    def slow(distances, **options):
        time.sleep(0.8)
        return real(distances, **options)

    monkeypatch.setattr("zeroline.runtime.line.searched.codegraph", slow)
    with RollingInspector(bundle, wait_for_search=False, **OPTIONS) as inspector:
        inspections, seconds = pushed(inspector, 140, pause=0.03)
    assert max(seconds) < 0.3
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
