"""Frozen cameras: equal frames and clocks that stand."""

import pytest

from zeroline.edge_app.captured import Captured
from zeroline.edge_app.events import Events
from zeroline.edge_app.station.frozen import FrozenWatch
from zeroline.runtime.frames import CaptureTime
from zeroline.runtime.results import Reason


@pytest.fixture
def watch():
    heard = []
    events = Events()
    events.listen(lambda event: heard.append(event.name.value))
    return FrozenWatch("top", events), heard


def taken(frame, at=0.0, clock=None):
    return Captured(frame, "x", time=CaptureTime(at, at), clock=clock)


def test_two_parts_with_equal_frames_are_frozen_and_a_new_frame_ends_it(watch, paint):
    one, heard = watch
    assert one.looked_at(taken(paint(0)), named=True).frame is not None
    for _ in range(3):
        frozen = one.looked_at(taken(paint(0)), named=True)
        assert (frozen.frame, frozen.reason) == (None, Reason.FROZEN)
        assert frozen.fault == "the frame is equal to the one before, bit for bit"
    assert heard == ["camera.frozen"]  # once
    almost = paint(0).copy()
    almost[5, 5, 0] += 1
    assert one.looked_at(taken(almost), named=True).frame is not None
    assert heard == ["camera.frozen", "camera.back"]


def test_frames_without_names_may_be_equal_for_a_while(watch, paint):
    """A coder sends nothing new where nothing moves: a belt that stands is no fault at once."""
    one, heard = watch
    one.looked_at(taken(paint(0), at=100.0), named=False)
    assert one.looked_at(taken(paint(0), at=104.9), named=False).reason is None
    assert one.looked_at(taken(paint(0), at=105.1), named=False).reason is Reason.FROZEN
    assert one.looked_at(taken(paint(1), at=105.2), named=False).reason is None
    assert one.looked_at(taken(paint(1), at=109.0), named=False).reason is None
    assert heard == ["camera.frozen", "camera.back"]


def test_a_stream_whose_clock_stands_is_frozen_though_its_frames_differ(watch, paint):
    one, _ = watch
    for number, clock in enumerate((1.0, 1.03, 1.07)):
        assert one.looked_at(taken(paint(number), clock=clock), named=True).reason is None
    stands = one.looked_at(taken(paint(9), clock=1.07), named=True)
    assert (stands.reason, stands.fault) == (Reason.FROZEN, "the clock of the stream stands")
    assert one.looked_at(taken(paint(10), clock=1.10), named=True).reason is None


def test_a_clock_that_never_went_says_nothing(watch, paint):
    one, _ = watch
    for number in range(3):
        assert one.looked_at(taken(paint(number), clock=4.0), named=True).reason is None


def test_a_frame_that_is_a_fault_already_stays_what_it_is(watch):
    one, _ = watch
    fault = Captured(None, "", fault="no frame", reason=Reason.NO_FRAME)
    assert one.looked_at(fault, named=True) is fault
