"""The threshold in words: what made it, its neighbours, and why it may be useless."""

from pathlib import Path

import numpy as np
import pytest

from zeroline.edge_app.batch.sets import ScoredSet, judge_sets
from zeroline.edge_app.batch.thresholds import RATES, good_parts_called_ng, threshold_summary
from zeroline.edge_app.images import ImageFile
from zeroline.runtime.results import Verdict
from zeroline.runtime.stages.threshold import ThresholdRule, auto_threshold


def a_set(scores, *, recurring=(), first=0):
    values = np.asarray(scores, np.float32)
    marked = np.zeros(len(values), bool)
    marked[list(recurring)] = True
    places = tuple(range(first, first + len(values)))
    files = tuple(ImageFile(Path(f"{place}.png"), f"{place}.png") for place in places)
    maps = np.zeros((len(values), 4), np.float32)
    return ScoredSet(places, files, maps, values, values, marked)


def summary_of(*sets, rule=None):
    judged = judge_sets(sets, rule or ThresholdRule())
    return judged, threshold_summary(judged)


@pytest.fixture
def good():
    return np.random.default_rng(0).normal(0.3, 0.02, 60)


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (0.01, "of 100 good parts none to three"),
        (0.02, "of 100 good parts none to five"),
        (0.05, "of 100 good parts one to ten"),
        (0.5, "of 100 good parts 40 to 60"),
        (0.002, "of 1,000 good parts none to five"),
        (1e-6, "of 1,000 good parts none"),
    ],
)
def test_a_rate_is_told_as_a_mean(rate, words):
    assert good_parts_called_ng(rate) == words


def test_the_threshold_says_what_made_it(good):
    scores = [*good, 0.8, 0.9, 0.31, 0.32, 0.33]
    judged, summary = summary_of(a_set(scores, recurring=(62, 63, 64)))
    threshold = auto_threshold(np.array(scores[:62], np.float32))
    assert summary.lines == (
        f"threshold {threshold:.3f}, at the false-alarm rate 0.01, from 60 scores; 2 left out as "
        "clearly NG; 3 left out for a recurring defect",
        "the rate is a mean: of 100 good parts none to three are NG",
    )
    assert sum(r.verdict is Verdict.NG for r in judged.results) == 5
    assert summary.remarks == ()
    assert summary.subsets == ()


def test_neighbours_count_what_each_would_call_ng(good):
    scores = np.array([*good, 0.8, 0.9, 0.31], np.float32)
    _, summary = summary_of(a_set(scores, recurring=(62,)), rule=ThresholdRule(None, 0.03))
    assert [n.rate for n in summary.neighbours] == [0.05, 0.03, 0.02, 0.01, 0.005, 0.002]
    assert [n.rate for n in summary.neighbours if n.in_use] == [0.03]
    for neighbour in summary.neighbours:
        threshold = auto_threshold(scores[:62], false_alarm_rate=neighbour.rate)
        assert neighbour.low == neighbour.high == threshold
        assert neighbour.ng == (scores[:62] > threshold).sum() + 1  # one recurring defect
    lines = list(summary.table)
    assert lines[0].split() == ["rate", "threshold", "NG"]
    assert lines[2].endswith("in use")
    assert lines[-1].endswith("extrapolated")
    assert "extrapolated" not in lines[-2]  # from 0.005 on the rule was measured
    assert len({line.index(".", 6) for line in lines[1:]}) == 1  # a column


def test_a_small_rate_is_extrapolated(good):
    _, summary = summary_of(a_set(good), rule=ThresholdRule(None, 0.001))
    assert "a rate under 0.005 is extrapolated: check it on many good parts" in summary.lines
    assert summary.neighbours[-1].cells[3] == "in use, extrapolated"


def test_a_given_threshold_has_the_automatic_ones_beside_it(good):
    _, summary = summary_of(a_set([*good, 0.9]), rule=ThresholdRule(0.5))
    assert summary.lines == ("threshold 0.5, as given",)
    assert [n.rate for n in summary.neighbours] == [None, *RATES]
    assert summary.neighbours[0].cells == ("given", "0.500", "1", "in use")


def test_neighbours_compare_as_verdicts_do():
    """0.1 as float32 is over 0.1; a comparison in float32 would not see it."""
    judged, summary = summary_of(a_set([0.1, 0.05, 0.06]), rule=ThresholdRule(0.1))
    assert [r.verdict is Verdict.NG for r in judged.results] == [True, False, False]
    assert summary.neighbours[0].ng == 1


