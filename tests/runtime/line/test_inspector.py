"""The rolling inspector on a real, small network: verdicts, and a window that stays sound."""

import numpy as np
import pytest

from support.small_network import PATCHES, write_bundle
from zeroline.runtime import ScoringError, load_bundle, score_images
from zeroline.runtime.batch import embed_images
from zeroline.runtime.line.inspector import RollingInspector
from zeroline.runtime.results import Verdict
from zeroline.runtime.stages.threshold import ThresholdRule


@pytest.fixture(scope="module")
def bundle(bundle_folder):
    with load_bundle(bundle_folder, device="cpu", threads=1) as opened:
        yield opened


def line_of(bundle, **options):
    """An inspector whose scores do not depend on a measurement."""
    return RollingInspector(bundle, matching="exact", **options)


@pytest.fixture
def inspector(bundle):
    with line_of(bundle, window=12, min_window=6, threads=1) as opened:
        yield opened


def good(paint, count, *, start=0):
    return [paint(seed) for seed in range(start, start + count)]


def push_all(inspector, frames, **options):
    return [inspector.push(frame, **options) for frame in frames]


def test_verdicts_begin_when_there_is_enough_to_compare_with(inspector, paint):
    inspections = push_all(inspector, good(paint, 9))
    assert [m.verdict for m in inspections[:5]] == [Verdict.UNCERTAIN] * 5
    assert all(m.verdict in (Verdict.OK, Verdict.NG) for m in inspections[5:])
    assert inspections[0].scores is None
    assert inspections[1].scores.raw_score > 0
    assert [m.frame_id for m in inspections] == list(range(9))
    assert [m.compared_with for m in inspections] == list(range(9))
    assert inspections[8].scores.threshold is not None
    stages = {"prepare", "network", "match", "score", "admit", "verdict", "recurring"}
    assert set(inspections[8].latency) == stages


def test_a_scratch_is_found(inspector, paint):
    push_all(inspector, good(paint, 12))
    bad = inspector.push(paint(40, scratch=True))
    assert bad.verdict is Verdict.NG
    assert bad.scores.score > 1.2 * bad.scores.threshold
    side = int(PATCHES**0.5)
    row, column = divmod(int(bad.scores.patch_scores.argmax()), side)
    assert row in (3, 4)
    assert column in (1, 2, 3, 4)


@pytest.mark.parametrize("rscin", [(), (1, 2, 3)])
def test_the_window_scores_as_the_batch_does(bundle, paint, rscin):
    frames = [*good(paint, 20), paint(21, scratch=True)]
    with line_of(bundle, window=12, min_window=6, rscin=rscin, threads=2) as inspector:
        last = push_all(inspector, frames)[-1]
        held, scored = inspector.scores()
    assert held == list(range(9, 21))
    wanted = score_images([frames[number] for number in held], bundle, rscin=rscin)
    np.testing.assert_allclose(scored.patch_scores, wanted.patch_scores, atol=1e-5)
    np.testing.assert_allclose(scored.scores, wanted.scores, atol=1e-5)
    np.testing.assert_allclose(last.scores.patch_scores, wanted.patch_scores[-1], atol=1e-5)
    assert last.scores.raw_score == pytest.approx(float(wanted.raw_scores[-1]), abs=1e-5)
    assert last.scores.score == pytest.approx(float(wanted.scores[-1]), abs=1e-5)


