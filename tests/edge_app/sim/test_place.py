"""Where parts lie on the simulated line: as asked, and as each frame says."""

from typing import Any

import cv2
import numpy as np
import pytest

from support.machine import ROOT
from zeroline.edge_app.errors import InputError
from zeroline.edge_app.sim import camera
from zeroline.edge_app.sim.line import SimulatedLine
from zeroline.edge_app.sim.settings import LineSettings, settings_from


def line(**settings):
    return SimulatedLine(LineSettings(**settings))


def whole(matrix):
    return np.vstack((matrix, (0, 0, 1)))


def test_frames_are_those_of_before():
    """Published figures depend on them. The file was written before parts could be moved.

    Other processors round otherwise: one grey level in a thousand values is let pass.
    """
    with np.load(ROOT / "tests" / "golden" / "plates.npz") as golden:
        settings = {"size": 64, "tool_marks": 0.3, "empty": 0.2, "second_lot": 0.5}
        frames = list(line(seed=5, parts=4, defects=0.7, **settings))
        assert [frame.kind for frame in frames] == golden["kinds"].tolist()
        for frame, image, mask in zip(frames, golden["images"], golden["masks"], strict=True):
            difference = np.abs(frame.image.astype(int) - image)
            assert difference.max() <= 1
            assert (difference > 0).mean() < 1e-3
            assert (frame.mask != mask).mean() < 1e-3


def test_place_and_turn_leave_the_part_itself_alone():
    still, moved = (
        [line(parts=12, size=64, defects=0.5, **s).part(n) for n in range(12)]
        for s in ({}, {"place": 0.05, "turn": 180.0})
    )
    assert [a.kind for a in still] == [b.kind for b in moved]
    for a, b in zip(still, moved, strict=True):
        assert (a.mask.any(), a.in_view) == (b.mask.any(), 1.0)
        assert not np.array_equal(a.image, b.image)


def test_places_and_turns_are_uniform_as_asked():
    rng = np.random.default_rng(3)
    still = camera.Pose(1.0, 2.0, 3.0)
    poses = [still.moved(rng, right=20.0, down=10.0, turn=180.0) for _ in range(4000)]
    drawn = np.array([(p.right - 1, p.down - 2, p.turn - 3) for p in poses]) / (20, 10, 180)
    assert np.abs(drawn).max() <= 1
    for column in drawn.T:
        counts, _ = np.histogram(column, 10, (-1, 1))
        assert np.abs(counts - 400).max() < 80  # 4 standard deviations
    assert np.abs(np.corrcoef(drawn.T) - np.eye(3)).max() < 0.06
    frames = [line(size=(96, 64), place=0.2, turn=20.0, variation=0.0).part(n) for n in range(8)]
    limits = (0.2 * 64, 0.2 * 64, 20)
    shown = np.array([(f.pose.right, f.pose.down, f.pose.turn) for f in frames]) / limits
    assert 0.5 < np.abs(shown).max() <= 1


def lamps_from_both_sides(monkeypatch, **settings):
    """Return a part's frame, and its grey picture without the lamp's direction."""
    frames = []
    for azimuth in (-2.2, -2.2 + np.pi):
        lamp = camera.Light(azimuth, 1.0)
        monkeypatch.setattr(camera.Light, "at", lambda *_, lamp=lamp, **__: lamp)
        frames.append(line(defects=0.0, seed=4, **settings).part(0))
    greys = [cv2.cvtColor(frame.image, cv2.COLOR_BGR2GRAY) for frame in frames]
    return frames[0], (greys[0] / np.float32(2) + greys[1] / np.float32(2)) / 255


@pytest.mark.parametrize(
    "settings", [{"turn": 15.0}, {"turn": 180.0}, {"turn": 90.0, "size": (400, 300)}]
)
def test_a_frame_tells_the_true_pose(monkeypatch, settings):
    """The upright drawing, warped by the true pose, lies on the part as it is seen."""
    settings = {"size": 320, "place": 0.1, **settings}
    frame, seen = lamps_from_both_sides(monkeypatch, **settings)
    upright = camera.Pose(0.0, 0.0, 0.0)
    monkeypatch.setattr(camera.Pose, "drawn", lambda *_, **__: upright)
    _, drawing = lamps_from_both_sides(monkeypatch, size=min(seen.shape))
    way = frame.to_picture
    size = seen.shape[::-1]
    guess = cv2.warpAffine(drawing, way, size, flags=cv2.INTER_CUBIC)
    side = min(size)
    corners = np.array([(x, y, 1) for x in (0.13, 0.87) for y in (0.13, 0.87)]) * (side, side, 1)
    corners = corners @ whole(way).T
    near: Any = np.zeros(seen.shape, np.uint8)
    cv2.fillConvexPoly(near, np.int32(corners[[0, 1, 3, 2], :2]), 1)
    near = cv2.dilate(near, np.ones((9, 9), np.uint8))
    near &= cv2.warpAffine(np.ones_like(near), way, size)
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-7)
    fit: Any = np.eye(2, 3, dtype=np.float32)
    _, fit = cv2.findTransformECC(guess, seen, fit, cv2.MOTION_EUCLIDEAN, stop, near, 5)
    assert np.abs(corners @ whole(fit).T - corners).max() < 0.1
    assert abs(np.degrees(np.arctan2(fit[1, 0], fit[0, 0]))) < 0.05


