import numpy as np
import pytest

from support.literal import literal_lnamd
from zeroline.runtime import ScoringError, lnamd
from zeroline.runtime.stages.lnamd import aggregate_plain


@pytest.mark.parametrize("degree", [1, 3, 5, 9])
@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 16, 5), (3, 49, 40)])
def test_equals_the_literal_form(xp, shape, degree):
    tokens = np.random.default_rng(0).normal(3, 2, shape).astype(np.float32)
    for form in (lambda t: lnamd(t, degree=degree), lambda t: aggregate_plain(t, degree=degree)):
        features = xp.host(form(xp.array(tokens)))
        assert features.dtype == np.float32
        if shape[1] * shape[2] > 3:
            np.testing.assert_allclose(features, literal_lnamd(tokens, degree), atol=1e-6)


def test_threads_change_nothing(xp):
    tokens = np.random.default_rng(1).normal(size=(7, 25, 8)).astype(np.float32)
    one = lnamd(xp.array(tokens), degree=3, threads=1)
    three = lnamd(xp.array(tokens), degree=3, threads=3)
    np.testing.assert_array_equal(xp.host(one), xp.host(three))


@pytest.mark.parametrize("degree", [1, 3])
def test_constant_tokens_stay_zero(xp, degree):
    features = xp.host(lnamd(xp.array(np.full((2, 9, 4), 7.3, np.float32)), degree=degree))
    np.testing.assert_array_equal(features, 0)


@pytest.mark.parametrize("factor", [1e20, 1e-21])
def test_large_and_tiny_tokens_give_the_same_features(xp, factor):
    """Their squares leave the range of float32; features were once zero, or not of unit length."""
    tokens = np.random.default_rng(0).normal(size=(2, 9, 6)).astype(np.float32)
    for form in (lnamd, aggregate_plain):
        found = xp.host(form(xp.array(tokens * np.float32(factor)), degree=3))
        np.testing.assert_allclose(found, xp.host(form(xp.array(tokens), degree=3)), atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_float_types_give_float32(xp, dtype):
    tokens = np.random.default_rng(2).normal(size=(2, 9, 6)).astype(dtype)
    features = xp.host(lnamd(xp.array(tokens), degree=3))
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, literal_lnamd(tokens.astype(np.float32), 3), atol=1e-6)


def test_a_view_is_taken_as_it_stands():
    tokens = np.random.default_rng(3).normal(size=(2, 10, 12)).astype(np.float32)
    view = tokens[:, 1:, ::2]  # without the class token, every other channel
    np.testing.assert_allclose(lnamd(view, degree=3), literal_lnamd(view, 3), atol=1e-6)


@pytest.mark.parametrize(
    ("tokens", "degree", "message"),
    [
        (np.zeros((1, 9, 2), np.float32), 2, "degree is 2, an odd number from 1 on"),
        (np.zeros((1, 9, 2), np.float32), -1, "degree is -1"),
        (np.zeros((1, 8, 2), np.float32), 1, "8 patches do not form a square grid"),
        (np.zeros((1, 9, 0), np.float32), 1, "tokens have 0 channels"),
        (np.zeros((9, 2), np.float32), 1, r"shape \(9, 2\), an array of 3 dimensions"),
        (np.zeros((1, 9, 2), np.int32), 1, "dtype int32, a floating dtype"),
    ],
)
def test_refuses(tokens, degree, message):
    with pytest.raises(ScoringError, match=message):
        lnamd(tokens, degree=degree)
