"""Copies of recent frames: the rule, its numbers, and how far back it looks."""

import numpy as np
import pytest

from support.small_network import CHANNELS, CLASS_CHANNELS, PATCHES
from zeroline.runtime import RollingInspector, Tokens, load_bundle
from zeroline.runtime.line import searched, tracker
from zeroline.runtime.line.contents import is_copy


@pytest.fixture(scope="module")
def bundle(bundle_folder):
    with load_bundle(bundle_folder, device="cpu", threads=1) as opened:
        yield opened


def frame_tokens(number, noise=0.0):
    rng = np.random.default_rng((7, number))
    layers = []
    for layer, channels in enumerate(CHANNELS):
        places = np.random.default_rng((8, layer)).standard_normal((PATCHES, channels))
        rows = places + 0.4 * rng.standard_normal((PATCHES, channels))
        rows += noise * np.random.default_rng((9, number)).standard_normal((PATCHES, channels))
        layers.append(rows[None].astype(np.float32))
    token = np.ones((1, CLASS_CHANNELS), np.float32) / np.float32(CLASS_CHANNELS**0.5)
    return Tokens(tuple(layers), token)


@pytest.mark.parametrize(
    ("distance", "typical", "copy"),
    [
        (0.019, None, True),  # sensors' noise leaves 0.02
        (0.021, None, False),
        (0.019, 0.01, True),
        (0.249, 0.5, True),  # half of a typical match
        (0.251, 0.5, False),
    ],
)
def test_a_copy_is_nearer_than_half_of_a_typical_match(distance, typical, copy):
    assert is_copy(distance, typical) is copy


@pytest.mark.parametrize(("back", "admitted"), [(8, False), (9, True)])
def test_copies_of_the_last_eight_frames_are_not_admitted(bundle, back, admitted):
    with RollingInspector(
        bundle, window=20, min_window=4, rscin=(), threads=1, matching="exact", codegraph=False
    ) as inspector:
        for number in range(12):
            assert inspector.push_tokens(frame_tokens(number)).admitted
        made = inspector.push_tokens(frame_tokens(12 - back, noise=0.01))
    assert made.admitted is admitted
    assert made.near_duplicate is not admitted


def test_what_a_search_finds_is_applied_eight_frames_after_its_start(bundle, monkeypatch):
    """So that the verdicts on a file do not depend on the machine's speed."""
    began = []
    real = searched.window_search

    def begun(*arguments, **options):
        began.append(len(pushed))
        return real(*arguments, **options)

    monkeypatch.setattr(tracker, "window_search", begun)
    steps = []
    taken = tracker.DefectTracker.step

    def step(self, **options):
        news = taken(self, **options)
        if news is not None:
            steps.append(len(pushed))
        return news

    monkeypatch.setattr(tracker.DefectTracker, "step", step)
    pushed: list[int] = []
    with RollingInspector(
        bundle, window=16, min_window=4, rscin=(), threads=1, matching="exact"
    ) as inspector:
        for number in range(60):
            inspector.push_tokens(frame_tokens(number))
            pushed.append(number)
    assert len(steps) >= 2
    assert [end - start for start, end in zip(began, steps, strict=False)] == [8] * len(steps)
