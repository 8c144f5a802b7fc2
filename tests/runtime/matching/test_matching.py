import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.literal import literal_distances
from zeroline.runtime import ScoringError, match_distances
from zeroline.runtime.compiled import compiled_loops
from zeroline.runtime.matching import forms
from zeroline.runtime.matching import operand as tiles


def unit_rows(rng, shape):
    rows = rng.normal(size=shape) + rng.normal(size=(1, *shape[1:]))
    return (rows / np.linalg.norm(rows, axis=2, keepdims=True)).astype(np.float32)


@pytest.fixture(params=["compiled", "plain"])
def form(request, monkeypatch):
    """Both forms behind `match_distances`; the plain one is CuPy's and that without numba."""
    if request.param == "plain":
        monkeypatch.setattr(
            "zeroline.runtime.matching.forms.compiled_loops", lambda: None
        )  # what a machine without numba gives
    else:
        assert compiled_loops() is not None
    return request.param


@pytest.mark.parametrize("shape", [(2, 1, 3), (3, 4, 7), (5, 9, 16), (4, 49, 33), (12, 25, 8)])
def test_equals_the_literal_form(xp, form, shape):
    features = unit_rows(np.random.default_rng(0), shape)
    distances = xp.host(match_distances(xp.array(features)))
    assert distances.shape == (shape[0], shape[1], shape[0])
    assert distances.dtype == np.float32
    np.testing.assert_allclose(distances, literal_distances(features), atol=1e-6)
    assert np.isinf(np.diagonal(distances, axis1=0, axis2=2)).all()


def test_tiles_that_do_not_divide_the_image(monkeypatch):
    """Rows left over by the blocks of four, and by tiles of fewer rows than the image has."""
    monkeypatch.setattr(tiles, "TILE_BYTES", 4 * 49 * 10)
    monkeypatch.setattr(tiles, "LEAST_ROWS", 7)
    assert tiles.tile_shape(49) == (10, 1)
    features = unit_rows(np.random.default_rng(1), (6, 49, 5))
    np.testing.assert_allclose(match_distances(features), literal_distances(features), atol=1e-6)


def test_near_copies_are_exact(xp, form):
    """½‖x‖² + ½‖y‖² - x·y is off by up to 1e-3 in distance near 0."""
    rng = np.random.default_rng(2)
    features = unit_rows(rng, (7, 36, 24))
    features[1] = features[0]
    for image, step in ((2, 1e-6), (3, 1e-4), (4, 1e-2), (5, 0.05)):
        features[image] = features[0] + step * rng.normal(size=(36, 24)) / 5
    features[2:6] /= np.linalg.norm(features[2:6], axis=2, keepdims=True)
    expected = literal_distances(features)
    distances = xp.host(match_distances(xp.array(features)))
    assert (distances[0, :, 1] == 0).all()
    np.testing.assert_allclose(distances, expected, atol=1e-6)


def test_flat_images_are_exact(xp, form):
    """All patches of a blank frame are near-copies of each other, and so of other frames'."""
    rng = np.random.default_rng(3)
    row = rng.normal(size=24)
    features = row + 1e-3 * rng.normal(size=(4, 64, 24))
    features[1] = row
    features = (features / np.linalg.norm(features, axis=2, keepdims=True)).astype(np.float32)
    np.testing.assert_allclose(
        xp.host(match_distances(xp.array(features))), literal_distances(features), atol=1e-6
    )


@pytest.mark.parametrize("channels", [384, 2000])
def test_equal_entries_round_the_worst(form, channels):
    """Rows of equal entries round the product by over 1e-5, more than a fixed margin allowed."""
    rng = np.random.default_rng(0)
    signs = rng.choice([-1.0, 1.0], (3, 9, channels))
    signs[1] = signs[0]
    signs[2, :, : channels // 100] = 2 * signs[0, :, : channels // 100]
    signs[2, :, channels // 100 :] = signs[0, :, channels // 100 :]
    features = (signs / np.linalg.norm(signs, axis=2, keepdims=True)).astype(np.float32)
    distances = match_distances(features)
    assert (distances[0, :, 1] == 0).all()
    np.testing.assert_allclose(distances, literal_distances(features), atol=4e-6)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_ignore_and_groups(data):
    images = data.draw(st.integers(2, 7))
    patches = data.draw(st.sampled_from([1, 4, 9]))
    channels = data.draw(st.integers(1, 6))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    features = unit_rows(rng, (images, patches, channels))
    for copy in range(data.draw(st.integers(0, images - 1))):
        features[copy + 1] = features[0]
    if data.draw(st.booleans()):
        features[-1, 0] = 0  # a zero row is allowed
    share = data.draw(st.sampled_from([0.0, 0.2, 0.7, 1.0]))
    ignore = data.draw(st.sampled_from([None, rng.random((images, patches)) < share]))
    groups = data.draw(st.sampled_from([None, rng.integers(0, 3, images)]))
    threads = data.draw(st.sampled_from([1, 2]))
    expected = literal_distances(features, ignore, groups)
    options = {"ignore": ignore, "groups": groups, "threads": threads}
    compiled = match_distances(features, **options)
    np.testing.assert_allclose(compiled, expected, atol=2e-6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forms, "compiled_loops", lambda: None)
        np.testing.assert_allclose(match_distances(features, **options), expected, atol=2e-6)


def test_threads_change_nothing_and_progress_counts_images():
    features = unit_rows(np.random.default_rng(4), (9, 25, 16))
    done: list[int] = []
    one = match_distances(features, threads=1)
    three = match_distances(features, threads=3, progress=done.append)
    np.testing.assert_array_equal(one, three)
    assert sum(done) == 9


def test_the_callers_array_is_not_written():
    features = unit_rows(np.random.default_rng(5), (3, 9, 8))
    before = features.copy()
    match_distances(features, ignore=np.eye(3, 9, dtype=bool))
    np.testing.assert_array_equal(features, before)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(xp, form, bad):
    """An integer minimum passes over NaN in silence."""
    features = unit_rows(np.random.default_rng(6), (3, 4, 5))
    features[1, 2, 3] = bad
    with pytest.raises(ScoringError, match="the features of image 1 hold NaN or inf"):
        match_distances(xp.array(features))


@pytest.mark.parametrize(
    ("features", "options", "message"),
    [
        (np.zeros((1, 4, 3), np.float32), {}, r"1 image\(s\): mutual scoring needs at least 2"),
        (np.zeros((4, 3), np.float32), {}, "3 dimensions"),
        (np.zeros((2, 0, 3), np.float32), {}, "0 patches and 3 channels"),
        (np.zeros((2, 4, 3), np.float32), {"matching": "int3"}, 'matching is "int3", allowed'),
        (np.zeros((2, 4, 3), np.float32), {"ignore": np.zeros((2, 3), bool)}, "ignore has shape"),
        (np.zeros((2, 4, 3), np.float32), {"groups": np.zeros(3)}, r"groups has shape \(3,\)"),
        (np.zeros((2, 4, 3), np.float32), {"threads": 0}, "threads is 0"),
    ],
)
def test_refuses(features, options, message):
    with pytest.raises(ScoringError, match=message):
        match_distances(features, **options)
