import sys
import tracemalloc

import numpy as np
import pytest

from support.literal import (
    literal_distances,
    literal_interval_average,
    literal_lnamd,
    literal_rscin,
    literal_upsample,
)
from zeroline.runtime import (
    FrameError,
    ScoringError,
    Tokens,
    score_images,
    score_tokens,
    scoring_memory,
)


def random_tokens(images=7, side=4, channels=(6, 9), seed=0):
    rng = np.random.default_rng(seed)
    layers = tuple(rng.normal(size=(images, side * side, c)).astype(np.float32) for c in channels)
    classes = rng.normal(size=(images, 8)) + 1
    classes /= np.linalg.norm(classes, axis=1, keepdims=True)
    return Tokens(layers, classes.astype(np.float32))


def literal_scores(tokens, size, *, groups=None, ignore=None):
    maps = []
    for layer in tokens.layers:
        for degree in (1, 3, 5):
            distances = literal_distances(literal_lnamd(layer, degree), ignore, groups)
            maps.append(literal_interval_average(distances))
    patch_scores = np.mean(maps, axis=0)
    side = int(patch_scores.shape[1] ** 0.5)
    raw = [literal_upsample(row.reshape(side, side), size).max() for row in patch_scores]
    return patch_scores, np.array(raw)


@pytest.mark.parametrize("seed", [0, 1])
def test_equals_the_literal_pipeline(xp, seed):
    tokens = random_tokens(seed=seed)
    given = Tokens(tuple(map(xp.array, tokens.layers)), xp.array(tokens.class_tokens))
    groups = np.array([0, 1, 1, 2, 3, 4, 5]) if seed else None
    ignore = np.random.default_rng(seed).random((7, 16)) < 0.2 if seed else None
    steps: list[int] = []
    result = score_tokens(
        given, size=19, groups=groups, ignore=ignore, threads=2, progress=steps.append
    )
    patch_scores, raw = literal_scores(tokens, 19, groups=groups, ignore=ignore)
    np.testing.assert_allclose(xp.host(result.patch_scores), patch_scores, atol=2e-6)
    np.testing.assert_allclose(xp.host(result.raw_scores), raw, atol=2e-6)
    rescored = literal_rscin(raw, tokens.class_tokens, (1, 2, 3), normalise=False)
    np.testing.assert_allclose(xp.host(result.scores), rescored, atol=3e-6)
    assert not xp.host(result.recurring).any()
    assert sum(steps) == 7 * 2 * 3


@pytest.mark.parametrize("codegraph", [False, True])
def test_patches_that_do_not_count_and_patches_without_a_part(xp, codegraph):
    """Outside the region nothing scores or matches; without a part a patch matches all, at 0."""
    tokens = random_tokens(images=14)
    rng = np.random.default_rng(5)
    roi, absent = rng.random(16) < 0.7, rng.random((14, 16)) < 0.15
    given = Tokens(tuple(map(xp.array, tokens.layers)), xp.array(tokens.class_tokens))
    result = score_tokens(
        given, size=19, rscin=(), roi=roi, absent=absent, codegraph=codegraph, threads=2
    )
    patch_scores, _ = literal_scores(tokens, 19, ignore=absent | ~roi)
    wanted = np.where(absent | ~roi, 0, patch_scores)
    np.testing.assert_allclose(xp.host(result.patch_scores), wanted, atol=2e-6)
    raw = [literal_upsample(row.reshape(4, 4), 19).max() for row in wanted]
    np.testing.assert_allclose(xp.host(result.raw_scores), raw, atol=2e-6)


def test_a_recurring_defect_has_its_marks_on_the_whole_grid():
    """A mark in the region is found with its place; one outside is not."""
    rng = np.random.default_rng(9)
    rows = rng.normal(size=(1, 49, 8)) + 0.3 * rng.normal(size=(30, 49, 8))
    look = 6 * rng.normal(size=(2, 8))
    roi = np.ones(49, bool)
    roi[:14] = False
    rows[:7, 30] = look[0] + 0.05 * rng.normal(size=(7, 8))
    rows[10:17, 10] = look[1] + 0.05 * rng.normal(size=(7, 8))
    tokens = Tokens((rows.astype(np.float32),), np.ones((30, 1), np.float32))
    whole = score_tokens(tokens, size=21, rscin=(), degrees=(1, 3), codegraph=True)
    assert len(whole.communities) == 2
    for degrees in ((1, 3), (1,)):
        result = score_tokens(tokens, size=21, rscin=(), degrees=degrees, codegraph=True, roi=roi)
        (found,) = result.communities
        assert found.members.tolist() == list(range(7))
        assert found.marks.shape == (7, 49)
        assert found.marks[:, 30].all()
        assert not found.marks[:, ~roi].any()
        assert np.flatnonzero(result.recurring).tolist() == list(range(7))
        assert result.raw_scores[:7].min() > 1.1 * result.raw_scores[20:].max()


