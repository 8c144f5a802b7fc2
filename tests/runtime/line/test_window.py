"""The window against the batch: the same frames must give the same scores, whatever came before."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.windows import kept_window
from zeroline.runtime import ScoringError, score_tokens
from zeroline.runtime.line.shape import WindowShape
from zeroline.runtime.matching.forms import FORMS
from zeroline.runtime.tokens import Tokens
from zeroline.runtime.workers import WorkerPool

PATCHES, CHANNELS, DEGREES = 16, (5, 7), (1, 3)


def frame_tokens(rng, *, copy_of=None, noise=0.0):
    """Tokens of one frame; a near-copy of another one where that is given."""
    if copy_of is not None:
        return [layer + noise * rng.standard_normal(layer.shape) for layer in copy_of]
    shared = np.random.default_rng(1)
    return [
        (shared.standard_normal((PATCHES, c)) + 0.7 * rng.standard_normal((PATCHES, c)))
        for c in CHANNELS
    ]


def there(scores):
    assert scores is not None
    return scores


def as_float32(layers):
    return [layer.astype(np.float32) for layer in layers]


@pytest.fixture(params=[1, 3])
def pool(request):
    with WorkerPool(request.param) as opened:
        yield opened


@pytest.fixture(params=["compiled", "plain"])
def arithmetic(request, monkeypatch):
    if request.param == "plain":
        monkeypatch.setattr("zeroline.runtime.matching.forms.compiled_loops", lambda: None)
    return "float32-plain" if request.param == "plain" else "float32"


def batch_scores(frames, groups=None, ignore=None, degrees=DEGREES):
    layers = tuple(
        np.stack([frame[k] for frame in frames]).astype(np.float32) for k in range(len(CHANNELS))
    )
    tokens = Tokens(layers, np.ones((len(frames), 1), np.float32))
    scored = score_tokens(
        tokens, size=32, degrees=degrees, rscin=(), groups=groups, ignore=ignore, threads=1
    )
    return scored.patch_scores


pushes = st.lists(
    st.tuples(
        st.integers(0, 4),  # slot
        st.integers(0, 1000),  # frame
        st.sampled_from(["new", "copy", "near"]),
        st.sampled_from(["a", "b", "c", "d"]),  # part
        st.booleans(),  # some patches ignored
    ),
    min_size=3,
    max_size=12,
)


@settings(max_examples=30, deadline=None)
@given(pushes)
def test_any_sequence_ends_as_the_batch(sequence):
    with WorkerPool(1) as pool:
        window = kept_window((5, PATCHES, CHANNELS, DEGREES), pool)
        held: dict[int, Any] = {}
        latest = None
        for slot, seed, kind, part, ignoring in sequence:
            rng = np.random.default_rng(seed)
            noise = {"new": 0.0, "copy": 0.0, "near": 1e-3}[kind]
            frame = frame_tokens(rng, copy_of=None if kind == "new" else latest, noise=noise)
            latest = frame
            ignore = rng.random(PATCHES) < 0.3 if ignoring else np.zeros(PATCHES, bool)
            apart = np.array([s in held and held[s][1] == part for s in range(5)])
            features = window.features_of(as_float32(frame))
            window.admit(slot, window.match(features, ignore=ignore, apart=apart))
            held[slot] = (frame, part, ignore)
        slots = sorted(held)
        parts = np.array([held[slot][1] for slot in slots])
        if len(set(parts)) < 2:
            return
        wanted = batch_scores(
            [held[slot][0] for slot in slots], parts, np.stack([held[slot][2] for slot in slots])
        )
        for row, slot in enumerate(slots):
            np.testing.assert_allclose(there(window.patch_scores(slot)), wanted[row], atol=1e-5)


def test_a_new_frame_is_scored_as_the_batch_would(pool, arithmetic):
    rng = np.random.default_rng(0)
    frames = [frame_tokens(rng) for _ in range(6)]
    frames[4] = frame_tokens(rng, copy_of=frames[1], noise=1e-4)
    window = kept_window((6, PATCHES, CHANNELS, DEGREES, arithmetic), pool)
    for slot, frame in enumerate(frames[:5]):
        window.admit(slot, window.match(window.features_of(as_float32(frame))))
    ignored = np.arange(PATCHES) < 3
    matches = window.match(window.features_of(as_float32(frames[5])), ignore=ignored)
    ignore = np.zeros((6, PATCHES), bool)
    ignore[5] = ignored
    wanted = batch_scores(frames, ignore=ignore)
    np.testing.assert_allclose(there(window.score(matches)), wanted[5], atol=1e-5)
    window.admit(5, matches)
    for slot in range(6):
        np.testing.assert_allclose(there(window.patch_scores(slot)), wanted[slot], atol=1e-5)
    # without the slot that it will take
    others = batch_scores([*frames[:2], *frames[3:]], ignore=np.delete(ignore, 2, 0))
    np.testing.assert_allclose(there(window.score(matches, without=[2])), others[4], atol=1e-5)


def test_fused_degrees(pool):
    rng = np.random.default_rng(0)
    frames = [frame_tokens(rng) for _ in range(5)]
    window = kept_window((5, PATCHES, CHANNELS, "fused"), pool)
    for slot, frame in enumerate(frames):
        window.admit(slot, window.match(window.features_of(as_float32(frame))))
    wanted = batch_scores(frames, degrees="fused")
    for slot in range(5):
        np.testing.assert_allclose(there(window.patch_scores(slot)), wanted[slot], atol=1e-5)


def test_an_evicted_frame_leaves_no_trace(pool):
    rng = np.random.default_rng(2)
    frames = [frame_tokens(rng) for _ in range(4)]
    window = kept_window((4, PATCHES, CHANNELS, DEGREES), pool)
    for slot, frame in enumerate(frames):
        window.admit(slot, window.match(window.features_of(as_float32(frame))))
    window.evict(1)
    wanted = batch_scores([frames[0], *frames[2:]])
    for row, slot in enumerate((0, 2, 3)):
        np.testing.assert_allclose(there(window.patch_scores(slot)), wanted[row], atol=1e-5)


def test_a_frame_alone_has_no_score(pool):
    window = kept_window((4, PATCHES, CHANNELS, DEGREES), pool)
    frame = window.features_of(as_float32(frame_tokens(np.random.default_rng(0))))
    matches = window.match(frame)
    assert window.score(matches) is None
    window.admit(0, matches)
    assert window.patch_scores(0) is None
    apart = window.match(frame, apart=np.array([True, False, False, False]))
    assert window.score(apart) is None


@pytest.mark.parametrize("form", ["float32", "float32-plain", "pca", "int8"])
def test_the_memory_that_is_told_is_the_memory_that_is_taken(pool, form):
    if not FORMS[form].available():
        pytest.skip(f"what {form} needs is not here")
    window = kept_window((6, PATCHES, CHANNELS, DEGREES, form), pool)
    frame = window.features_of(as_float32(frame_tokens(np.random.default_rng(0))))
    window.admit(0, window.match(frame))
    banks = window.store.nbytes
    assert window.shape.memory == banks + window.half_squared.nbytes


def test_patches_outside_the_region_cost_nothing_and_change_nothing(pool):
    """The window of a region against a whole window where everything else is ignored."""
    rng = np.random.default_rng(3)
    roi = rng.random(PATCHES) < 0.5
    sizes = (4, PATCHES, CHANNELS, DEGREES)
    some = kept_window(sizes, pool, counted=int(roi.sum()), roi=roi)
    whole = kept_window(sizes, pool)
    assert some.shape.memory < whole.shape.memory
    for slot in range(4):
        tokens, ignored = as_float32(frame_tokens(rng)), rng.random(PATCHES) < 0.2
        some.admit(slot, some.match(some.features_of(tokens), ignore=ignored))
        whole.admit(slot, whole.match(whole.features_of(tokens), ignore=ignored | ~roi))
    for slot in range(4):
        scores = there(some.patch_scores(slot))
        np.testing.assert_allclose(scores[roi], there(whole.patch_scores(slot))[roi], atol=1e-6)
        assert not scores[~roi].any()
    with pytest.raises(ScoringError, match="16 patches counted, the region of interest"):
        kept_window(sizes, pool, roi=roi)


def test_sizes_that_do_not_fit_are_refused(pool):
    with pytest.raises(ScoringError, match="window is 1, at least 2"):
        WindowShape(1, PATCHES, CHANNELS, DEGREES)
    with pytest.raises(ScoringError, match="15 patches do not form"):
        WindowShape(4, 15, CHANNELS, DEGREES)
    window = kept_window((4, PATCHES, CHANNELS, DEGREES), pool)
    with pytest.raises(ScoringError, match=r"tokens have the shapes \[\(9, 5\)\]"):
        window.features_of([np.zeros((9, 5), np.float32)])
    features = window.features_of(as_float32(frame_tokens(np.random.default_rng(0))))
    with pytest.raises(ScoringError, match=r"ignore has shape \(3,\)"):
        window.match(features, ignore=np.zeros(3, bool))