def test_the_lamp_does_not_turn_with_the_part(monkeypatch):
    """The side of the bore that faces the lamp is dark at every turn."""
    directions = []
    for turn in (0.0, 90.0, 180.0, -90.0):
        pose = camera.Pose(0.0, 0.0, turn)
        monkeypatch.setattr(camera.Pose, "moved", lambda *_, pose=pose, **__: pose)
        grey = line(size=240, defects=0.0, variation=0.0).part(0).image.mean(axis=2)
        y, x = np.mgrid[:240, :240] - 119.5
        rim = np.abs(np.hypot(x, y) - 0.085 * 240 - 1.5) < 1.5
        light = grey[rim] - grey[rim].mean()
        directions.append(np.degrees(np.arctan2((light * y[rim]).sum(), (light * x[rim]).sum())))
    assert np.ptp(np.unwrap(directions, period=360)) < 15


def test_a_part_may_lie_partly_out_of_view():
    frames = [line(size=(96, 64), place=0.5, turn=30.0, defects=0.5).part(n) for n in range(20)]
    shares = np.array([frame.in_view for frame in frames])
    assert shares.min() < 0.5
    assert shares.max() == 1.0
    areas = np.array([frame.part_area for frame in frames])
    np.testing.assert_allclose(areas, areas.max() * shares, rtol=0.02)


def test_oblong_frames_show_the_part_as_the_shorter_side_does():
    square = line(size=120, defects=1.0, variation=0.0).part(2)
    for size in ((200, 120), (120, 200)):
        frame = line(size=size, defects=1.0, variation=0.0).part(2)
        assert frame.image.shape == (size[1], size[0], 3)
        assert frame.mask.shape == frame.image.shape[:2]
        top, left = (size[1] - 120) // 2, (size[0] - 120) // 2
        middle = np.s_[top : top + 120, left : left + 120]
        np.testing.assert_array_equal(frame.mask[middle], square.mask)
        assert frame.mask.sum() == square.mask.sum()
        part = cv2.erode((square.image.mean(axis=2) > 70).astype(np.uint8), np.ones((9, 9))) > 0
        apart = np.abs(frame.image[middle].mean(axis=2) - square.image.mean(axis=2))[part]
        assert part.sum() > 4000
        assert apart.mean() < 10  # light falls off from the picture's middle otherwise


def test_an_empty_belt_has_no_pose():
    frames = list(line(size=(96, 64), parts=3, empty=0.6))
    empty = [frame for frame in frames if frame.part is None]
    assert empty
    assert all((frame.pose, frame.in_view) == (None, 0.0) for frame in empty)
    assert empty[0].image.shape == (64, 96, 3)
    with pytest.raises(ValueError, match="shows an empty belt: it has no pose"):
        _ = empty[0].to_picture


def test_addresses_say_size_place_and_turn():
    settings = settings_from("sim://parts?size=1920x1080&place=0.05&turn=180")
    assert (settings.shape, settings.place, settings.turn) == ((1080, 1920), 0.05, 180)
    assert settings_from("sim://parts?size=2448x2048").shape == (2048, 2448)
    assert settings_from("sim://parts?size=1440").shape == (1440, 1440)


_SIZES = "a side of 64 to 2048 pixels, or WIDTHxHEIGHT up to 2448x2048 is expected"


@pytest.mark.parametrize(
    ("setting", "allowed"),
    [
        ("size=63", _SIZES),
        ("size=2049", _SIZES),
        ("size=2449x100", _SIZES),
        ("size=640x", _SIZES),
        ("size=640x480x3", _SIZES),
        ("size=-640", _SIZES),
        ("size=", _SIZES),
        ("place=0.6", "less than or equal to 0.5 is expected"),
        ("place=-0.1", "greater than or equal to 0 is expected"),
        ("place=nan", "less than or equal to 0.5 is expected"),
        ("turn=181", "less than or equal to 180 is expected"),
        ("turn=any", "a valid number is expected"),
    ],
)
def test_wrong_settings_are_told_in_one_line(setting, allowed):
    with pytest.raises(InputError) as caught:
        settings_from(f"sim://parts?{setting}")
    assert str(caught.value).endswith(f": {setting}: {allowed}")
    assert "\n" not in str(caught.value)
