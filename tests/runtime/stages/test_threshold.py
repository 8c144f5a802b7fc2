import numpy as np
import pytest

from zeroline.runtime import ScoringError, auto_threshold


@pytest.mark.parametrize("rate", [0.01, 0.05])
def test_normal_scores_pass_at_the_stated_rate(rate):
    scores = np.random.default_rng(0).normal(0.6, 0.05, 20_000)
    threshold = auto_threshold(scores, false_alarm_rate=rate)
    assert (scores > threshold).mean() == pytest.approx(rate, abs=0.004)


def test_a_few_defects_hardly_move_it():
    rng = np.random.default_rng(1)
    good = rng.normal(0.6, 0.05, 1000)
    with_defects = np.concatenate([good, rng.normal(2, 0.3, 50)])
    assert auto_threshold(with_defects) == pytest.approx(auto_threshold(good), abs=0.02)


def test_written_out():
    # median 3; the scores under it are 1 and 2, their median distance to it 1.5
    sigma = 1.4826 * 1.5
    expected = 3 + 2.3263478740408408 * sigma
    assert auto_threshold(np.array([1.0, 2, 3, 4, 50])) == pytest.approx(expected)


def test_a_tiny_rate_is_far_out_and_not_an_error():
    assert 3 + 8 * 2.2 < auto_threshold(np.array([1.0, 2, 3, 4, 5]), false_alarm_rate=1e-17) < 30


def test_constant_scores_are_all_ok():
    assert auto_threshold(np.full(5, 0.25)) == 0.25


@pytest.mark.parametrize("rate", [0, 0.6, -1])
def test_refuses_a_rate(rate):
    with pytest.raises(ScoringError, match="false_alarm_rate is"):
        auto_threshold(np.ones(3), false_alarm_rate=rate)


@pytest.mark.parametrize("scores", [np.array([]), np.array([1, np.nan]), np.ones((2, 2))])
def test_refuses_scores(scores):
    with pytest.raises(ScoringError, match="one or more finite numbers"):
        auto_threshold(scores)