def test_rscin_off_keeps_the_raw_scores():
    result = score_tokens(random_tokens(), size=8, rscin=())
    np.testing.assert_array_equal(result.scores, result.raw_scores)


def test_the_order_of_images_does_not_matter():
    tokens = random_tokens()
    order = np.random.default_rng(0).permutation(7)
    straight, mixed = score_tokens(tokens, size=8), score_tokens(tokens.select(order), size=8)
    np.testing.assert_allclose(straight.scores[order], mixed.scores, atol=1e-6)


@pytest.mark.parametrize("images", [2, 3, 4])
def test_very_few_images(images):
    result = score_tokens(random_tokens(images), size=8)
    assert np.isfinite(result.scores).all()


def test_refuses():
    with pytest.raises(ScoringError, match=r"1 image\(s\): mutual scoring needs at least 2"):
        score_tokens(random_tokens(1), size=8)
    with pytest.raises(ScoringError, match="degrees is empty"):
        score_tokens(random_tokens(), size=8, degrees=())
    tokens = random_tokens()
    tokens.layers[1][4, 3, 2] = np.inf
    with pytest.raises(ScoringError, match="tokens of image 4 hold NaN or inf"):
        score_tokens(tokens, size=8)


@pytest.mark.parametrize("fault", ["fewer class tokens", "layers that differ", "no layer"])
def test_refuses_tokens_that_do_not_fit_together(fault):
    tokens = random_tokens()
    layers, classes = tokens.layers, tokens.class_tokens
    if fault == "fewer class tokens":
        classes = classes[:5]
    elif fault == "layers that differ":
        layers = (layers[0], layers[1][:, :9])
    else:
        layers = ()
    with pytest.raises(ScoringError, match="layers of the same N and P, and N class tokens"):
        score_tokens(Tokens(layers, classes), size=8)


def test_a_scratch_scores_highest(bundle_folder, paint):
    frames = [paint(n, scratch=n == 4) for n in range(12)]
    from zeroline.runtime import load_bundle  # here: it needs pydantic

    with load_bundle(bundle_folder) as bundle:
        result = score_images(iter(frames), bundle)
        assert result.raw_scores.argmax() == 4
        row, column = divmod(int(result.patch_scores[4].argmax()), 8)
        # the scratch: patch rows 4 and 5, columns 2 and 3, and what LNAMD spreads it to
        assert 3 <= row <= 6
        assert 1 <= column <= 4
        with pytest.raises(FrameError, match=r"1 channel\(s\)"):
            score_images([frames[0][:, :, 0]], bundle)
        with pytest.raises(ScoringError, match=r"0 image\(s\)"):
            score_images([], bundle)


@pytest.mark.parametrize(("compiled", "codegraph"), [(True, False), (False, False), (True, True)])
@pytest.mark.parametrize(("images", "side", "channels"), [(40, 10, (64, 96)), (60, 14, (32,))])
def test_the_memory_formula_is_close(images, side, channels, compiled, codegraph, monkeypatch):
    if not compiled:
        for module in ("matching.forms", "stages.lnamd"):
            home = sys.modules[f"zeroline.runtime.{module}"]
            monkeypatch.setattr(home, "compiled_loops", lambda: None)
    tokens = random_tokens(images, side, channels)
    for layer in tokens.layers:  # one product, and a defect in almost half of its images
        layer[:] = layer[0] + 0.5 * layer
        layer[: int(0.45 * images), 44] = 0.1 * layer[: int(0.45 * images), 44] - 3 * layer[0, 7]
    score_tokens(tokens.select(slice(0, 13)), size=16, threads=1, codegraph=True)  # imports
    tracemalloc.start()
    found = score_tokens(tokens, size=16, threads=1, codegraph=codegraph)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    held = sum(layer.nbytes for layer in tokens.layers) + tokens.class_tokens.nbytes
    estimate = scoring_memory(
        images,
        patches=side * side,
        channels=channels,
        class_channels=8,
        threads=1,
        compiled=compiled,
        codegraph=codegraph,
    )
    assert len(found.communities) == codegraph
    assert (0.6 if compiled else 0.3) * estimate < peak + held <= 1.05 * estimate
