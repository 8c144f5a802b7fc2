import numpy as np
import pytest

from support.literal import literal_rscin
from zeroline.runtime import ScoringError, rscin


def class_tokens(count, channels=16, seed=0):
    rng = np.random.default_rng(seed)
    tokens = rng.normal(size=(count, channels)) + 1
    return (tokens / np.linalg.norm(tokens, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("neighbours", [(1,), (1, 2, 3), (1, 8, 9)])
def test_equals_the_literal_form(xp, neighbours, normalise):
    tokens, scores = class_tokens(30), np.random.default_rng(1).random(30).astype(np.float32)
    found = rscin(xp.array(scores), xp.array(tokens), neighbours=neighbours, normalise=normalise)
    expected = literal_rscin(scores, tokens, neighbours, normalise=normalise)
    np.testing.assert_allclose(xp.host(found), expected, atol=1e-6)


def test_half_precision_tokens(xp):
    tokens = class_tokens(20).astype(np.float16)
    scores = np.random.default_rng(1).random(20).astype(np.float32)
    found = xp.host(rscin(xp.array(scores), xp.array(tokens)))
    expected = literal_rscin(scores, tokens.astype(np.float32), (1, 2, 3), normalise=True)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_distance_units_rank_like_scaled_ones(xp):
    """RsCIN(αs + β) = α·RsCIN(s) + β, which makes a fixed threshold possible."""
    tokens, scores = class_tokens(25), np.random.default_rng(2).random(25).astype(np.float32)
    kept = xp.host(rscin(xp.array(scores), xp.array(tokens), normalise=False))
    scaled = xp.host(rscin(xp.array(scores), xp.array(tokens)))
    spread = scores.max() - scores.min()
    np.testing.assert_allclose(kept, scaled * spread + scores.min(), atol=1e-6)


def test_constant_scores(xp):
    scores = np.full(6, 0.4, np.float32)
    np.testing.assert_array_equal(xp.host(rscin(xp.array(scores), xp.array(class_tokens(6)))), 0)
    kept = xp.host(rscin(xp.array(scores), xp.array(class_tokens(6)), normalise=False))
    np.testing.assert_allclose(kept, 0.4, atol=1e-7)


def test_fewer_images_than_neighbours(xp):
    scores = np.array([0.1, 0.9], np.float32)
    found = xp.host(rscin(xp.array(scores), xp.array(class_tokens(2)), neighbours=(1, 2, 3)))
    expected = literal_rscin(scores, class_tokens(2), (1, 2, 2), normalise=True)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_an_image_keeps_its_own_score_among_equal_ones(xp):
    """With equal class tokens the first once took the place of all others."""
    tokens = np.array([[1, 0], [1, 0], [1, 0]], np.float32)
    scores = np.array([0.1, 0.9, 0.5], np.float32)
    found = rscin(xp.array(scores), xp.array(tokens), neighbours=(1,), normalise=False)
    np.testing.assert_allclose(xp.host(found), scores, atol=1e-7)


def test_opposite_class_tokens_do_not_cancel(xp):
    """Row sums of 1 - 1 once gave infinite scores."""
    tokens = np.array([[1, 0], [-1, 0]], np.float32)
    scores = np.array([0.5, 0.6], np.float32)
    found = rscin(xp.array(scores), xp.array(tokens), normalise=False)
    np.testing.assert_allclose(xp.host(found), scores, atol=1e-7)


@pytest.mark.parametrize(
    ("scores", "tokens", "options", "message"),
    [
        (np.zeros(3), class_tokens(2), {}, r"3 score\(s\) and 2 class token\(s\)"),
        (np.zeros(0), np.zeros((0, 4)), {}, r"0 score\(s\)"),
        (np.zeros(2), class_tokens(2), {"neighbours": ()}, r"neighbours is \(\)"),
        (np.zeros(2), class_tokens(2), {"neighbours": (0, 1)}, r"neighbours is \(0, 1\)"),
    ],
)
def test_refuses(scores, tokens, options, message):
    with pytest.raises(ScoringError, match=message):
        rscin(scores, tokens, **options)


def test_class_tokens_as_long_as_they_are(xp):
    """The authors do not normalise DINO's: a longer image can be more alike than the image itself.

    It was put first whatever its product was, so that their figures could not be had.
    """
    tokens = class_tokens(30) * np.random.default_rng(3).uniform(5, 20, (30, 1)).astype(np.float32)
    scores = np.random.default_rng(1).random(30).astype(np.float32)
    products = tokens.astype(np.float64) @ tokens.astype(np.float64).T
    assert (products.argmax(axis=1) != np.arange(30)).sum() > 10
    found = xp.host(rscin(xp.array(scores), xp.array(tokens), neighbours=(1, 2, 5)))
    scaled = (scores - scores.min()) / (scores.max() - scores.min())
    expected = []
    for m in (1, 2, 5):
        kept = np.zeros_like(products)
        for row, line in enumerate(products):
            largest = np.argsort(-line)[:m]
            kept[row, largest] = line[largest]
        expected.append(kept / kept.sum(axis=1, keepdims=True) @ scaled)
    np.testing.assert_allclose(found, np.mean(expected, axis=0), atol=1e-6)


def test_neighbours_that_float32_cannot_tell_apart(xp):
    """Class tokens of ViT-L for tiles: products 1e-7 apart, and rounding chose the neighbour."""
    rng = np.random.default_rng(5)
    tokens = 1 + 4e-3 * rng.standard_normal((24, 768))
    tokens = (tokens / np.linalg.norm(tokens, axis=1, keepdims=True)).astype(np.float32)
    scores = rng.random(24).astype(np.float32)
    exact = tokens.astype(np.float64) @ tokens.T.astype(np.float64)
    rough = tokens @ tokens.T
    assert (np.argsort(-exact)[:, 1:3] != np.argsort(-rough)[:, 1:3]).any()
    found = xp.host(rscin(xp.array(scores), xp.array(tokens)))
    expected = literal_rscin(scores, tokens, (1, 2, 3), normalise=True)
    np.testing.assert_allclose(found, expected, atol=1e-6)
