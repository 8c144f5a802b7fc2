"""Each place's own level, against its form written out."""

import numpy as np
import pytest

from zeroline.runtime import Tokens, score_tokens
from zeroline.runtime.stages.levels import MOST_TURN, in_one_pose, less_level, place_levels


def test_levels_are_medians_over_images_that_show_the_place(xp):
    rng = np.random.default_rng(0)
    scores = rng.random((9, 16)).astype(np.float32)
    absent = rng.random((9, 16)) < 0.3
    absent[:, 5] = True
    shown = [
        [s for s, a in zip(scores[:, p], absent[:, p], strict=True) if not a] for p in range(16)
    ]
    wanted = np.array([np.median(row) if row else 0 for row in shown])
    level = place_levels(xp.array(scores), absent=absent)
    np.testing.assert_allclose(xp.host(level), wanted, atol=1e-6)
    np.testing.assert_allclose(
        xp.host(place_levels(xp.array(scores))), np.median(scores, axis=0), atol=1e-6
    )
    less = xp.host(less_level(xp.array(scores), level, absent=absent))
    np.testing.assert_allclose(less, np.where(absent, 0, scores - wanted), atol=1e-6)


@pytest.mark.parametrize(
    ("turns", "one"),
    [
        ([], True),
        ([3.0], True),
        ([-15, 15, 2], True),
        ([100, 100 + 2 * MOST_TURN - 1], True),
        ([0, 0, 0, MOST_TURN * 2 + 1], False),
        ([179, -179], True),
        ([0, 90, 180, 270], False),
        # most lie at one side: their mean is no middle
        ([-17, 15, 15, 15, 15, 15, 15, 15], True),
    ],
)
def test_one_pose(turns, one):
    assert in_one_pose(turns) is one


def test_scores_of_a_set_are_less_their_levels():
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(1, 25, 8)) + 0.2 * rng.normal(size=(12, 25, 8))
    rows[:, 7] += 2 * rng.normal(size=(12, 8))  # a place that never matches well
    rows[4, 16] += 1.0  # a defect that is fainter than that
    tokens = Tokens((rows.astype(np.float32),), np.ones((12, 1), np.float32))
    absent = np.zeros((12, 25), bool)
    absent[2, :5] = True
    options = {"size": 50, "rscin": (), "degrees": (1,), "absent": absent}
    plain = score_tokens(tokens, **options)  # type: ignore[arg-type]
    less = score_tokens(tokens, **options, own_level=True)  # type: ignore[arg-type]
    shown = np.where(absent, np.nan, plain.patch_scores)
    level = np.nanmedian(shown, axis=0)
    np.testing.assert_allclose(less.level, level, atol=1e-6)
    wanted = np.where(absent, 0, plain.patch_scores - level)
    np.testing.assert_allclose(less.patch_scores, wanted, atol=1e-6)
    assert plain.level is None
    assert plain.scores.argmax() != 4
    assert less.scores.argmax() == 4
