import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.literal import literal_interval_average
from zeroline.runtime import ScoringError, interval_average
from zeroline.runtime.stages.interval import interval_bounds


@pytest.mark.parametrize("bounds", [(0.0, 0.3), (0.3, 0.5), (0.1, 1.0), (0.0, 0.01)])
@pytest.mark.parametrize("images", [2, 4, 11, 40])
def test_equals_the_literal_form(xp, images, bounds):
    low, high = bounds
    distances = np.random.default_rng(images).random((images, 5, images)).astype(np.float32)
    distances[np.arange(images), :, np.arange(images)] = np.inf
    scores = xp.host(interval_average(xp.array(distances), low=low, high=high))
    expected = literal_interval_average(distances, low, high)
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_patches_with_fewer_partners(xp):
    rng = np.random.default_rng(0)
    distances = rng.random((12, 6, 12)).astype(np.float32)
    distances[rng.random(distances.shape) < 0.4] = np.inf
    scores = xp.host(interval_average(xp.array(distances)))
    np.testing.assert_allclose(scores, literal_interval_average(distances), atol=1e-6)


def test_four_images_are_scored():
    """The authors' code averages no distance at all under five images, and gives NaN."""
    distances = np.full((4, 1, 4), 2.0, np.float32)
    distances[0, 0] = [np.inf, 0.5, 0.25, 1.0]
    assert interval_average(distances)[0, 0] == 0.25


@given(st.integers(1, 500), st.floats(0, 1), st.floats(0, 1))
def test_bounds_always_hold_something(count, a, b):
    low, high = sorted((a, b))
    first, last = interval_bounds(count, low=low, high=high)
    assert 0 <= first < last <= count


@pytest.mark.parametrize(
    ("distances", "options", "message"),
    [
        (np.full((2, 3, 2), np.inf, np.float32), {}, "patch 0 of image 0 has no image to match"),
        (np.full((2, 3, 2), np.nan, np.float32), {}, "image 0 hold NaN"),
        (np.zeros((2, 3, 2), np.float32), {"low": 0.3, "high": 0.3}, "low is 0.3 and high is 0.3"),
        (np.zeros((2, 3, 2), np.float32), {"high": 1.5}, "high is 1.5"),
        (np.zeros((2, 3), np.float32), {}, "3 dimensions"),
    ],
)
def test_refuses(distances, options, message):
    with pytest.raises(ScoringError, match=message):
        interval_average(distances, **options)
