"""A part on its ground."""

from __future__ import annotations

import numpy as np
import pytest

from support.drawn_parts import SQUARE, WASHER, box, drawn, pose_at
from zeroline.runtime.errors import FrameError
from zeroline.runtime.framing.pose import part_on_ground
from zeroline.runtime.framing.pose.ground import CLEAR


@pytest.mark.parametrize("scale", [0.5, 1, 4])
def test_the_part_is_told_from_its_ground(scale):
    shape = (round(320 * scale), round(480 * scale))
    pose = pose_at(shape[1] / 2, shape[0] / 2, 30, scale=scale)
    found = part_on_ground(drawn(SQUARE, pose, shape=shape))
    assert found is not None
    assert found.contrast > CLEAR
    assert found.mask.shape == tuple(side // found.factor for side in shape)
    area = (200 * scale) ** 2
    assert found.mask.sum() * found.factor**2 == pytest.approx(area, rel=0.05)
    corners = box(0, 0, 200, 200) @ pose[:, :2].T + pose[:, 2]
    middle, most = found.outline.mean(axis=0), found.outline.max(axis=0)
    assert middle == pytest.approx(pose[:, 2], abs=2 * found.factor)
    assert most == pytest.approx(corners.max(axis=0), abs=3 * found.factor)


def test_holes_are_of_the_part_and_the_largest_thing_is_it():
    picture = drawn(WASHER, pose_at(160, 160))
    picture[5:25, 5:25] = 200
    found = part_on_ground(picture)
    assert found is not None
    height, width = found.mask.shape
    assert found.mask[height // 2, width // 2]
    assert not found.mask[: 25 // found.factor, : 25 // found.factor].any()


def test_a_light_ground_and_grey_values_are_taken():
    picture = 255 - drawn(SQUARE, pose_at(160, 160))[..., 0]
    found = part_on_ground(picture)
    assert found is not None
    assert found.contrast > CLEAR


def test_nothing_on_the_ground_is_told():
    assert part_on_ground(np.full((50, 70, 3), 9, np.uint8)) is None
    assert part_on_ground(np.zeros((2, 3), np.uint8)) is None
    for seed in range(5):
        noise = np.random.default_rng(seed).integers(0, 256, (100, 150, 3)).astype(np.uint8)
        found = part_on_ground(noise)
        assert found is None or found.contrast < CLEAR
        found = part_on_ground(drawn([], pose_at(0, 0), seed=seed))
        assert found is None or found.contrast < CLEAR


def test_what_is_no_picture_is_refused():
    with pytest.raises(FrameError):
        part_on_ground(np.zeros((5, 5)))  # type: ignore[arg-type]
