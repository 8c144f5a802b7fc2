"""What outputs write to disk: lines, pictures, sheets of recurring defects."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest

from support.messages import (
    RUN,
    alarm_message,
    event_message,
    part_message,
    part_of,
    revision_message,
    view_of,
)
from zeroline.edge_app.bodies import event_body, part_body
from zeroline.edge_app.errors import OutputError
from zeroline.edge_app.events import Event, EventName
from zeroline.edge_app.outputs.json_lines import JsonLines
from zeroline.edge_app.outputs.pictures import DefectSheets, Pictures
from zeroline.edge_app.outputs.progress import Progress
from zeroline.edge_app.outputs.worker import without_pixels
from zeroline.runtime import RecurringDefect, Revision, Verdict
from zeroline.runtime.results import Reason

REVISION = Revision(0, "part-0", None, Verdict.NG, Reason.RECURRING, Verdict.OK, recurring=True)


def pictures(folder, **more):
    options = {"folder": folder, "draw": "ng", "keep": "none", "video": None, "window": False}
    return Pictures(RUN.id, **options | more)


def lines_of(*messages, **more):
    file = io.StringIO()
    output = JsonLines(file, **more)
    for message in messages:
        output.take(message)
    return [json.loads(line) for line in file.getvalue().splitlines()]


@pytest.mark.parametrize("uncertain", ["reject", "third", "stop"])
def test_the_action_of_each_verdict(uncertain):
    messages = [part_message(number, verdict) for number, verdict in enumerate(Verdict)]
    lines = lines_of(*messages, uncertain=uncertain)
    actions = {line["verdict"]: line["action"] for line in lines}
    assert actions == {"OK": "pass", "NG": "reject", "UNCERTAIN": uncertain, "FAULT": "reject"}


def test_what_leaves_before_the_store_has_it_says_so():
    first, second = lines_of(part_message(1), part_message(2, unstored=True))
    assert (first["unstored"], second["unstored"]) == (False, True)


def test_a_part_of_several_cameras_has_the_fields_of_the_one_that_decides():
    views = (
        view_of(7, camera="top"),
        view_of(9, Verdict.NG, camera="side"),
        view_of(8, camera="end"),
    )
    body = part_body(part_of(*views, name="A-1"), number=3, run=RUN, station="press-4")
    assert (body["part"], body["verdict"], body["reason"]) == ("A-1", "NG", "score")
    assert (body["camera"], body["frame"], body["source"]) == ("side", 9, "9.png")
    seen = [(one["camera"], one["frame"], one["verdict"]) for one in body["cameras"]]
    assert seen == [("top", 7, "OK"), ("side", 9, "NG"), ("end", 8, "OK")]


def test_a_part_that_misses_a_camera_has_no_frame_that_decides():
    part = part_of(view_of(7, camera="top"), verdict=Verdict.FAULT, reason=Reason.LATE)
    body = part_body(part, number=3, run=RUN, station="press-4")
    assert (body["verdict"], body["reason"], body["frame"]) == ("FAULT", "late", 7)
    assert [one["verdict"] for one in body["cameras"]] == ["OK"]  # what the one has seen
    none = replace(part, views=())
    body = part_body(none, number=3, run=RUN, station="press-4")
    assert (body["frame"], body["camera"], body["source"], body["cameras"]) == (None, None, "", [])
    assert body["wall_time"] == none.time.wall
    assert json.dumps(body, allow_nan=False)


def test_data_of_an_event_hides_none_of_its_own_keys():
    event = Event(EventName.CAMERA_LOST, "lost", {"time": "x", "message": "y", "source": "cam"})
    body = event_body(event, number=5, run=RUN, station="press-4")
    assert (body["message"], body["source"]) == (5, "cam")
    assert body["time"].endswith("Z")


def test_pictures_are_drawn_and_their_names_are_in_the_lines(tmp_path, paint):
    drawing = pictures(tmp_path, draw="ng", keep="ng")
    messages = [
        part_message(1, frame=paint(1)),
        part_message(2, Verdict.NG, frame=paint(2)),
        part_message(3, Verdict.NG, frame=paint(3), camera="side"),
        part_message(4, Verdict.FAULT, scored=False),
    ]
    lines = lines_of(*messages, pictures=drawing)
    for message in messages:
        drawing.take(message)
    drawing.close()
    named = [line[key] for line in lines for key in ("overlay", "kept") if line[key]]
    assert sorted(named) == sorted(path.name for path in tmp_path.iterdir())
    assert named[0] == f"{RUN.id}-camera-00000002-2.png"
    assert len(named) == 4
    # a line that is written late names the same pictures
    assert lines_of(*map(without_pixels, messages), pictures=drawing) == lines


def test_a_picture_whose_frame_was_let_go_is_a_loss(tmp_path, paint):
    drawing = pictures(tmp_path)
    drawing.take(without_pixels(part_message(1, frame=paint(1))))  # OK: none is to be drawn
    with pytest.raises(OutputError, match="too slow"):
        drawing.take(without_pixels(part_message(2, Verdict.NG, frame=paint(2))))


def test_a_sheet_shows_the_frames_of_its_own_camera(tmp_path, paint):
    sheets = DefectSheets(RUN.id, tmp_path, kept=8)
    for number in range(12):
        sheets.take(part_message(number, frame=paint(number), camera="top"))
    marks = np.zeros((2, 36), bool)
    marks[:, 7] = True
    defect = RecurringDefect(1, True, 2, None, (2, 11), 0.5, marks)
    sheets.take(alarm_message(20, defect, camera="side"))
    assert list(tmp_path.iterdir()) == []
    sheets.take(alarm_message(21, defect, camera="top"))
    (path,) = tmp_path.iterdir()
    assert path.name == f"{RUN.id}-top-recurring-1-since-00000002.png"


def test_progress_counts_parts():
    done: list[int] = []
    output = Progress(done.append)
    for message in (part_message(1), event_message(2), revision_message(3, REVISION)):
        output.take(message)
    assert done == [1]
