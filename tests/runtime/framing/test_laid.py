"""Parts laid upright and flat."""

from __future__ import annotations

import numpy as np
import pytest

from support.drawn_parts import BRACKET, GROUND, SQUARE, drawn, pose_at
from zeroline.runtime.framing.pose import TaughtPart, laid_flat

FIRST = pose_at(160, 160)


@pytest.fixture(scope="module")
def bracket():
    return TaughtPart.of(drawn(BRACKET, FIRST))


@pytest.mark.parametrize("side", [96, 224, 400])
def test_a_turned_part_is_laid_where_the_taught_one_is(bracket, side):
    pictures = [drawn(BRACKET, FIRST), drawn(BRACKET, pose_at(150, 172, 130), seed=1)]
    first, other = (
        laid_flat(bracket, picture, bracket.find(picture, by="pattern"), side, by="pattern")
        for picture in pictures
    )
    assert first[0].shape == (side, side, 3)
    assert first[0].dtype == np.uint8
    difference = np.abs(first[0].astype(int) - other[0])
    assert np.percentile(difference, 99) < 12
    assert not first[1].any()
    assert not other[1].any()


def test_the_round_of_the_part_is_one_colour(bracket):
    picture = drawn(BRACKET, FIRST)
    picture[:20] = 255  # something else on the ground
    pose = bracket.find(picture, by="pattern")
    laid, _ = laid_flat(bracket, picture, pose, 200, by="pattern")
    distance = bracket.distance(200)
    flat = laid[distance > 0.026]
    assert np.abs(flat.astype(int) - GROUND).max() <= 2
    assert len(np.unique(flat, axis=0)) == 1
    assert np.ptp(laid[distance < 0].astype(int)) > 80


def test_by_its_outline_a_part_is_shown_without_its_rim_on_its_own_tone(bracket):
    picture = drawn(BRACKET, FIRST)
    laid, _ = laid_flat(bracket, picture, bracket.find(picture, by="outline"), 400, by="outline")
    distance = bracket.distance(400)
    flat = laid[distance > 0]
    assert len(np.unique(flat, axis=0)) == 1
    inside = laid[distance < -0.02].astype(int)
    assert np.abs(flat[0] - np.median(inside, axis=0)).max() <= 3
    rim = laid[(distance < -0.005) & (distance > -0.02)].astype(int)
    assert np.abs(rim - GROUND).min() > 20  # nothing of the ground shows


def test_the_part_outside_the_picture_is_missing(bracket):
    pose = pose_at(220, 160)
    picture = drawn(BRACKET, pose)
    found = bracket.find(picture, by="pattern")
    laid, missing = laid_flat(bracket, picture, found, 133, by="pattern")
    mask = bracket.mask(133)
    assert missing.any()
    assert not (missing & ~mask).any()
    assert missing.sum() / mask.sum() == pytest.approx(1 - found.in_view, abs=0.02)
    assert missing[:, : 133 // 2].sum() == 0  # it leaves on the right
    assert np.abs(laid[missing].astype(int) - GROUND).mean() < 8


def test_the_mask_is_the_part(bracket):
    alone = drawn([(BRACKET[0][0], 255)], FIRST, noise=0)
    pose = bracket.find(drawn(BRACKET, FIRST), by="pattern")
    laid, _ = laid_flat(bracket, alone, pose, 266, by="pattern")
    wrong = (laid[..., 0] > 147) != bracket.mask(266)
    assert wrong.mean() < 0.015
    assert not wrong[np.abs(bracket.distance(266)) > 1.5 / 266].any()


def test_fine_lines_do_not_alias():
    """Stripes of three pixels, laid at a fifth of the size, become grey and no moiré."""
    shape, first = (1000, 1000), pose_at(500, 500, scale=4)
    picture = drawn(SQUARE, first, shape=shape)
    taught = TaughtPart.of(picture)
    pose = taught.find(picture, by="pattern")
    stripes = np.tile(np.repeat(np.array((0, 255), np.uint8), 3), 167)[:1000]
    picture = np.broadcast_to(stripes[None, :, None], (1000, 1000, 3))
    laid, _ = laid_flat(taught, picture, pose, 150, by="pattern")
    inner = laid[taught.distance(150) < -0.05].astype(int)
    assert np.abs(inner - 127).max() < 45
