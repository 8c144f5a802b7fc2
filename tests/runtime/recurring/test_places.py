"""Whether the worst patches of a group lie at one place."""

import numpy as np
import pytest

from zeroline.runtime.recurring.places import worst_places

SIDE = 10
EVERYTHING = np.ones((4, SIDE * SIDE), bool)


def gaps_at(*places, height=1.0, shape=(SIDE, SIDE)):
    """A gap of 1 at one patch of each image, 0.1 elsewhere."""
    gap = np.full((len(places), *shape), 0.1, np.float32)
    for image, (row, column) in enumerate(places):
        gap[image, row, column] = height
    return gap.reshape(len(places), -1)


def test_marks_at_one_place_agree_also_one_patch_off():
    found = worst_places(gaps_at((4, 4), (4, 5), (5, 4), (4, 4)), EVERYTHING, roi=None)
    assert (found.agreement, found.at_border) == (1.0, 0.0)


def test_marks_two_patches_apart_do_not_agree():
    found = worst_places(gaps_at((4, 4), (4, 6), (1, 1), (8, 8)), EVERYTHING, roi=None)
    assert found.agreement == 0


def test_half_of_the_pairs():
    found = worst_places(gaps_at((4, 4), (4, 4), (4, 4), (8, 8)), EVERYTHING, roi=None)
    assert found.agreement == pytest.approx(6 / 12)


def test_an_outline_reaches_as_far_as_half_of_the_gap():
    """A long scratch is worst at one end here, at the other there."""
    gap = gaps_at((2, 2), (2, 7))
    assert worst_places(gap, EVERYTHING[:2], roi=None).agreement == 0
    for image in (0, 1):
        gap[image].reshape(SIDE, SIDE)[2, 2:8] = np.maximum(
            gap[image].reshape(SIDE, SIDE)[2, 2:8], 0.6
        )
    assert worst_places(gap, EVERYTHING[:2], roi=None).agreement == 1


def test_patches_that_do_not_matter_do_not_count():
    relevant = EVERYTHING.copy()
    relevant[3] = False  # image 3 agrees with none
    gap = gaps_at((4, 4), (4, 4), (4, 4), (4, 4))
    assert worst_places(gap, relevant, roi=None).agreement == pytest.approx(6 / 12)
    gap = gaps_at((4, 4), (4, 4), (4, 4), (8, 8))
    gap[3, 44] = 0.5
    relevant = EVERYTHING.copy()
    relevant[3, 88] = False  # the next worst is at the common place
    assert worst_places(gap, relevant, roi=None).agreement == 1


def test_the_border_is_that_of_the_whole_grid():
    gap = gaps_at((0, 4), (9, 1), (4, 0), (4, 4))
    assert worst_places(gap, EVERYTHING, roi=None).at_border == 0.75
    roi = np.zeros(144, bool)  # a grid of 12 × 12, its inner 10 × 10 counted
    roi.reshape(12, 12)[1:-1, 1:-1] = True
    assert worst_places(gap, EVERYTHING, roi=roi).at_border == 0


def test_neighbours_are_those_of_the_whole_grid():
    """Of a region two columns wide, patches of one row are side by side, others are not."""
    roi = np.zeros(144, bool)
    roi.reshape(12, 12)[:, [2, 9]] = True
    gap = np.full((2, 24), 0.1, np.float32)
    gap[0, 10], gap[1, 11] = 1, 1  # neighbours in the row of patches, seven apart on the grid
    assert worst_places(gap, EVERYTHING[:2, :24], roi=roi).agreement == 0
