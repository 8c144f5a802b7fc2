"""What a search on a line looks at, and at which rate."""

import numpy as np
import pytest

from support.small_network import CHANNELS, CLASS_CHANNELS, PATCHES
from support.windows import kept_window
from zeroline.runtime import Tokens, lnamd, match_distances
from zeroline.runtime.line.finest import SearchTable, finest_table
from zeroline.runtime.line.modes import GroupsWatch
from zeroline.runtime.line.search import SearchSchedule
from zeroline.runtime.line.searched import degree_one
from zeroline.runtime.stages.threshold import clearly_not_good
from zeroline.runtime.workers import WorkerPool


def frame_tokens(number):
    rng = np.random.default_rng((5, number))
    layers = [rng.standard_normal((1, PATCHES, c)).astype(np.float32) for c in CHANNELS]
    return Tokens(tuple(layers), np.ones((1, CLASS_CHANNELS), np.float32))


def test_a_search_answers_for_the_parts_since_the_one_before():
    """One false alarm in 5,000 parts: the same after a day and after a year."""
    schedule = SearchSchedule(64)
    schedule.began(0)
    schedule.since = 15
    assert schedule.rate == pytest.approx(16 / 5000)
    schedule.since = 63
    assert schedule.rate == pytest.approx(64 / 5000)
    schedule.since = 10**6
    assert schedule.rate == 0.5


def test_recognised_frames_that_wait_bring_the_search_forward():
    schedule = SearchSchedule(64)
    schedule.began(0)
    schedule.since = 31
    assert not schedule.due(64, lambda: 0, waiting=True)
    schedule.since = 32
    assert schedule.due(64, lambda: 0, waiting=True)
    assert not schedule.due(64, lambda: 0, waiting=False)


@pytest.mark.parametrize("degrees", [(1,), (1, 3), "fused"])
def test_a_search_sees_frames_as_if_nothing_were_marked(degrees):
    """Against the table before the marks; patches that the caller ignores stay ignored."""
    rng = np.random.default_rng(6)
    own, marks = rng.random((6, PATCHES)) < 0.1, rng.random((6, PATCHES)) < 0.3
    marks[[1, 4]] = False
    with WorkerPool(2) as pool:
        window = kept_window((7, PATCHES, CHANNELS, degrees), pool)
        for slot in range(6):
            features = window.features_of([layer[0] for layer in frame_tokens(slot).layers])
            apart = np.arange(7) == slot - 1 if slot == 3 else None  # frames 2 and 3: one part
            window.admit(slot, window.match(features, ignore=own[slot], apart=apart))
        order = [5, 0, 2, 3]
        before = finest_table(window, order)
        for slot in range(6):
            window.ignore_patches(slot, marks[slot], reachable=window.filled)
        held = finest_table(window, order)
        whole = SearchTable.of(window, order).whole()
        for slot in range(6):  # and taken back, the window is as it was
            window.ignore_patches(slot, np.zeros(PATCHES, bool), reachable=window.filled)
        again = finest_table(window, order)
    matched = np.isfinite(held)
    assert (held[matched] - before[matched]).max() > 0.01
    np.testing.assert_allclose(whole, before, atol=2e-3)
    np.testing.assert_allclose(again, before, atol=1e-6)


def test_degree_one_is_matched_for_the_search_alone():
    frames = [frame_tokens(n) for n in range(5)]
    roi = np.arange(PATCHES) % 3 > 0
    ignored = np.random.default_rng(7).random((5, int(roi.sum()))) < 0.2
    layers = [[frame.layers[k] for frame in frames] for k in range(len(CHANNELS))]
    found = degree_one(layers, form="float32", roi=roi, ignored=ignored)
    wanted = np.mean(
        [
            match_distances(lnamd(np.concatenate(part), degree=1)[:, roi], ignore=ignored)
            for part in layers
        ],
        axis=0,
    )
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_two_groups_of_scores_are_told_once():
    rng = np.random.default_rng(8)
    one = rng.normal(0.3, 0.02, 64).astype(np.float32)
    two = np.concatenate([one[:32], rng.normal(0.45, 0.02, 32)]).astype(np.float32)
    with_bad = np.concatenate([one[:50], rng.normal(0.9, 0.05, 14)]).astype(np.float32)
    none = np.zeros(64, bool)
    watch = GroupsWatch()
    assert watch.look(one, recurring=none) is None
    assert watch.look(with_bad, recurring=none) is None  # clearly NG
    groups = watch.look(two, recurring=none)
    assert groups is not None
    assert (groups.below, groups.above) == (32, 32)
    assert watch.look(two, recurring=none) is None  # told
    assert watch.look(one, recurring=none) is None
    assert watch.look(two, recurring=none) is not None  # it has come again
    assert watch.look(two, recurring=np.arange(64) >= 32) is None
    far = np.concatenate([one[:32], rng.normal(0.9, 0.05, 32)]).astype(np.float32)
    assert clearly_not_good(far.astype(np.float64)).sum() == 32
    assert watch.look(far, recurring=none) is not None  # half of a window is rather a second view