def test_the_window_scores_as_the_batch_does_where_class_tokens_are_as_long_as_they_are(
    tmp_path, paint
):
    """A frame may not be among its own neighbours: one more of them is looked at then."""
    write_bundle(tmp_path / "raw", unit_class_token=False)
    frames = [*good(paint, 12), paint(13, scratch=True)]
    with load_bundle(tmp_path / "raw", device="cpu", threads=1) as bundle:
        tokens = embed_images(frames, bundle).class_tokens
        products = tokens @ tokens.T
        outside = np.flatnonzero(products.argmax(axis=1) != np.arange(13))
        assert len(outside) > 3
        order = [n for n in range(13) if n != outside[0]] + [outside[0]]
        with line_of(bundle, window=14, min_window=6, rscin=(1, 2), threads=1) as inspector:
            last = push_all(inspector, [frames[n] for n in order])[-1]
            held, scored = inspector.scores()
        assert len(held) == 13
        wanted = score_images([frames[n] for n in order], bundle, rscin=(1, 2))
    np.testing.assert_allclose(scored.scores, wanted.scores, atol=1e-5)
    assert last.scores.score == pytest.approx(float(wanted.scores[-1]), abs=1e-5)


def test_a_stopped_belt_does_not_fill_the_window(inspector, paint):
    push_all(inspector, good(paint, 12))
    part = paint(50, scratch=True)
    inspections = []
    for seed in range(60):
        noise = np.random.default_rng(seed).normal(0, 0.7, part.shape)
        inspections.append(inspector.push((part + noise).clip(0, 255).astype(np.uint8)))
    assert sum(m.admitted for m in inspections) <= 2
    assert all(m.near_duplicate for m in inspections[2:])
    assert all(m.verdict is Verdict.NG for m in inspections)
    assert sum(m.admitted for m in push_all(inspector, good(paint, 12, start=100))) == 12


def test_copies_are_admitted_where_asked_for(bundle, paint):
    with line_of(bundle, window=6, min_window=2, admit_copies=True) as inspector:
        inspections = push_all(inspector, [paint(0)] * 4)
    assert all(m.admitted for m in inspections)


def test_frames_of_one_part_do_not_match_each_other(bundle, paint):
    frames = [*good(paint, 6), paint(30, scratch=True)]
    with line_of(bundle, window=12, min_window=4, admit_copies=True) as apart:
        push_all(apart, frames[:-1])
        first = apart.push(frames[-1], part_id="a")
        second = apart.push(frames[-1], part_id="a")
        third = apart.push(frames[-1], part_id="b")
    assert first.scores
    assert second.scores
    assert third.scores
    assert second.scores.raw_score == pytest.approx(first.scores.raw_score, rel=1e-6)
    assert third.scores.raw_score < 0.9 * first.scores.raw_score
    with line_of(bundle, window=12, min_window=4, admit_copies=True, exclusion=1) as inspector:
        inspections = push_all(inspector, [*frames, frames[-1]])
    assert inspections[-1].compared_with == 6  # not the one before it
    assert inspections[-1].scores.raw_score >= 0.9 * first.scores.raw_score


def test_what_cannot_be_scored_is_a_fault_and_leaves_the_window(inspector, paint):
    push_all(inspector, good(paint, 8))
    before = inspector.frame_ids
    faults = {
        "gives NaN or inf": np.zeros((96, 96, 3), np.uint8),  # black: the network gives NaN
        "of float64, the bundle": np.zeros((96, 96, 3)),
        "expects 3": np.zeros((96, 96), np.uint8),
    }
    for reason, frame in faults.items():
        inspection = inspector.push(frame, part_id="x")
        assert inspection.verdict is Verdict.FAULT
        assert reason in inspection.fault
        assert (inspection.scores, inspection.part_id, inspection.admitted) == (None, "x", False)
    assert inspector.frame_ids == before
    assert inspector.push(paint(9)).frame_id == 8 + len(faults)


def test_frames_of_changing_size(inspector, paint):
    inspections = push_all(inspector, good(paint, 8))
    other = inspector.push(paint(20, height=140, width=120))
    assert other.verdict in (Verdict.OK, Verdict.NG)
    assert inspections[-1].scores.patch_scores.shape == other.scores.patch_scores.shape


