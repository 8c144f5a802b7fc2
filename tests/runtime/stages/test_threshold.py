from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import gamma

from zeroline.runtime import ScoringError, ThresholdRule, auto_threshold
from zeroline.runtime.stages import threshold as threshold_module

BAD = np.array([9.0, 12.0])


def drawn(count, samples, skew=0.6, seed=0):
    """Scores of good parts by a gamma law of that skew, mean 0 and deviation 1."""
    shape = 4 / skew**2
    rng = np.random.default_rng(seed)
    return (rng.gamma(shape, size=(samples, count)) - shape) / shape**0.5, shape


def mean_rate(count, rate, skew=0.6, samples=1500, extra=()):
    """The exact share of good scores over the threshold, the mean over samples."""
    scores, shape = drawn(count, samples, skew)
    shares = [
        gamma.sf(auto_threshold([*row, *extra], false_alarm_rate=rate) * shape**0.5 + shape, shape)
        for row in scores
    ]
    return float(np.mean(shares))


def rate_at_known_skew(count, rate, skew, samples=3000):
    """The same by the plain quantile, with the skew of the law."""
    scores, shape = drawn(count, samples, skew)
    median = np.median(scores, axis=1)
    lower = np.array([m - row[row < m].mean() for m, row in zip(median, scores, strict=True)])
    values = median + lower * threshold_module.deviations(rate, count, skew=skew)
    return float(gamma.sf(values * shape**0.5 + shape, shape).mean())


@pytest.mark.parametrize("count", [32, 64, 256])
@pytest.mark.parametrize("skew", [0.01, 0.5, 0.8])
@pytest.mark.parametrize("rate", [0.005, 0.01, 0.05])
def test_where_the_skew_is_known_the_mean_rate_is_the_stated_one(count, skew, rate):
    assert rate_at_known_skew(count, rate, skew) == pytest.approx(rate, rel=0.15)


@pytest.mark.parametrize("count", [16, 32, 64, 256])
@pytest.mark.parametrize("rate", [0.005, 0.01, 0.05])
def test_of_scores_with_the_usual_skew_the_mean_rate_is_kept(count, rate):
    assert 0.6 < mean_rate(count, rate) / rate < 1.1


def test_far_skews_stay_within_twice_the_rate():
    assert 0.1 < mean_rate(64, 0.01, skew=0.01) / 0.01 < 1
    assert 1 < mean_rate(64, 0.01, skew=0.9) / 0.01 < 2


def test_the_skews_prior_is_needed(monkeypatch):
    """Without it too many parts are NG: that was the old rule's fault."""
    monkeypatch.setattr(threshold_module, "SKEW_BELIEVED", 0)
    assert mean_rate(16, 0.01) > 1.4 * 0.01


def test_the_sample_term_is_needed(monkeypatch):
    monkeypatch.setattr(threshold_module, "SAMPLE_TERM", -(NormalDist().inv_cdf(0.99) ** 2))
    assert rate_at_known_skew(16, 0.01, 0.5) > 1.4 * 0.01


def test_written_out():
    # median 0.5, lower deviations 0.1 to 0.5, upper ones as many: no skew is seen
    scores = np.linspace(0, 1, 11)
    z = NormalDist().inv_cdf(0.99)
    skew = 250 * 0.6 / 261
    factor = (z + skew * z**2 / 6) / (0.798 - 0.175 * skew) * (1 + (z**2 + 1.5) / 11)
    assert auto_threshold(scores) == pytest.approx(0.5 + 0.3 * factor)


def test_clear_defects_are_left_out_and_counted():
    scores = drawn(64, 1)[0][0]
    with_bad = np.concatenate([scores, BAD])
    found = threshold_module.threshold_from(with_bad, 0.01)
    assert (found.used, found.left_out) == (64, 2)
    assert found.value == auto_threshold(scores)


def test_the_cut_is_made_anew():
    """Scores that raise the first cut over others fall out, and then these do."""
    rng = np.random.default_rng(0)
    good, bad = rng.normal(0, 1, 40), rng.uniform(6, 30, 20)
    out = threshold_module.clearly_not_good(np.concatenate([good, bad]))
    assert out[40:].all()
    assert not out[:40].any()


def test_a_third_of_defects_lowers_recall_and_raises_no_false_alarms():
    bad = np.random.default_rng(1).normal(6, 2, 27)
    assert mean_rate(64, 0.01, samples=400, extra=bad) < 0.013


def test_scale_and_place_do_not_matter():
    scores = drawn(50, 1)[0][0]
    assert auto_threshold(scores * 0.03 + 0.5) == pytest.approx(auto_threshold(scores) * 0.03 + 0.5)


def test_a_lower_rate_is_a_higher_threshold():
    scores = drawn(50, 1)[0][0]
    thresholds = [auto_threshold(scores, false_alarm_rate=r) for r in (0.5, 0.2, 0.01, 1e-4, 1e-17)]
    assert thresholds == sorted(thresholds)
    assert thresholds[0] == np.median(scores)
    assert thresholds[-1] < 50  # far out, and no error


def test_constant_scores_are_all_ok():
    assert auto_threshold(np.full(5, 0.25)) == 0.25


@pytest.mark.parametrize("count", [16, 64, 250])
def test_few_known_good_scores_go_by_the_same_rule(count):
    scores, shape = drawn(count, 1500)
    rule = ThresholdRule(calibrated=True)
    sizes = {"compared_with": count, "capacity": count}
    values = np.array([rule.threshold(row, **sizes).value for row in scores])
    rates = gamma.sf(values * shape**0.5 + shape, shape)
    assert rates.mean() == pytest.approx(0.01, rel=0.25)


def test_many_known_good_scores_go_by_the_conformal_place():
    scores = np.random.default_rng(0).permutation(np.arange(1.0, 301.0))
    rule = ThresholdRule(calibrated=True)
    found = rule.threshold(scores, compared_with=300, capacity=300)
    assert (found.value, found.used) == (298, 300)  # rank ⌈301 · 0.99⌉
    fewer = rule.threshold(scores[:299], compared_with=299, capacity=299)
    assert fewer.value not in scores


@pytest.mark.parametrize("rate", [0, 0.6, -1])
def test_refuses_a_rate(rate):
    with pytest.raises(ScoringError, match="false_alarm_rate is"):
        auto_threshold(np.ones(3), false_alarm_rate=rate)


@pytest.mark.parametrize("scores", [np.array([]), np.array([1, np.nan]), np.ones((2, 2))])
def test_refuses_scores(scores):
    with pytest.raises(ScoringError, match="one or more finite numbers"):
        auto_threshold(scores)
