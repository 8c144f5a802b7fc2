import numpy as np
import pytest

from support.literal import literal_upsample
from zeroline.runtime import ScoringError, anomaly_map, map_maximum
from zeroline.runtime.grid import grid_side


@pytest.mark.parametrize(("side", "size"), [(1, 5), (2, 7), (5, 5), (5, 23), (8, 3), (4, 1)])
def test_equals_the_literal_form(xp, side, size):
    scores = np.random.default_rng(0).random((3, side * side)).astype(np.float32)
    maps = xp.host(anomaly_map(xp.array(scores), size=size))
    assert maps.shape == (3, size, size)
    assert maps.dtype == np.float32
    for found, row in zip(maps, scores, strict=True):
        expected = literal_upsample(row.reshape(side, side), size)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_allclose(
        xp.host(map_maximum(xp.array(scores), size=size)), maps.max(axis=(1, 2))
    )
    single = xp.host(anomaly_map(xp.array(scores[0]), size=size))
    np.testing.assert_allclose(single, maps[0], atol=1e-7)


@pytest.mark.parametrize("patches", [0, 2, 50, -4])
def test_refuses_what_is_no_square(patches):
    with pytest.raises(ScoringError, match="do not form a square grid"):
        grid_side(patches)


def test_refuses_an_empty_map():
    with pytest.raises(ScoringError, match="size is 0"):
        anomaly_map(np.zeros(4, np.float32), size=0)
