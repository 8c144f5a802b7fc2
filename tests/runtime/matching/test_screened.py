"""Screened matching: a cheap product names the neighbour, exact arithmetic measures it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.literal import literal_distances
from zeroline.runtime import ScoringError, match_distances
from zeroline.runtime.compiled import compiled_loops
from zeroline.runtime.line.window import Shape, Window
from zeroline.runtime.matching import measure as precision_choice
from zeroline.runtime.matching import screens as screening
from zeroline.runtime.matching.bank import SCREENED, make_bank, screens
from zeroline.runtime.matching.measure import chosen_precision
from zeroline.runtime.matching.screened import ScreenedBank
from zeroline.runtime.workers import WorkerPool

NOTHING = np.zeros(49, bool)


def parts(rng, images, patches=49, channels=96, *, spread=0.5):
    """Frames of one product: shared places, of which each frame shows its own variation.

    As in real features, most of the variance lies in few directions.
    """
    scale = np.linspace(1, 0.05, channels) ** 2
    shared = np.random.default_rng(9).standard_normal((patches, channels)) * scale
    rows = shared + spread * rng.standard_normal((images, patches, channels)) * scale
    return (rows / np.linalg.norm(rows, axis=2, keepdims=True)).astype(np.float32)


@pytest.fixture(params=SCREENED)
def precision(request):
    if request.param not in screens():
        pytest.skip("onnxruntime is not here")
    return request.param


@pytest.fixture(params=[True, False], ids=["exact products", "saturating products"])
def products(request, monkeypatch):
    """Processors without VNNI get a right side of 7 bits."""
    if not request.param:
        monkeypatch.setattr(screening, "_multiplies_exactly", lambda: False)


@pytest.mark.parametrize("channels", [20, 64, 96, 300])
def test_is_never_under_the_exact_distance_and_nearly_always_equal(precision, products, channels):
    features = parts(np.random.default_rng(0), 9, channels=channels)
    exact = literal_distances(features)
    found = match_distances(features, precision=precision)
    assert found.dtype == np.float32
    away = ~np.eye(9, dtype=bool)
    exact, found = (table.transpose(0, 2, 1)[away] for table in (exact, found))
    assert (found >= exact - 1e-6).all()
    assert (found / exact - 1).mean() < 3e-3
    assert np.corrcoef(exact.ravel(), found.ravel())[0, 1] > 0.9999


def test_near_copies_are_exact(precision):
    features = parts(np.random.default_rng(1), 6)
    features[3] = features[0]
    features[4] = features[0] + np.float32(1e-4) * parts(np.random.default_rng(2), 1)[0]
    found = match_distances(features, precision=precision)
    assert (found[0, :, 3] == 0).all()
    np.testing.assert_allclose(found[0, :, 4], literal_distances(features)[0, :, 4], atol=1e-6)


def test_ignored_patches_and_groups(precision, products):
    rng = np.random.default_rng(3)
    features = parts(rng, 8)
    ignore = rng.random((8, 49)) < 0.4
    ignore[5] = True  # an image that nobody may match at all
    groups = np.array([0, 0, 1, 2, 3, 4, 5, 5])
    exact = match_distances(features, ignore=ignore, groups=groups)
    found = match_distances(features, ignore=ignore, groups=groups, precision=precision)
    assert (np.isinf(found) == np.isinf(exact)).all()
    finite = np.isfinite(exact)
    assert (found[finite] >= exact[finite] - 1e-6).all()
    assert (found[finite] / exact[finite] - 1).mean() < 3e-3


sequences = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, 999), st.booleans()), min_size=4, max_size=14
)


@settings(max_examples=15, deadline=None)
@given(sequences, st.sampled_from(screens()), st.sampled_from([1, 3]))
def test_a_window_stays_near_the_exact_one(sequence, form, threads):
    """Whatever was pushed and evicted, refits included."""
    with WorkerPool(threads) as pool:
        screened = Window(Shape(5, 49, (96, 20), (1, 3), form), pool)
        exact = Window(Shape(5, 49, (96, 20), (1, 3)), pool)
        for slot, seed, hide in sequence:
            rng = np.random.default_rng(seed)
            tokens = [parts(rng, 1, channels=c)[0] for c in (96, 20)]
            ignore = (rng.random(49) < 0.3) & hide
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


def test_scores_on_photographs(shared, precision):
    """With the bundled model: what the screen costs on real features."""
    pytest.importorskip("onnxruntime")
    from zeroline.edge_app.images import find_images, read_image
    from zeroline.runtime import load_bundle, score_tokens
    from zeroline.runtime.batch import embed_images

    files = find_images([shared / "data" / "tiles" / "test"]).files[::3]
    with load_bundle("tiny") as bundle:
        tokens = embed_images([read_image(file.path) for file in files], bundle)
        exact, screened = (
            score_tokens(tokens, size=bundle.size, degrees="fused", rscin=(), precision=used)
            for used in ("fp32", precision)
        )
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


def test_rows_far_outside_what_was_fitted_keep_their_neighbours(precision):
    """Keys have room for the fitted lengths only; a foreign part must not overflow them."""
    rng = np.random.default_rng(5)
    bank = ScreenedBank(np.zeros((4, 49, 96), np.float32), form=precision)
    for slot in range(4):
        bank.put(slot, parts(rng, 1, spread=0.01)[0], NOTHING)
    foreign = rng.standard_normal((49, 96)).astype(np.float32)
    foreign /= np.linalg.norm(foreign, axis=1, keepdims=True)
    rows, columns = np.empty((2, 4, 49), np.float32)
    bank.minima(bank.query(foreign, NOTHING), 0, 4, rows, columns)
    squares = ((foreign[None, :, None] - bank.features[:, None]) ** 2).sum(axis=3) / 2
    assert (np.sqrt(rows / squares.min(axis=2)) - 1).max() < 0.05
    assert (np.sqrt(columns / squares.min(axis=1)) - 1).max() < 0.05


def test_the_screen_follows_the_line(precision):
    """A bank whose frames are all replaced by another product is fitted to that one."""
    rng = np.random.default_rng(6)
    bank = ScreenedBank(np.zeros((8, 49, 300), np.float32), form=precision, turn=5)
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


def test_what_there_is_not_is_refused(monkeypatch):
    features = parts(np.random.default_rng(7), 2)
    with pytest.raises(ScoringError, match='precision is "fp8", allowed: fp32, screened'):
        match_distances(features, precision="fp8")
    with pytest.raises(ScoringError, match="takes 4096 patches at most, 4225 are given"):
        Shape(4, 65 * 65, (8,), (1,), "screened-pca")
    features[1, 3, 3] = np.nan
    with pytest.raises(ScoringError, match="features of image 1 hold NaN"):
        match_distances(features, precision="screened-pca")
    monkeypatch.setattr("zeroline.runtime.matching.bank.find_spec", lambda _: None)
    with pytest.raises(ScoringError, match=r"\"screened-int8\" needs onnxruntime"):
        Shape(4, 49, (8,), (1,), "screened-int8")
    assert chosen_precision("screened", patches=49, channels=(8,)) == "screened-pca"
    monkeypatch.setattr("zeroline.runtime.matching.bank.compiled_loops", lambda: None)
    with pytest.raises(ScoringError, match=r"\"screened-int8\" needs numba"):
        Shape(4, 49, (8,), (1,), "screened-int8")


def test_the_quickest_is_chosen(monkeypatch):
    seconds = {"fp32": 1.0, "screened-pca": 0.7, "screened-int8": 0.9}
    monkeypatch.setattr(precision_choice, "match_seconds", lambda form, *_: seconds[form])
    monkeypatch.setattr(precision_choice, "screens", lambda: SCREENED)
    assert chosen_precision("auto", patches=49, channels=(8,)) == "screened-pca"
    assert chosen_precision("fp32", patches=49, channels=(8,)) == "fp32"
    seconds["screened-pca"] = 0.95
    assert chosen_precision("auto", patches=49, channels=(8,)) == "fp32"  # hardly worth it
    assert chosen_precision("screened", patches=49, channels=(8,)) == "screened-int8"
    assert chosen_precision("auto", patches=5000, channels=(8,)) == "fp32"


def test_the_choice_is_measured_for_real():
    assert chosen_precision("auto", patches=49, channels=(8, 20)) in {"fp32", *SCREENED}
    assert chosen_precision("screened", patches=49, channels=(8, 20)) in SCREENED


def test_the_shipped_product_is_what_its_maker_makes():
    onnx = pytest.importorskip("onnx", reason="onnx comes with the export extra")
    from importlib.resources import files

    from zeroline.export.integer_product import integer_product

    shipped = onnx.load_from_string(
        files("zeroline.runtime.matching").joinpath("integer_product.onnx").read_bytes()
    )
    assert shipped.graph == integer_product().graph


def test_an_empty_ring_has_a_side():
    for precision in ("fp32", *screens()):
        bank = make_bank(precision, 2, 49, 96)
        assert bank.query(parts(np.random.default_rng(8), 1)[0], NOTHING) is not None
