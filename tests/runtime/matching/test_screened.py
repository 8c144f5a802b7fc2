"""Screened matching: a cheap product names the neighbour, exact arithmetic measures it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.literal import literal_distances
from support.windows import kept_window, matched_by
from zeroline.runtime import ScoringError, match_distances
from zeroline.runtime.compiled import compiled_loops
from zeroline.runtime.matching import forms
from zeroline.runtime.matching import screens as screening
from zeroline.runtime.matching.forms import FORMS, pick_form
from zeroline.runtime.workers import WorkerPool

NOTHING = np.zeros(49, bool)
SCREENED = ("pca", "int8")


def parts(rng, images, patches=49, channels=96, *, spread=0.5):
    """Frames of one product: shared places, of which each frame shows its own variation.

    As in real features, most of the variance lies in few directions.
    """
    scale = np.linspace(1, 0.05, channels) ** 2
    shared = np.random.default_rng(9).standard_normal((patches, channels)) * scale
    rows = shared + spread * rng.standard_normal((images, patches, channels)) * scale
    return (rows / np.linalg.norm(rows, axis=2, keepdims=True)).astype(np.float32)


@pytest.fixture(params=SCREENED)
def form(request):
    if not FORMS[request.param].available():
        pytest.skip("onnxruntime or numba is not here")
    return request.param


@pytest.fixture(params=[True, False], ids=["exact products", "saturating products"])
def products(request, monkeypatch):
    """Processors without VNNI get a right side of 7 bits."""
    if not request.param:
        monkeypatch.setattr(screening, "_multiplies_exactly", lambda: False)


@pytest.mark.parametrize("channels", [20, 64, 96, 300])
def test_is_never_under_the_exact_distance_and_nearly_always_equal(form, products, channels):
    features = parts(np.random.default_rng(0), 9, channels=channels)
    exact = literal_distances(features)
    found = matched_by(form, features)
    assert found.dtype == np.float32
    away = ~np.eye(9, dtype=bool)
    exact, found = (table.transpose(0, 2, 1)[away] for table in (exact, found))
    assert (found >= exact - 1e-6).all()
    assert (found / exact - 1).mean() < 3e-3
    assert np.corrcoef(exact.ravel(), found.ravel())[0, 1] > 0.9999


def test_near_copies_are_exact(form):
    features = parts(np.random.default_rng(1), 6)
    features[3] = features[0]
    features[4] = features[0] + np.float32(1e-4) * parts(np.random.default_rng(2), 1)[0]
    found = matched_by(form, features)
    assert (found[0, :, 3] == 0).all()
    np.testing.assert_allclose(found[0, :, 4], literal_distances(features)[0, :, 4], atol=1e-6)


def test_ignored_patches_and_groups(form, products):
    rng = np.random.default_rng(3)
    features = parts(rng, 8)
    ignore = rng.random((8, 49)) < 0.4
    ignore[5] = True  # an image that nobody may match at all
    groups = np.array([0, 0, 1, 2, 3, 4, 5, 5])
    exact = match_distances(features, ignore=ignore, groups=groups)
    found = matched_by(form, features, ignore=ignore, groups=groups)
    assert (np.isinf(found) == np.isinf(exact)).all()
    finite = np.isfinite(exact)
    assert (found[finite] >= exact[finite] - 1e-6).all()
    assert (found[finite] / exact[finite] - 1).mean() < 3e-3


sequences = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 999), st.booleans()), min_size=4, max_size=14
)


@settings(max_examples=15, deadline=None)
@given(sequences, st.sampled_from(SCREENED), st.sampled_from([1, 3]))
def test_a_window_stays_near_the_exact_one(sequence, form, threads):
    """Whatever was pushed and evicted, refits included."""
    with WorkerPool(threads) as pool:
        screened = kept_window((5, 49, (96, 20), (1, 3), form), pool)
        exact = kept_window((5, 49, (96, 20), (1, 3)), pool)
        for slot, seed, ignoring in sequence:
            rng = np.random.default_rng(seed)
            tokens = [parts(rng, 1, channels=c)[0] for c in (96, 20)]
            ignore = (rng.random(49) < 0.3) & ignoring
            for window in (screened, exact):
                window.admit(slot, window.match(window.features_of(tokens), ignore=ignore))
        for slot in {slot for slot, _, _ in sequence}:
            mine, theirs = screened.patch_scores(slot), exact.patch_scores(slot)
            if theirs is None:
                assert mine is None
                continue
            assert mine is not None
            assert (mine >= theirs - 1e-6).all()
            assert (mine - theirs).mean() <= 0.01 * theirs.mean()


def test_scores_on_photographs(shared, form, monkeypatch):
    """With the bundled model: what the screen costs on real features."""
    pytest.importorskip("onnxruntime")
    from zeroline.edge_app.images import find_images, read_image
    from zeroline.runtime import load_bundle, score_tokens
    from zeroline.runtime.batch import embed_images
    from zeroline.runtime.matching import sets

    files = find_images([shared / "data" / "tiles" / "test"]).files[::3]
    with load_bundle("tiny") as bundle:
        tokens = embed_images([read_image(file.path) for file in files], bundle)
        options: dict[str, Any] = {"size": bundle.size, "degrees": "fused", "rscin": ()}
        exact = score_tokens(tokens, **options)
        monkeypatch.setattr(sets, "pick_form", lambda *_, **__: FORMS[form])
        screened = score_tokens(tokens, **options)
    assert (exact.matching, screened.matching) == ("float32", form)
    off = screened.patch_scores / exact.patch_scores - 1
    assert 0 < off.mean() < 1e-3
    assert spearman(screened.patch_scores.ravel(), exact.patch_scores.ravel()) > 0.999
    assert spearman(screened.raw_scores, exact.raw_scores) > 0.999


def spearman(one, other):
    first, second = (np.argsort(np.argsort(values)) for values in (one, other))
    return np.corrcoef(first, second)[0, 1]


def test_keys_name_what_a_plain_search_names():
    """The compiled pass against NumPy, tiles with rows left over, penalties included."""
    rng = np.random.default_rng(4)
    images, rows, patches, bits = 3, 11, 13, 4
    tile = rng.integers(-(2**20), 2**20, (images, rows, patches)).astype(np.int32)
    row_codes = ((rng.integers(0, 2**18, 20) << bits) + np.arange(20) % 16).astype(np.int32)
    column_codes = (
        (rng.integers(0, 2**18, (images, patches)) << bits) + np.arange(patches)
    ).astype(np.int32)
    row_keys = np.zeros((images, 20), np.int32)
    column_keys = np.full((images, patches), 2**31 - 1, np.int32)
    compiled_loops().least_keys(tile, bits, bits, row_codes, column_codes, 5, row_keys, column_keys)
    shifted = tile.astype(np.int64) << bits
    np.testing.assert_array_equal(row_keys[:, 5:16], (shifted + column_codes[:, None]).min(axis=2))
    np.testing.assert_array_equal(column_keys, (shifted + row_codes[None, 5:16, None]).min(axis=1))
    assert not row_keys[:, :5].any()
    assert not row_keys[:, 16:].any()


def test_rows_far_outside_what_was_fitted_keep_their_neighbours(form):
    """Keys have room for the fitted lengths only; a foreign part must not overflow them."""
    rng = np.random.default_rng(5)
    bank = FORMS[form].bank.empty(4, 49, 96, turn=0, xp=np)
    for slot in range(4):
        bank.put(slot, parts(rng, 1, spread=0.01)[0], NOTHING)
    foreign = rng.standard_normal((49, 96)).astype(np.float32)
    foreign /= np.linalg.norm(foreign, axis=1, keepdims=True)
    rows, columns = np.empty((2, 4, 49), np.float32)
    bank.minima(bank.query(foreign, NOTHING), 0, 4, rows, columns)
    squares = ((foreign[None, :, None] - bank.features[:, None]) ** 2).sum(axis=3) / 2
    assert (np.sqrt(rows / squares.min(axis=2)) - 1).max() < 0.05
    assert (np.sqrt(columns / squares.min(axis=1)) - 1).max() < 0.05


def test_the_screen_follows_the_line(form):
    """A bank whose frames are all replaced by another product is fitted to that one."""
    rng = np.random.default_rng(6)
    bank = FORMS[form].bank.empty(8, 49, 300, turn=5, xp=np)
    turned = np.linalg.qr(rng.standard_normal((300, 300)))[0].astype(np.float32)
    for number in range(8):
        bank.put(number, parts(rng, 1, channels=300)[0], NOTHING)
    others = parts(rng, 17, channels=300) @ turned

    def error():
        rows, columns = np.empty((2, 8, 49), np.float32)
        bank.minima(bank.query(others[16], NOTHING), 0, 8, rows, columns)
        squares = ((others[16][None, :, None] - bank.features[:, None]) ** 2).sum(axis=3) / 2
        return float((np.sqrt(rows / squares.min(axis=2)) - 1).mean())

    for number in range(8, 12):
        bank.put(number % 8, others[number - 8], NOTHING)
    before = error()
    for number in range(12, 24):
        bank.put(number % 8, others[number - 8], NOTHING)
    assert error() < before / 3


def test_what_is_not_finite_is_refused(form):
    features = parts(np.random.default_rng(7), 2)
    features[1, 3, 3] = np.nan
    with pytest.raises(ScoringError, match="features of image 1 hold NaN"):
        matched_by(form, features)


def test_forms_serve_where_what_they_need_is_there(monkeypatch):
    def names(device="cpu", patches=49):
        return [form.name for form in forms.fast_forms(device, patches)]

    assert names() == ["pca", "int8"]
    assert names(patches=65 * 65) == []  # the keys have room for 4096 patches
    assert names("cuda") == ["fp16-fused"]
    assert forms.exact_form("cpu").name == "float32"
    assert forms.exact_form("cuda").name == "float32-plain"
    monkeypatch.setattr(forms, "find_spec", lambda _: None)
    assert names() == ["pca"]
    monkeypatch.setattr(forms, "compiled_loops", lambda: None)
    assert names() == []
    assert forms.exact_form("cpu").name == "float32-plain"


def test_fast_picks_the_quickest_and_may_pick_the_exact_one(monkeypatch):
    seconds = {"float32": 1.0, "pca": 0.7, "int8": 0.9}
    monkeypatch.setattr(forms, "match_seconds", lambda form, *_: seconds[form])

    def picked(matching="fast", patches=49):
        return pick_form(matching, patches=patches, channels=(8,)).name

    assert picked() == "pca"
    assert picked("exact") == "float32"
    seconds["pca"] = 0.95
    assert picked() == "float32"  # another one is hardly worth it
    seconds["int8"] = 0.5
    assert picked() == "int8"
    assert picked(patches=5000) == "float32"
    with pytest.raises(ScoringError, match='matching is "quick", allowed: exact, fast'):
        picked("quick")


def test_the_pick_is_measured_for_real():
    assert pick_form("fast", patches=49, channels=(8, 20)).name in {"float32", *SCREENED}


def test_the_shipped_product_is_what_its_maker_makes():
    onnx = pytest.importorskip("onnx", reason="onnx comes with the export extra")
    from importlib.resources import files

    from zeroline.export.integer_product import integer_product

    shipped = onnx.load_from_string(
        files("zeroline.runtime.matching").joinpath("integer_product.onnx").read_bytes()
    )
    assert shipped.graph == integer_product().graph


def test_an_empty_bank_takes_a_query():
    for name in ("float32", "float32-plain", *SCREENED):
        bank = FORMS[name].bank.empty(2, 49, 96, turn=0, xp=np)
        assert bank.query(parts(np.random.default_rng(8), 1)[0], NOTHING) is not None
