"""A station at work: lanes, triggers, two cameras, pause, recipes, faults of its own."""

import re
import threading
import time
from functools import partial

import cv2
import numpy as np
import pytest

from support.stations import LiveFrames, station_under_test
from zeroline.edge_app.control import RefusedError
from zeroline.edge_app.messages import Kind
from zeroline.runtime import RollingInspector, Verdict


@pytest.fixture
def small(bundle_folder):
    return {"model": str(bundle_folder), "window": 8, "min_window": 4, "codegraph": False}


@pytest.fixture
def pictures(tmp_path, paint):
    def write(count, *, name="pictures", first=0):
        folder = tmp_path / name
        folder.mkdir()
        for number in range(count):
            cv2.imwrite(str(folder / f"{number:03}.png"), paint(first + number))
        return str(folder)

    return write


def ended(trial):
    trial.running.wait()


def told(trial, name):
    return name in trial.heard.verdicts()


def views_of(message):
    assert message.part is not None
    return message.part.views


def test_every_frame_of_a_folder_is_a_part_in_its_order(tmp_path, small, pictures):
    values = {"cameras": [{"source": pictures(12)}], "recipes": {"default": small}}
    with station_under_test(values, folder=tmp_path) as trial:
        ended(trial)
    names = [message.body["part"] for message in trial.heard.parts]
    assert names == [f"{number:03}.png" for number in range(12)]
    verdicts = [message.body["verdict"] for message in trial.heard.parts]
    assert verdicts[:3] == ["UNCERTAIN"] * 3
    assert set(verdicts[3:]) <= {"OK", "NG"}
    numbers = [message.number for message in trial.heard.messages]
    assert numbers == list(range(1, len(numbers) + 1))
    assert trial.running.tally.frames == 12
    assert (trial.heard.closed, trial.heard.safe_calls) == (
        True, ["start", "stop"],
    )  # fmt: skip


def test_frames_without_names_are_numbered(tmp_path, small):
    values = {
        "cameras": [{"name": "top", "source": "sim://parts?parts=3"}],
        "recipes": {"default": small},
    }
    with station_under_test(values, folder=tmp_path) as trial:
        ended(trial)
    names = [message.body["part"] for message in trial.heard.parts]
    assert [re.sub(r"-\d{8}-", "-DATE-", name) for name in names] == [
        f"top-DATE-{number:06}" for number in (1, 2, 3)
    ]


def test_a_number_of_parts_is_kept_exactly(tmp_path, small, pictures):
    values = {"cameras": [{"source": pictures(12)}], "recipes": {"default": small}}
    with station_under_test(values, folder=tmp_path, most=5) as trial:
        ended(trial)
    assert len(trial.heard.parts) == trial.running.tally.frames == 5


def test_two_cameras_of_one_source_give_one_part_with_two_views(tmp_path, small, pictures):
    """One picture, two regions: the source is opened once."""
    folder = pictures(6)
    values = {
        "cameras": [
            {"name": "left", "source": folder, "recipe": "left"},
            {"name": "right", "source": folder, "recipe": "right"},
        ],
        "recipes": {
            "default": small,
            "left": {"crop": [0, 0, 48, 96]},
            "right": {"crop": [48, 0, 48, 96]},
        },
    }
    with station_under_test(values, folder=tmp_path) as trial:
        assert len(trial.opener.sources) == 1
        ended(trial)
    assert [m.body["part"] for m in trial.heard.parts] == [f"{n:03}.png" for n in range(6)]
    views = [[v["camera"] for v in m.body["cameras"]] for m in trial.heard.parts]
    assert views == [["left", "right"]] * 6
    versions = {view.recipe_version for m in trial.heard.parts for view in views_of(m)}
    assert len(versions) == 2
    left, right = (trial.running.inspection.line(name) for name in ("left", "right"))
    assert left.bundle is right.bundle  # one session of the network


