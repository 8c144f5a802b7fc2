"""Parts under way: views come together, the worst counts, deadlines hold."""

import time

import pytest

from support.messages import view_of
from zeroline.edge_app.parts import JudgedPart, PartName
from zeroline.edge_app.station.desk import Desk
from zeroline.runtime import Verdict
from zeroline.runtime.frames import CaptureTime
from zeroline.runtime.results import Reason

OK, NG, UNCERTAIN, FAULT = Verdict.OK, Verdict.NG, Verdict.UNCERTAIN, Verdict.FAULT


@pytest.fixture
def desk():
    judged: list[JudgedPart] = []
    opened = []

    def make(deadline=None):
        made = Desk(judged.append, deadline=deadline)
        opened.append(made)
        return made, judged

    yield make
    for one in opened:
        one.close()


def part(desk, name="a", cameras=("left", "right"), **more):
    return desk.open(PartName(name), cameras, CaptureTime.now(), **more)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        (OK, OK, OK), (OK, UNCERTAIN, UNCERTAIN), (NG, UNCERTAIN, NG), (UNCERTAIN, NG, NG),
        (NG, FAULT, FAULT), (FAULT, OK, FAULT),
    ],
)  # fmt: skip
def test_a_part_has_the_worst_verdict_of_its_cameras(desk, left, right, expected):
    made, judged = desk()
    opened = part(made)
    made.view(opened, view_of(0, right, camera="right"))
    assert judged == []
    assert len(made) == 1
    made.view(opened, view_of(0, left, camera="left"))
    (one,) = judged
    assert one.verdict is expected
    assert [view.camera for view in one.views] == ["left", "right"]  # not in the order they came
    assert one.decisive.inspection.verdict is expected
    assert len(made) == 0


def test_a_camera_that_is_missing_at_the_deadline_is_a_fault(desk):
    made, judged = desk(0.1)
    opened = part(made)
    made.framed(opened, "left")
    made.view(opened, view_of(0, OK, camera="left"))
    made.framed(opened, "right")
    time.sleep(0.25)
    (one,) = judged
    assert (one.verdict, one.reason, one.late) == (FAULT, Reason.LATE, False)  # it gave its frame
    assert one.views[1].inspection.fault == "no verdict of camera right by the deadline"
    made.view(opened, view_of(0, NG, camera="right"))
    late = judged[1]
    assert (late.verdict, late.reason, late.late) == (NG, Reason.SCORE, True)


def test_a_camera_without_a_frame_has_another_reason(desk):
    made, judged = desk(0.05)
    opened = part(made)
    made.view(opened, view_of(0, OK, camera="left"))
    time.sleep(0.2)
    assert [(one.verdict, one.reason) for one in judged] == [(FAULT, Reason.NO_FRAME)]
    assert len(made) == 0  # nobody waits for it


def test_the_nearest_deadline_is_kept_whatever_was_opened_last(desk):
    """The thread once slept until the deadline of the part that it saw first."""
    made, judged = desk(0.3)
    first = part(made, "first", cameras=("left",))
    time.sleep(0.2)
    part(made, "second", cameras=("left",))
    began = time.monotonic()
    while not judged:
        time.sleep(0.005)
    assert judged[0].name.id == "first"
    assert time.monotonic() - began < 0.2
    assert judged[0].decided - first.time.monotonic == pytest.approx(0.3, abs=0.06)


def test_a_verdict_in_time_is_told_once(desk):
    made, judged = desk(0.1)
    opened = part(made, cameras=("left",))
    made.view(opened, view_of(0, OK, camera="left"))
    time.sleep(0.2)
    assert [(one.verdict, one.late) for one in judged] == [(OK, False)]


def test_at_the_end_parts_that_somebody_waits_for_are_faults_and_others_are_left(desk):
    made, judged = desk()
    part(made, "asked", cameras=("left",), asked=True)
    part(made, "frame", cameras=("left",))
    made.fail(Reason.STATION, "the station stopped")
    assert [(one.name.id, one.verdict, one.reason) for one in judged] == [
        ("asked", FAULT, Reason.STATION)
    ]
    assert judged[0].views[0].inspection.fault == "the station stopped"
