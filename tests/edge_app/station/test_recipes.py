"""Recipes switched while frames come, windows that wait, windows over restarts."""

import gc
import threading
import time

import cv2
import pytest

from support.stations import LiveFrames, station_under_test
from zeroline.edge_app.control import RefusedError
from zeroline.edge_app.station.lines import Lines


@pytest.fixture
def values(bundle_folder):
    small = {"model": str(bundle_folder), "window": 8, "min_window": 4, "codegraph": False}
    return {
        "cameras": [{"source": "7", "trigger": {"mode": "software"}}],
        "recipes": {"default": small, "a": {}, "b": {"window": 6}},
    }


def shot(trial, camera, frame, name, **more):
    trial.control.trigger("main", part=name, **more)
    time.sleep(0.01)
    camera.give(frame)
    trial.until(lambda: name in trial.heard.verdicts())
    return next(m for m in trial.heard.parts if m.body["part"] == name)


def test_a_switch_leaves_no_part_without_a_verdict_and_windows_stay_warm(tmp_path, values, paint):
    camera = LiveFrames()
    with station_under_test(values, folder=tmp_path, sources={"7": camera}) as trial:
        for number in range(6):
            shot(trial, camera, paint(number), f"d{number}")
        trial.control.switch(None, "b", by="anna")
        trial.until(lambda: trial.running.inspection.line("camera").recipe == "b")
        first = shot(trial, camera, paint(10), "b0")
        assert first.body["recipe"] == "b"
        assert (first.body["verdict"], first.body["reason"]) == ("UNCERTAIN", "warming_up")
        trial.control.switch("camera", "default", by="anna")
        trial.until(lambda: trial.running.inspection.line("camera").recipe == "default")
        again = shot(trial, camera, paint(11), "d9")
        assert again.body["recipe"] == "default"
        assert again.body["verdict"] in ("OK", "NG")  # its window was warm
        assert again.body["compared_with"] == 6
    told = [e.data for e in trial.events if e.name.value == "recipe.switched"]
    assert [(d["from"], d["to"], d["by"]) for d in told] == [
        ("default", "b", "anna"), ("b", "default", "anna"),
    ]  # fmt: skip


def test_a_trigger_switches_the_recipe_of_its_own_part(tmp_path, values, paint):
    camera = LiveFrames()
    with station_under_test(values, folder=tmp_path, sources={"7": camera}) as trial:
        names = ["default", "a", "b", "a", "a", "default"]
        recipes = [
            shot(trial, camera, paint(n), f"p{n}", recipe=recipe).body["recipe"]
            for n, recipe in enumerate(names)
        ]
        assert recipes == names
        with pytest.raises(RefusedError, match='recipe "c" is unknown, there are: a, b, default'):
            trial.control.trigger("main", recipe="c")
        assert len(trial.heard.parts) == 6


def test_parts_before_a_trigger_with_a_recipe_keep_the_recipe_before(tmp_path, values, paint):
    """Sixteen triggers once came at once, and the last one's recipe was that of all: those of
    another one waited for half a minute, and were FAULT."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(12):
        cv2.imwrite(str(folder / f"{number:03}.png"), paint(number))
    values["cameras"] = [{"source": str(folder), "trigger": {"mode": "software"}}]
    wanted = ["default", "default", "a", "a", "a", "b", "a", "default", "default", "b", "b", "a"]
    with station_under_test(values, folder=tmp_path) as trial:
        for number, recipe in enumerate(wanted):
            trial.control.trigger("main", part=f"p{number}", recipe=recipe)
        trial.running.wait()
    found = {m.body["part"]: m.body["recipe"] for m in trial.heard.parts}
    assert [found[f"p{number}"] for number in range(12)] == wanted
    assert all(verdict != "FAULT" for verdict, _ in trial.heard.verdicts().values())


def test_a_trigger_after_a_switch_that_was_answered_has_the_new_recipe(
    tmp_path, values, paint, monkeypatch
):
    """A script that switches and then triggers was given a verdict by the old recipe."""
    usual = Lines.opened

    def slow(self, camera, recipe, **more):
        time.sleep(0.3)
        return usual(self, camera, recipe, **more)

    monkeypatch.setattr(Lines, "opened", slow)
    camera = LiveFrames()
    with station_under_test(values, folder=tmp_path, sources={"7": camera}) as trial:
        for number, recipe in enumerate(("b", "a", "default", "b")):
            trial.control.switch(None, recipe, by="script")
            assert shot(trial, camera, paint(number), f"p{number}").body["recipe"] == recipe


def test_a_recipe_that_asks_for_the_size_takes_no_frame(tmp_path, values, paint):
    """A crop asks for the frames' size: it once took the second picture, and nobody saw it."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(6):
        cv2.imwrite(str(folder / f"{number:03}.png"), paint(number))
    values["cameras"] = [{"source": str(folder), "trigger": {"mode": "software"}}]
    values["recipes"]["cropped"] = {"crop": [0, 0, 48, 96]}
    with station_under_test(values, folder=tmp_path) as trial:
        time.sleep(0.2)
        trial.control.switch(None, "cropped", by="test")
        for number in range(6):
            trial.control.trigger("main", part=f"p{number}")
        trial.running.wait()
    assert [m.body["source"] for m in trial.heard.parts] == [f"{n:03}.png" for n in range(6)]
    assert {m.body["recipe"] for m in trial.heard.parts} == {"cropped"}