def test_subsets_have_a_threshold_each(good):
    sets = a_set([*good, 0.9]), a_set([*(good + 0.1), 0.95], first=61)
    judged, summary = summary_of(*sets)
    low, high = judged.thresholds
    assert summary.lines[0].startswith(f"thresholds of the 2 subsets {low:.3f} to {high:.3f}, at")
    assert "from 120 scores; 2 left out as clearly NG" in summary.lines[0]
    assert summary.subsets == ((61, low, 60, 1), (61, high, 60, 1))
    (one,) = [n for n in summary.neighbours if n.in_use]
    assert (one.low, one.high, one.ng) == (low, high, 2)
    assert one.cells[1] == f"{low:.3f} to {high:.3f}"
    assert [r.file.name for r in judged.results] == [f"{n}.png" for n in range(122)]


def test_results_come_in_the_order_of_the_files():
    one, two = a_set([0.1, 0.2]), a_set([0.3, 0.4])
    first = ScoredSet((1, 5), one.files, *vars_of(one))
    second = ScoredSet((0, 3), two.files, *vars_of(two))
    results = judge_sets([first, second], ThresholdRule()).results
    assert [round(r.scores.score, 2) for r in results] == [0.3, 0.1, 0.4, 0.2]


def vars_of(scored):
    return scored.patch_scores, scored.raw_scores, scored.scores, scored.recurring


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        (np.linspace(0.28, 0.32, 40), "That is right where all parts are good"),
        (np.linspace(0.28, 0.32, 12), "The images are few: 12 scores do not tell"),
        (np.full(40, 0.3), "All scores are equal: the images may be copies"),
        (
            np.r_[np.linspace(0.28, 0.50, 28), np.linspace(0.68, 0.72, 20)],
            "two groups, 28 about 0.39 and 20 about 0.70: the images show two views or products, "
            "or about half of the images (20) are defective. Score each view apart, or give a "
            "threshold between the groups, as 0.59",
        ),
        (
            np.r_[np.linspace(0.28, 0.50, 28), np.linspace(0.68, 0.72, 14)],
            "or 14 images are defective",
        ),
    ],
)
def test_a_threshold_over_every_score_has_a_likely_cause(scores, words):
    judged, summary = summary_of(a_set(scores))
    assert all(r.verdict is Verdict.OK for r in judged.results)
    (remark,) = summary.remarks
    assert remark.startswith(f"no score is over the threshold, the highest is {scores.max():.3f}. ")
    assert words in remark


def test_half_of_the_images_over_the_threshold_may_be_a_second_view(good):
    """Two narrow groups: the upper one is NG, and told of."""
    scores = np.r_[np.linspace(0.28, 0.32, 40), np.linspace(0.68, 0.72, 40)]
    judged, summary = summary_of(a_set(scores))
    assert sum(r.verdict is Verdict.NG for r in judged.results) == 40
    (remark,) = summary.remarks
    assert remark.startswith("40 of 80 scores are over the threshold. The scores lie in two groups")
    assert "the images show two views or products" in remark
    a_third = np.r_[np.linspace(0.28, 0.32, 40), np.linspace(0.68, 0.72, 20)]
    assert summary_of(a_set(a_third))[1].remarks == ()  # a bad lot


def test_a_threshold_over_the_largest_distance_is_told():
    _, summary = summary_of(a_set(np.linspace(0.0, 1.9, 40)))
    (remark,) = summary.remarks
    assert " is over 2, the largest distance. The scores differ widely" in remark


def test_where_some_score_is_over_the_threshold_nothing_is_told(good):
    assert summary_of(a_set([*good, 0.9]))[1].remarks == ()
    _, summary = summary_of(a_set([*good, 0.9]), rule=ThresholdRule(1.0))
    assert summary.remarks == (
        "no score is over the threshold, the highest is 0.900. The threshold was given",
    )
    # an image with a recurring defect is NG at any score, so its score says nothing
    assert len(summary_of(a_set([*good, 0.9], recurring=(60,)))[1].remarks) == 1


def test_subsets_with_the_same_cause_share_a_line(good):
    even, few = np.linspace(0.28, 0.32, 40), np.linspace(0.28, 0.32, 12)
    sets = a_set(even), a_set([*good, 0.9], first=40), a_set(even, first=101), a_set(few, first=141)
    remarks = summary_of(*sets)[1].remarks
    assert len(remarks) == 2
    assert remarks[0].startswith("2 of 4 subsets; in the first of them no score is over")
    assert remarks[1].startswith("1 of 4 subsets; in the first of them no score is over")
