"""Two groups of scores are told from one group, and from its outliers."""

import numpy as np
import pytest

from zeroline.runtime.stages.modes import LEAST_SCORES, two_groups

LAWS = {
    "normal": lambda rng, n: rng.normal(0.3, 0.02, n),
    "gamma": lambda rng, n: 0.2 + 0.02 * rng.gamma(4, size=n),
    "gumbel": lambda rng, n: rng.gumbel(0.3, 0.02, n),
}


@pytest.mark.parametrize("law", LAWS)
def test_one_group_is_not_two(law):
    rng = np.random.default_rng(0)
    for count, most in ((LEAST_SCORES, 8), (64, 1), (256, 0)):
        told = sum(two_groups(LAWS[law](rng, count)) is not None for _ in range(400))
        assert told <= most, count


def test_two_groups_are_told_with_their_places():
    rng = np.random.default_rng(1)
    low, high = rng.normal(0.3, 0.02, 40), rng.normal(0.6, 0.03, 24)
    scores = np.concatenate([low, high])
    rng.shuffle(scores)
    groups = two_groups(scores)
    assert groups is not None
    assert (groups.below, groups.above) == (40, 24)
    assert groups.middles == pytest.approx((low.mean(), high.mean()))
    assert groups.gap == (low.max(), high.min())


@pytest.mark.parametrize(
    "scores",
    [
        np.concatenate([np.linspace(0.3, 0.32, 90), np.full(10, 0.9)]),  # outliers: a tenth
        np.concatenate([np.full(10, 0.9), np.full(10, 0.3)]),  # too few to tell
        np.full(64, 0.4),
    ],
)
def test_outliers_few_and_equal_scores_are_no_groups(scores):
    assert two_groups(scores) is None