def test_a_first_verdict_is_latched(bundle, paint):
    """A second look may find a defect, never clear one."""
    with line_of(bundle, window=12, min_window=4, settle=3, threads=1) as inspector:
        push_all(inspector, good(paint, 8))
        bad = inspector.push(paint(30, scratch=True))
        assert bad.verdict is Verdict.NG
        inspector.rule = ThresholdRule(fixed=2.0)  # nothing lies over it
        later = push_all(inspector, good(paint, 4, start=60))
        revisions = {r.frame_id: r for m in later for r in m.revisions}
        assert revisions[bad.frame_id].verdict is Verdict.NG
        assert revisions[bad.frame_id].scores.score < 2
        inspector.rule = ThresholdRule(fixed=0.0)  # everything lies over it
        later = push_all(inspector, good(paint, 4, start=80))
        raised = [r for m in later for r in m.revisions if r.first is Verdict.OK]
        assert raised
        assert all(r.verdict is Verdict.NG for r in raised)


def test_patches_out_of_the_region_do_not_count(bundle, paint):
    side = int(PATCHES**0.5)
    roi = np.ones((side, side), bool)
    roi[3:6] = False  # where the scratch is
    frames = [*good(paint, 8), paint(30, scratch=True)]
    with line_of(bundle, window=12, min_window=4, roi=roi, threads=1) as inspector:
        inspections = push_all(inspector, frames)
    assert not inspections[-1].scores.patch_scores[~roi.reshape(-1)].any()
    with line_of(bundle, window=12, min_window=4, threads=1) as inspector:
        seen = push_all(inspector, frames)
    assert inspections[-1].scores.raw_score < 0.8 * seen[-1].scores.raw_score


def test_a_band_round_the_threshold_is_uncertain(bundle, paint):
    with line_of(bundle, window=12, min_window=4, band=2.0) as inspector:
        inspections = push_all(inspector, good(paint, 6))
    assert inspections[-1].verdict is Verdict.UNCERTAIN
    assert inspections[-1].scores.threshold is not None


def test_an_ignore_mask_of_another_size_is_refused(inspector, paint):
    with pytest.raises(ScoringError, match=r"ignore has shape \(3,\)"):
        inspector.push(paint(0), ignore=np.zeros(3, bool))


def test_options_out_of_range(bundle):
    for options, message in (
        ({"window": 1}, "window is 1, at least 2"),
        ({"window": 8}, "min_window is 16, 2 to 8"),
        ({"min_window": 1}, "min_window is 1, 2 to 64"),
        ({"settle": 0}, "settle 0"),
        ({"exclusion": -1}, "exclusion is -1"),
        ({"roi": np.zeros(PATCHES, bool)}, "0 of them set"),
        ({"roi": np.ones(3, bool)}, f"{PATCHES}, with at least 1 set"),
        ({"degrees": "all"}, 'degrees is "all"'),
    ):
        with pytest.raises(ScoringError, match=message):
            line_of(bundle, **options)
    with pytest.raises(ScoringError, match="threshold is 3"):
        ThresholdRule(fixed=3)
    with pytest.raises(ScoringError, match=r"false_alarm_rate is 0\.9"):
        ThresholdRule(false_alarm_rate=0.9)


def test_a_fixed_threshold_is_for_a_full_window():
    rule = ThresholdRule(fixed=0.5)
    assert rule.threshold([], compared_with=64, capacity=64).value == 0.5
    filling = rule.threshold([], compared_with=8, capacity=64)
    assert filling.value / 0.5 == pytest.approx(0.665 / 0.643, abs=1e-3)


def test_two_inspectors_do_not_disturb_each_other(bundle, paint):
    frames = good(paint, 10)
    with line_of(bundle, window=8, min_window=4, threads=2) as alone:
        wanted = [m.scores and m.scores.score for m in push_all(alone, frames)]
    with (
        line_of(bundle, window=8, min_window=4, threads=2) as one,
        line_of(bundle, window=5, min_window=4, threads=2) as two,
    ):
        found = []
        for frame in frames:
            inspection = one.push(frame)
            found.append(inspection.scores and inspection.scores.score)
            two.push(frame)
    assert found == wanted