def test_frames_of_files_go_on_while_the_recipe_changes(tmp_path, values, paint, bundle_folder):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(60):
        cv2.imwrite(str(folder / f"{number:03}.png"), paint(number))
    values["cameras"] = [{"source": str(folder)}]
    with station_under_test(values, folder=tmp_path) as trial:
        for recipe in ("a", "b", "a", "default", "b"):
            trial.control.switch(None, recipe, by="test")
            time.sleep(0.03)
        trial.running.wait()
    assert [m.body["part"] for m in trial.heard.parts] == [f"{n:03}.png" for n in range(60)]


def test_a_recipe_that_cannot_run_leaves_the_one_before(tmp_path, values, paint):
    values["recipes"]["bad"] = {"model": str(tmp_path / "nothing")}
    camera = LiveFrames()
    with station_under_test(values, folder=tmp_path, sources={"7": camera}) as trial:
        shot(trial, camera, paint(0), "p0")
        trial.control.switch(None, "bad", by="anna")
        trial.until(lambda: "recipe.switched" in trial.names())
        assert shot(trial, camera, paint(1), "p1").body["recipe"] == "default"
        asked = shot(trial, camera, paint(2), "p2", recipe="bad")
        assert (asked.body["verdict"], asked.body["reason"]) == ("FAULT", "station")
        assert shot(trial, camera, paint(3), "p3").body["recipe"] == "default"
        failed = [e.text for e in trial.events if e.name.value == "recipe.switched"]
    assert all('recipe "bad" cannot run, the one before goes on' in text for text in failed)
    assert not trial.running.faulty


def test_windows_without_room_go_to_disk_and_come_back(tmp_path, values, paint):
    values["memory_gb"] = 0
    camera = LiveFrames()
    with station_under_test(values, folder=tmp_path, sources={"7": camera}, state=True) as trial:
        for number in range(6):
            shot(trial, camera, paint(number), f"d{number}")
        trial.control.switch(None, "b", by="anna")
        trial.until((tmp_path / "state" / "camera" / "default.npz").exists)
        back = shot(trial, camera, paint(9), "back", recipe="default")
        assert back.body["verdict"] in ("OK", "NG")
        assert back.body["compared_with"] == 6


def test_the_first_verdict_after_a_restart_needs_no_warming_up(tmp_path, values, paint):
    camera = LiveFrames()
    with station_under_test(values, folder=tmp_path, sources={"7": camera}, state=True) as trial:
        for number in range(8):
            shot(trial, camera, paint(number), f"d{number}")
    camera = LiveFrames()
    with station_under_test(values, folder=tmp_path, sources={"7": camera}, state=True) as trial:
        first = shot(trial, camera, paint(9), "first")
    assert first.body["verdict"] in ("OK", "NG")
    assert first.part.views[0].inspection.frame_id == 8  # the count goes on
    values["recipes"]["default"]["crop"] = [0, 0, 48, 96]
    camera = LiveFrames()
    threading.Timer(0.2, lambda: camera.give(paint(20))).start()
    with station_under_test(values, folder=tmp_path, sources={"7": camera}, state=True) as trial:
        other = shot(trial, camera, paint(10), "other")
    assert other.body["reason"] == "warming_up"  # another framing: dropped


def test_the_recipe_that_ran_last_is_that_of_the_next_start_until_the_file_names_another(
    tmp_path, values, paint
):
    def recipe_at_start():
        camera = LiveFrames()
        with station_under_test(
            values, folder=tmp_path, sources={"7": camera}, state=True
        ) as trial:
            first = trial.running.inspection.line("camera").recipe
            trial.control.switch(None, "b", by="anna")
            trial.until(lambda: trial.running.inspection.line("camera").recipe == "b")
        return first

    assert recipe_at_start() == "default"
    assert recipe_at_start() == "b"
    values["cameras"][0]["recipe"] = "a"  # somebody has changed the file
    assert recipe_at_start() == "a"
    del values["recipes"]["b"]  # what ran last is gone
    values["recipes"]["b2"] = {}
    camera = LiveFrames()
    with station_under_test(values, folder=tmp_path, sources={"7": camera}, state=True) as trial:
        assert trial.running.inspection.line("camera").recipe == "a"


@pytest.mark.parametrize("memory", [1, 0])
def test_many_switches_leak_nothing(tmp_path, values, paint, memory):
    """1,000 switches are a trial; here 60 leave no thread and no window behind."""
    camera = LiveFrames()
    values["memory_gb"] = memory
    with station_under_test(values, folder=tmp_path, sources={"7": camera}) as trial:
        for name in ("a", "b", "default"):
            shot(trial, camera, paint(0), f"first-{name}", recipe=name)
        threads = threading.active_count()
        for number in range(60):
            name = ("a", "b", "default")[number % 3]
            assert shot(trial, camera, paint(number), f"p{number}", recipe=name)
        assert threading.active_count() <= threads
        left = 3 if memory else 1
        trial.until(lambda: gc.collect() >= 0 and len(trial.opener.lines) == left)