def test_four_clients_at_once_each_name_has_one_verdict(tmp_path, small, pictures):
    values = {
        "cameras": [{"source": pictures(40), "trigger": {"mode": "software", "queue": 8}}],
        "recipes": {"default": small},
    }
    refused = []

    def client(number, control):
        for part in range(10):
            while True:
                try:
                    control.trigger("main", part=f"c{number}-{part}", lot="L", serial=str(part))
                    break
                except RefusedError as error:
                    refused.append(error.kind)
                    time.sleep(0.002)

    with station_under_test(values, folder=tmp_path) as trial:
        threads = [threading.Thread(target=client, args=(n, trial.control)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        ended(trial)
    names = [message.body["part"] for message in trial.heard.parts]
    assert sorted(names) == sorted(f"c{n}-{part}" for n in range(4) for part in range(10))
    sources = [message.body["source"] for message in trial.heard.parts]
    assert sources == [f"{number:03}.png" for number in range(40)]  # each frame once, in order
    assert {m.body["lot"] for m in trial.heard.parts} == {"L"}
    assert all(m.body["part"].endswith("-" + m.body["serial"]) for m in trial.heard.parts)
    counts = trial.running.triggers["main"].counts
    assert (counts.taken, counts.missed) == (40, len(refused))
    assert set(refused) <= {"busy"}
    assert trial.names().count("trigger.missed") == bool(refused)  # once for a while


def test_a_full_queue_refuses_one_more_and_what_was_accepted_is_judged(tmp_path, small, paint):
    camera = LiveFrames(patience=5)
    values = {
        "cameras": [{"source": "7", "trigger": {"mode": "software", "queue": 2}}],
        "recipes": {"default": small},
        "deadline_ms": 800,
    }
    accepted, refused = [], []
    with station_under_test(values, folder=tmp_path, sources={"7": camera}) as trial:
        for number in range(8):  # no frame comes: one is under way, two wait
            try:
                accepted.append(trial.control.trigger("main", part=f"p{number}"))
            except RefusedError as error:
                refused.append((error.kind, str(error)))
            time.sleep(0.02)
        trial.until(lambda: len(trial.heard.verdicts()) == len(accepted))
    assert 2 <= len(accepted) <= 3
    assert refused[0] == (
        "busy",
        f'trigger "main" of part "p{len(accepted)}" was missed: 2 wait already',
    )
    assert trial.running.triggers["main"].counts.missed == len(refused) == 8 - len(accepted)
    assert set(trial.heard.verdicts()) == set(accepted)
    assert {verdict for verdict, _ in trial.heard.verdicts().values()} == {"FAULT"}


def test_a_trigger_takes_the_next_frame_of_a_live_camera_not_the_last(tmp_path, small, paint):
    """Frames between two triggers are no parts: they are not dropped."""
    camera = LiveFrames(dropped=7)
    values = {
        "cameras": [{"source": "7", "trigger": {"mode": "software", "delay_ms": 150}}],
        "recipes": {"default": small},
    }
    with station_under_test(values, folder=tmp_path, sources={"7": camera}) as trial:
        camera.give(paint(0))
        time.sleep(0.05)
        trial.control.trigger("main", part="a")
        time.sleep(0.05)
        camera.give(paint(1))  # before the delay has passed
        time.sleep(0.2)
        camera.give(paint(2))
        trial.until(lambda: trial.heard.parts)
    (message,) = trial.heard.parts
    assert (message.body["part"], message.body["source"]) == ("a", "2")
    assert views_of(message)[0].captured.dropped == 0
    assert trial.running.tally.dropped == 0


def test_a_frame_that_comes_late_is_told(tmp_path, small, paint, monkeypatch):
    monkeypatch.setattr("zeroline.edge_app.station.feeder.LATE", 0.1)
    camera = LiveFrames(patience=5)
    values = {
        "cameras": [{"source": "7", "trigger": {"mode": "software"}}],
        "recipes": {"default": small},
    }
    with station_under_test(values, folder=tmp_path, sources={"7": camera}) as trial:
        trial.control.trigger("main", part="a")
        time.sleep(0.3)
        camera.give(paint(0))
        trial.until(lambda: trial.heard.parts)
    assert trial.names().count("trigger.late") == 1
    assert trial.running.triggers["main"].counts.late == 1


def two_cameras(small, **more):
    return {
        "cameras": [
            {"name": "top", "source": "7", "trigger": {"mode": "software"}},
            {"name": "side", "source": "8", "trigger": {"mode": "software"}},
        ],
        "recipes": {"default": small},
        **more,
    }


def test_a_camera_that_is_lost_makes_its_parts_faults_by_the_deadline_and_comes_back(
    tmp_path, small, paint
):
    top, side = LiveFrames(patience=0.1), LiveFrames(patience=0.1)
    values = two_cameras(small, deadline_ms=400)
    with station_under_test(values, folder=tmp_path, sources={"7": top, "8": side}) as trial:
        seed = iter(range(100))

        def shot(name, *cameras):
            asked = time.monotonic()
            trial.control.trigger("main", part=name)
            time.sleep(0.02)
            for camera in cameras:
                camera.give(paint(next(seed)))
            trial.until(lambda: name in trial.heard.verdicts())
            return time.monotonic() - asked

        for number in range(5):
            shot(f"both-{number}", top, side)
        took = shot("lost", top)
        assert took < 0.6
        assert trial.heard.verdicts()["lost"] == ("FAULT", "no_frame")
        for number in range(2):
            shot(f"again-{number}", top, side)
    verdicts = trial.heard.verdicts()
    assert verdicts["both-4"][0] in ("OK", "NG")
    assert verdicts["again-1"][0] in ("OK", "NG")
    lost = next(m for m in trial.heard.parts if m.body["part"] == "lost")
    assert lost.body["cameras"][0]["verdict"] in ("OK", "NG")
    assert [view["camera"] for view in lost.body["cameras"]] == ["top", "side"]


def test_a_verdict_after_its_deadline_is_late_and_recorded_as_late(
    tmp_path, small, pictures, monkeypatch
):
    real = RollingInspector.push

    def slow(self, frame, **more):
        time.sleep(0.3)
        return real(self, frame, **more)

    monkeypatch.setattr(RollingInspector, "push", slow)
    values = {
        "cameras": [{"source": pictures(1), "trigger": {"mode": "software"}}],
        "recipes": {"default": small},
        "deadline_ms": 100,
    }
    with station_under_test(values, folder=tmp_path) as trial:
        time.sleep(0.2)
        trial.control.trigger("main", part="a")
        trial.until(lambda: len(trial.heard.parts) == 2)
    told = [(m.body["verdict"], m.body["reason"], m.body["late"]) for m in trial.heard.parts]
    assert told == [("FAULT", "late", False), ("UNCERTAIN", "warming_up", True)]
    first, second = trial.heard.parts
    assert first.part is not None
    assert second.body["wall_time"] >= first.part.time.wall  # not when it was read ahead
    assert trial.running.tally.frames == 1
    assert trial.running.tally.late == 1


def test_equal_frames_of_two_parts_are_frozen(tmp_path, small, paint):
    camera = LiveFrames()
    values = {
        "cameras": [{"source": "7", "trigger": {"mode": "software"}}],
        "recipes": {"default": small},
    }
    with station_under_test(values, folder=tmp_path, sources={"7": camera}) as trial:
        for name in ("a", "b"):
            trial.control.trigger("main", part=name)
            time.sleep(0.02)
            camera.give(paint(0))
            trial.until(partial(told, trial, name))
    assert trial.heard.verdicts()["b"] == ("FAULT", "frozen")
    assert trial.names() == ["camera.frozen"]


def test_an_interval_makes_parts_by_the_clock(tmp_path, small, paint):
    camera = LiveFrames()
    values = {
        "cameras": [
            {"name": "top", "source": "7", "trigger": {"mode": "interval", "interval_s": 0.1}}
        ],
        "recipes": {"default": small},
    }
    with station_under_test(values, folder=tmp_path, sources={"7": camera}) as trial:
        end = time.monotonic() + 0.75
        number = 0
        while time.monotonic() < end:
            camera.give(paint(number))
            number += 1
            time.sleep(0.01)
    assert 5 <= len(trial.heard.parts) <= 8
    assert {m.body["verdict"] for m in trial.heard.parts[4:]} <= {"OK", "NG"}


def test_a_clock_makes_no_parts_of_a_station_that_is_paused(tmp_path, small):
    values = {
        "cameras": [{"source": "sim://parts", "trigger": {"mode": "interval", "interval_s": 0.05}}],
        "recipes": {"default": small},
    }
    with station_under_test(values, folder=tmp_path) as trial:
        trial.until(lambda: len(trial.heard.parts) >= 2)
        trial.control.pause(True)
        time.sleep(0.3)
        taken = trial.running.triggers["main"].counts.taken
        time.sleep(0.3)
        assert trial.running.triggers["main"].counts.taken == taken
        trial.control.pause(False)
        trial.until(lambda: trial.running.triggers["main"].counts.taken > taken)


def test_a_paused_station_refuses_triggers_and_holds_files(tmp_path, small, pictures):
    values = {"cameras": [{"source": pictures(20)}], "recipes": {"default": small}}
    with station_under_test(values, folder=tmp_path) as trial:
        trial.control.pause(True, by="anna")
        time.sleep(0.3)
        before = len(trial.heard.parts)
        time.sleep(0.3)
        assert len(trial.heard.parts) == before < 20
        assert trial.heard.safe_calls[-1] == "pause"
        assert not trial.control.health().ready
        assert trial.control.health().alive
        trial.control.pause(False)
        ended(trial)
    assert [m.body["part"] for m in trial.heard.parts] == [f"{n:03}.png" for n in range(20)]


def test_setup_shows_live_frames_and_counts_nothing(tmp_path, small, paint):
    camera = LiveFrames()
    values = {"cameras": [{"source": "7"}], "recipes": {"default": small}}
    with station_under_test(values, folder=tmp_path, sources={"7": camera}) as trial:
        trial.control.setup(True, by="anna")
        with pytest.raises(RefusedError, match='trigger "main" is unknown'):
            trial.control.trigger("main")
        time.sleep(0.35)
        for number in range(4):
            camera.give(paint(number))
            time.sleep(0.05)
        counted = len(trial.heard.parts)
        shown = trial.control.newest("camera")
        assert shown is not None
        assert shown.captured.frame is not None
        assert np.array_equal(shown.captured.frame, paint(3))
        assert trial.heard.safe_calls[-1] == "setup"
        time.sleep(0.2)
        assert len(trial.heard.parts) == counted <= 1
        trial.control.setup(False)
        time.sleep(0.05)
        camera.give(paint(5))
        trial.until(lambda: len(trial.heard.parts) > counted)
    assert views_of(trial.heard.parts[-1])[0].inspection.compared_with == 0  # nothing was learnt


def test_a_frame_that_the_station_cannot_inspect_is_a_fault_and_the_next_goes_on(
    tmp_path, small, pictures, monkeypatch
):
    real = RollingInspector.push

    def push(self, frame, *, part_id=None, **more):
        if part_id == "003.png":
            raise MemoryError("no room")
        return real(self, frame, part_id=part_id, **more)

    monkeypatch.setattr(RollingInspector, "push", push)
    values = {"cameras": [{"source": pictures(8)}], "recipes": {"default": small}}
    with station_under_test(values, folder=tmp_path) as trial:
        ended(trial)
    verdicts = trial.heard.verdicts()
    assert verdicts["003.png"] == ("FAULT", "station")
    assert verdicts["007.png"][0] in ("OK", "NG")
    assert trial.running.faulty  # its exit code is 1
    assert trial.names() == ["station.fault"]
    events = [m.body for m in trial.heard.messages if m.kind is Kind.EVENT]
    assert [(body["event"], body["part"]) for body in events] == [("station.fault", "003.png")]


def test_a_station_that_fails_again_and_again_ends(tmp_path, small, pictures, monkeypatch):
    def push(self, frame, **more):
        raise RuntimeError("broken")

    monkeypatch.setattr(RollingInspector, "push", push)
    values = {"cameras": [{"source": pictures(20)}], "recipes": {"default": small}}
    began = time.monotonic()
    with station_under_test(values, folder=tmp_path) as trial:
        ended(trial)
    assert time.monotonic() - began < 5
    assert [m.body["verdict"] for m in trial.heard.parts] == ["FAULT"] * 3
    assert trial.running.faulty


def test_at_the_stop_parts_that_a_trigger_has_asked_for_are_faults(tmp_path, small):
    camera = LiveFrames(patience=5)
    values = {
        "cameras": [{"source": "7", "trigger": {"mode": "software"}}],
        "recipes": {"default": small},
    }
    with station_under_test(values, folder=tmp_path, sources={"7": camera}) as trial:
        trial.control.trigger("main", part="a")
        trial.stop.set()
        ended(trial)
        began = time.monotonic()
    assert time.monotonic() - began < 3
    assert trial.heard.verdicts() == {"a": ("FAULT", "station")}


def test_a_source_of_triggers_that_ends_ends_the_station(tmp_path, small, pictures):
    values = {
        "cameras": [{"source": pictures(2), "trigger": {"mode": "software"}}],
        "recipes": {"default": small},
    }
    with station_under_test(values, folder=tmp_path) as trial:
        trial.control.trigger("main", part="a")
        trial.control.trigger("main", part="b")
        ended(trial)
    assert list(trial.heard.verdicts()) == ["a", "b"]


def test_another_size_is_told_for_a_crop_and_the_line_goes_on(tmp_path, small, paint):
    camera = LiveFrames()
    values = {
        "cameras": [{"source": "7"}],
        "recipes": {"default": {**small, "crop": [0, 0, 48, 96]}},
    }
    threading.Timer(0.2, lambda: camera.give(paint(0))).start()
    with station_under_test(values, folder=tmp_path, sources={"7": camera}) as trial:
        for number in range(1, 12):
            tall = number in (5, 6)
            camera.give(paint(number, height=128 if tall else 96))
            time.sleep(0.06)
        trial.until(lambda: trial.running.tally.frames >= 10)
    reasons = [(m.body["verdict"], m.body["reason"]) for m in trial.heard.parts]
    assert ("FAULT", "damaged_frame") in reasons
    assert reasons[-1][0] in ("OK", "NG")


def test_verdicts_are_those_of_the_inspector_alone(tmp_path, small, pictures, bundle_folder, paint):
    from zeroline.runtime import load_bundle

    values = {"cameras": [{"source": pictures(12)}], "recipes": {"default": small}}
    with station_under_test(values, folder=tmp_path) as trial:
        ended(trial)
    with (
        load_bundle(bundle_folder, device="cpu", threads=1) as bundle,
        RollingInspector(bundle, window=8, min_window=4, codegraph=False, threads=1) as alone,
    ):
        expected = [alone.push(paint(number)) for number in range(12)]
    assert [m.body["verdict"] for m in trial.heard.parts] == [e.verdict.value for e in expected]
    for message, inspection in zip(trial.heard.parts[1:], expected[1:], strict=True):
        assert inspection.scores is not None
        assert message.body["raw_score"] == pytest.approx(inspection.scores.raw_score, abs=1e-3)
    assert expected[-1].verdict in (Verdict.OK, Verdict.NG)
