"""What a person says of a part: kept, moves the threshold, fills the reference set."""

import time

import pytest

from support.stations import LiveFrames, station_under_test
from zeroline.edge_app.configuration.storage import Storage
from zeroline.edge_app.control import Answer, RefusedError
from zeroline.edge_app.station.operator import OperatorRule
from zeroline.edge_app.store.store import Store
from zeroline.runtime import RollingInspector, load_bundle
from zeroline.runtime.reference.files import read_reference


@pytest.fixture
def reference(bundle_folder, tmp_path, paint):
    path = tmp_path / "good.npz"
    with (
        load_bundle(bundle_folder, device="cpu", threads=1) as bundle,
        RollingInspector(bundle, window=12, min_window=4, codegraph=False, threads=1) as line,
    ):
        for number in range(100, 112):
            line.push(paint(number), part_id=f"good-{number}")
        line.save_reference(path)
    return path


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path, Storage(keep_free_gb=0), station="s", events=lambda event: None) as made:
        yield made


@pytest.fixture
def values(bundle_folder, reference):
    small = {"model": str(bundle_folder), "window": 16, "min_window": 4, "codegraph": False}
    return {
        "cameras": [{"source": "7", "trigger": {"mode": "software"}}],
        "recipes": {"default": {**small, "reference": reference}},
    }


def shot(trial, camera, frame, name):
    trial.control.trigger("main", part=name)
    time.sleep(0.01)
    camera.give(frame)
    trial.until(lambda: name in trial.heard.verdicts())
    return trial.heard.verdicts()[name]


def test_a_false_alarm_moves_the_threshold_and_is_taken_back(tmp_path, values, paint, store):
    camera, operator = LiveFrames(), OperatorRule(tmp_path / "state" / "operator.json")
    with station_under_test(
        values, folder=tmp_path, sources={"7": camera}, store=store, operator=operator
    ) as trial:
        assert shot(trial, camera, paint(1, scratch=True), "odd") == ("NG", "score")
        before = trial.heard.parts[-1].body["threshold"]
        trial.until(lambda: store.has_part("odd"))
        trial.control.feedback("odd", Answer.FALSE_ALARM, note="oil", by="anna")
        trial.until(lambda: "threshold.changed" in trial.names())
        shot(trial, camera, paint(2), "next")
        rule = trial.running.inspection.line("camera").inspector.rule
        assert rule.factor == pytest.approx(1.104, abs=0.01)
        raised = trial.heard.parts[-1].body["threshold"]
        trial.control.reset_operator(by="anna")
        shot(trial, camera, paint(3), "third")
        again = trial.heard.parts[-1].body["threshold"]
        assert trial.running.inspection.line("camera").inspector.rule.factor == 1
    assert raised > before * 1.005
    assert abs(again - before) < 0.5 * (raised - before)
    told = [event.data for event in trial.events if event.name.value == "threshold.changed"]
    assert [(data["from"], data["by"]) for data in told] == [
        (1.0, "anna"), (pytest.approx(1.104, abs=0.01), "anna"),
    ]  # fmt: skip
    said = next(event for event in trial.events if event.name.value == "feedback")
    assert said.data == {"answer": "false_alarm", "note": "oil", "by": "anna"}


def test_without_the_rule_an_answer_moves_nothing(tmp_path, values, paint, store):
    camera = LiveFrames()
    with station_under_test(values, folder=tmp_path, sources={"7": camera}, store=store) as trial:
        shot(trial, camera, paint(1, scratch=True), "odd")
        trial.until(lambda: store.has_part("odd"))
        trial.control.feedback("odd", Answer.FALSE_ALARM, by="anna")
        with pytest.raises(RefusedError, match="the operator's rule is off"):
            trial.control.reset_operator(by="anna")
        with pytest.raises(RefusedError, match='part "nothing" is unknown'):
            trial.control.feedback("nothing", Answer.MISSED, by="anna")
    assert "threshold.changed" not in trial.names()


def test_a_false_alarms_part_joins_the_reference_set(tmp_path, values, paint, store, reference):
    camera, before = LiveFrames(), read_reference(reference)
    with station_under_test(values, folder=tmp_path, sources={"7": camera}, store=store) as trial:
        shot(trial, camera, paint(1, scratch=True), "odd")
        unknown = trial.heard.parts[-1].body["raw_score"]
        trial.until(lambda: store.has_part("odd"))
        trial.control.feedback("odd", Answer.FALSE_ALARM, by="anna", join=True)
        trial.until(lambda: "reference.changed" in trial.names())
    after = read_reference(reference)
    assert len(after.frames) == len(before.frames) + 1
    assert (after.frames[-1].name, after.frames[-1].confirmed) == ("odd", True)
    camera = LiveFrames()
    with station_under_test(values, folder=tmp_path, sources={"7": camera}) as trial:
        shot(trial, camera, paint(2, scratch=True), "again")
        known = trial.heard.parts[-1].body["raw_score"]
    assert known < 0.9 * unknown  # one of its like is in the window, pinned


def test_a_part_that_has_left_the_window_joins_nothing_and_that_is_told(
    tmp_path, values, paint, store
):
    camera = LiveFrames()
    with station_under_test(values, folder=tmp_path, sources={"7": camera}, store=store) as trial:
        for number in range(8):  # four of the sixteen places are the line's
            shot(trial, camera, paint(number), f"p{number}")
        trial.until(lambda: store.has_part("p0"))
        trial.control.feedback("p0", Answer.FALSE_ALARM, by="anna", join=True)
        trial.until(lambda: "reference.changed" in trial.names())
    (event,) = [e for e in trial.events if e.name.value == "reference.changed"]
    assert event.text == (
        'part "p0" joins no reference set: the window does not hold it whole any more'
    )


def test_a_part_cannot_join_where_no_recipe_has_a_reference_set(tmp_path, values, paint, store):
    del values["recipes"]["default"]["reference"]
    camera = LiveFrames()
    with station_under_test(values, folder=tmp_path, sources={"7": camera}, store=store) as trial:
        shot(trial, camera, paint(1), "a")
        trial.until(lambda: store.has_part("a"))
        with pytest.raises(RefusedError, match="no recipe that runs has a reference set"):
            trial.control.feedback("a", Answer.FALSE_ALARM, by="anna", join=True)
    assert "feedback" not in trial.names()  # it was refused whole
