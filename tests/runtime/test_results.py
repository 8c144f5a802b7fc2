"""The one rule: which scores make the threshold, and what a score means by it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zeroline.runtime.judgement import Judgement, judge
from zeroline.runtime.results import Reason, Verdict
from zeroline.runtime.stages.regions import MAP_SIDE, connected_runs, regions
from zeroline.runtime.stages.threshold import ThresholdRule, auto_threshold

SCORES = np.array([0.30, 0.31, 0.32, 0.33, 0.34, 0.35, 0.90, 0.95], np.float32)
NONE = np.zeros(8, bool)


def test_parts_with_a_recurring_defect_make_no_threshold():
    recurring = SCORES > 0.8
    judgement = judge(SCORES, SCORES + 0.1, ThresholdRule(), recurring=recurring)
    assert judgement.threshold == auto_threshold(SCORES[~recurring])
    assert judgement.pixel_threshold == auto_threshold((SCORES + 0.1)[~recurring])
    assert (judgement.scores_used, judgement.left_out) == (6, 0)
    counted = judge(SCORES, SCORES, ThresholdRule(), recurring=NONE)
    assert (counted.scores_used, counted.left_out) == (6, 2)  # two are clearly NG
    everyone = judge(SCORES, SCORES, ThresholdRule(), recurring=~NONE)
    assert everyone.threshold == counted.threshold  # nobody would be left


def test_a_calibrated_rule_takes_the_known_good_alone():
    rule = ThresholdRule(calibrated=True, false_alarm_rate=0.1)
    good = np.arange(8) < 4
    judgement = judge(SCORES, SCORES, rule, recurring=NONE, known_good=good)
    alone = rule.threshold(SCORES[:4], compared_with=8, capacity=8)
    assert judgement.threshold == alone.value
    assert judgement.scores_used == 4
    assert judge(SCORES, SCORES, rule, recurring=NONE).threshold is None


def test_a_fixed_threshold_knows_how_full_the_window_is():
    rule = ThresholdRule(fixed=0.5)
    full = judge(SCORES, SCORES, rule, recurring=NONE, capacity=8)
    filling = judge(SCORES, SCORES, rule, recurring=NONE, capacity=64)
    assert full.threshold == 0.5
    assert filling.threshold is not None
    assert filling.threshold > 0.5
    assert judge(SCORES, SCORES, rule, recurring=NONE).threshold == 0.5  # a set


def test_every_verdict_but_ok_has_a_reason():
    judgement = Judgement(0.5, 0.5, 8, band=0.1)
    assert judgement.verdict(0.3, recurring=False) == (Verdict.OK, None)
    assert judgement.verdict(0.7, recurring=False) == (Verdict.NG, Reason.SCORE)
    assert judgement.verdict(0.3, recurring=True) == (Verdict.NG, Reason.RECURRING)
    near = Verdict.UNCERTAIN, Reason.NEAR_THRESHOLD
    assert judgement.verdict(0.45, recurring=False) == near
    assert judgement.verdict(0.55, recurring=False) == near
    warming = Verdict.UNCERTAIN, Reason.WARMING_UP
    assert judgement.verdict(None, recurring=False) == warming
    assert Judgement(None, None, 1).verdict(0.3, recurring=False) == warming


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(5, 7), (12, 9), (1, 6), (6, 1)]))
def test_connected_parts_are_those_that_opencv_finds(seed, shape):
    cv2 = pytest.importorskip("cv2")
    marked = np.random.default_rng(seed).random(shape) < 0.4
    count, labels, boxes, _ = cv2.connectedComponentsWithStats(
        marked.astype(np.uint8), connectivity=8
    )
    found = connected_runs(marked)
    assert len(found) == count - 1
    for rows, starts, stops in found:
        part = np.zeros(shape, bool)
        for row, start, stop in zip(rows, starts, stops, strict=True):
            part[row, start:stop] = True
        label = labels[rows[0], starts[0]]
        np.testing.assert_array_equal(part, labels == label)
        x, y, width, height = boxes[label, :4]
        assert (starts.min(), rows.min()) == (x, y)
        assert (stops.max() - starts.min(), rows.max() + 1 - rows.min()) == (width, height)


def test_regions_are_boxes_in_the_frame_the_worst_first():
    scores = np.zeros((16, 16), np.float32)
    scores[2, 3], scores[10:12, 12] = 0.6, 0.9
    first, second = regions(scores.reshape(-1), above=0.5, frame_size=(480, 640))
    assert first.score == pytest.approx(0.9, abs=0.02)
    assert second.score == pytest.approx(0.6, abs=0.02)
    middle = (first.x + first.width / 2) / 640, (first.y + first.height / 2) / 480
    assert middle == pytest.approx((12 / 15, 10.5 / 15), abs=0.03)
    # neither by size nor by place, in either direction
    scores[6:9, 1:9], scores[14, 1] = 0.7, 0.8
    told = [
        region.score for region in regions(scores.reshape(-1), above=0.5, frame_size=(480, 640))
    ]
    assert told == pytest.approx([0.9, 0.8, 0.7, 0.6], abs=0.02)
    assert regions(scores.reshape(-1), above=1.0, frame_size=(480, 640)) == ()
    (whole,) = regions(scores.reshape(-1), above=-1.0, frame_size=(100, 200))
    assert (whole.x, whole.y, whole.width, whole.height) == (0, 0, 200, 100)
    assert MAP_SIDE % 2 == 0
