"""Each kernel of a line's frame against its form in array operations; launches of a frame."""

from typing import Any

import numpy as np
import pytest

from support.counted_frame import counted_frame
from support.windows import kept_window
from zeroline.runtime import Tokens
from zeroline.runtime.line.cuda_store import CudaStore
from zeroline.runtime.line.places import place_distances
from zeroline.runtime.line.searched import degree_one
from zeroline.runtime.line.shape import WindowShape
from zeroline.runtime.line.stores import BankStore, SeenTiles
from zeroline.runtime.line.window import Window
from zeroline.runtime.stages.interval import average_on_device
from zeroline.runtime.workers import WorkerPool

ORDERS = ("forward", "backward", "shuffled", "one warp ahead")


@pytest.fixture(params=ORDERS)
def order(request, cupy, monkeypatch):
    monkeypatch.setattr(cupy, "order", request.param, raising=False)
    return request.param


def made_store(cupy, *, slots=4, patches=25, channels=(40, 20), degrees=(1, 3, 5), **options):
    roi, tiles = options.get("roi"), options.get("tiles", (1, 1))
    counted = None if roi is None else int(roi.sum())
    shape = WindowShape(slots, patches, channels, degrees, "fp16-fused", counted, tiles)
    interval = options.get("interval", (0.0, 0.3))
    return CudaStore(shape, SeenTiles(shape, roi), interval=interval, cupy=cupy), shape


def tokens_of(rng, shape, factor=1.0):
    return [
        (factor * (3 + 2 * rng.standard_normal((shape.patches, c)))).astype(np.float32)
        for c in shape.channels
    ]


@pytest.mark.parametrize("degrees", [(1, 3, 5), (5,), (3, 1), "fused"])
@pytest.mark.parametrize("kind", ["whole", "tiles", "region"])
def test_features_are_those_of_the_array_form(cupy, degrees, kind, monkeypatch):
    monkeypatch.setattr(cupy, "order", ORDERS[(len(degrees) + len(kind)) % 4], raising=False)
    rng = np.random.default_rng(0)
    options: dict[str, Any] = {"patches": 50, "tiles": (1, 2)} if kind == "tiles" else {}
    if kind == "region":
        roi = rng.random(25 * 4) < 0.4
        roi[25:50] = False  # a tile in which nothing counts
        options = {"patches": 100, "tiles": (2, 2), "roi": roi}
    store, shape = made_store(cupy, degrees=degrees, **options)
    layers = tokens_of(rng, shape)
    layers[0][3] = layers[0].mean()
    found = store.features_of([cupy.asarray(layer) for layer in layers])
    with WorkerPool(1) as pool:
        wanted = BankStore(shape, SeenTiles(shape, options.get("roi")), pool, xp=cupy).features_of(
            [cupy.asarray(layer) for layer in layers]
        )
    rows, norms = store._units.rounded(wanted)
    for mine, theirs in zip(found, wanted, strict=True):
        assert mine.dtype == np.float16
        np.testing.assert_allclose(mine.get(), theirs.get().astype(np.float16), atol=2.5e-4)
    np.testing.assert_allclose(found.half_norms.get(), norms.get(), atol=2e-4)
    assert np.abs(found.rows.get().astype(np.float32) - rows.get()).mean() < 2e-6


@pytest.mark.parametrize("factor", [1e20, 1e-21, 0.0])
def test_features_of_large_tiny_or_no_tokens(cupy, factor):
    """Their squares leave the range of float32; even tokens give rows of zeros."""
    store, shape = made_store(cupy)
    layers = tokens_of(np.random.default_rng(1), shape)
    found = store.features_of([cupy.asarray(layer * np.float32(factor)) for layer in layers])
    if not factor:
        assert not found.rows.get().any()
        assert not found.half_norms.get().any()
        return
    plain = store.features_of([cupy.asarray(layer) for layer in layers])
    for mine, theirs in zip(found, plain, strict=True):
        np.testing.assert_allclose(mine.get(), theirs.get(), atol=2.5e-4)


def test_distances_at_the_same_places(cupy, order):
    store, shape = made_store(cupy, patches=50, tiles=(1, 2))
    rng = np.random.default_rng(2)
    nothing, nowhere = np.zeros(50, bool), np.zeros(4, bool)
    for slot in range(4):
        features = store.features_of([cupy.asarray(layer) for layer in tokens_of(rng, shape)])
        _, _, sides = store.matched(features, nothing, nothing, nowhere)
        store.put(slot, features, sides, nothing)
    wanted = place_distances(
        [part.astype(np.float32) for part in features], [store.features_in(n) for n in (3, 1, 0)]
    )
    found = store.place_distances(features, [3, 1, 0])
    assert found[0] == 0
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


@pytest.mark.parametrize("interval", [(0.0, 0.3), (0.3, 0.5), (0.0, 0.01), (0.0, 1.0)])
@pytest.mark.parametrize("slots", [3, 40, 401])
def test_scores_are_those_of_the_array_form(cupy, slots, interval, monkeypatch):
    """Least values by selection, not by a sort; 401 slots of 32 patches are too much to share."""
    rng = np.random.default_rng(3)
    few = {"channels": (8,), "degrees": (1, 3), "patches": 36 if slots < 400 else 4}
    store, shape = made_store(cupy, slots=slots, interval=interval, **few)
    half_squared = rng.random((2, slots, shape.patches)).astype(np.float32)
    half_squared[0, rng.random((slots, shape.patches)) < 0.3] = np.inf
    half_squared[:, :, 1] = np.inf  # no match at all
    half_squared[:, :, 2] = 0.25  # all the same
    half_squared[0, :, 3] = 0
    jobs = [(), (0,), (slots - 1, 0)]
    for number, order in enumerate(ORDERS[slots % 2 :: 2]):
        monkeypatch.setattr(cupy, "order", order, raising=False)
        without = jobs[number % 3 :] + jobs[: number % 3]
        found = store.averages(
            cupy.asarray(half_squared), [0] * 3, without, apart=half_squared[0].size
        ).get()
        for row, left_out in zip(found, without, strict=True):
            kept = half_squared.copy()
            kept[:, list(left_out)] = np.inf
            wanted = average_on_device(kept, low=interval[0], high=interval[1])
            np.testing.assert_allclose(row, wanted, rtol=2e-6)
            assert np.isnan(row[1])


def test_scores_of_held_frames_begin_where_their_rows_do(cupy):
    rng = np.random.default_rng(4)
    store, _ = made_store(cupy, channels=(8,), degrees=(1,), patches=9)
    half_squared = rng.random((1, 4, 4, 9)).astype(np.float32)
    size = 4 * 9
    found = store.averages(
        cupy.asarray(half_squared), [3 * size, size], [(), (2,)], apart=4 * size
    ).get()
    for row, slot, left_out in zip(found, (3, 1), ([], [2]), strict=True):
        kept = half_squared[:, slot].copy()
        kept[:, left_out] = np.inf
        np.testing.assert_allclose(row, average_on_device(kept, low=0.0, high=0.3), rtol=2e-6)


@pytest.mark.parametrize("form", ["fp16-fused", "float32-plain"])
def test_tiles_a_region_and_absent_patches_on_the_device(cupy, form):
    """As on the host: scores, copies, the count of slots that match, patches ignored later."""
    rng = np.random.default_rng(5)
    roi = rng.random(36) < 0.8
    roi[9:18] = False  # no patch of the second tile counts
    sizes = (4, 36, (40, 24), (1, 3))
    named = {"counted": int(roi.sum()), "tiles": (2, 2), "roi": roi}
    frames = [[rng.standard_normal((36, c)).astype(np.float32) for c in (40, 24)] for _ in range(7)]
    frames[5] = frames[4]
    found = []
    for name, xp in ((form, cupy), ("float32", np)):
        draws = np.random.default_rng(6)
        with WorkerPool(1) as pool:
            window = kept_window((*sizes, name), pool, xp=xp, **named)
            told = []
            for number, frame in enumerate(frames):
                away = (draws.random(36) < 0.2) & (number % 3 == 1)
                reachable = window.filled & (np.arange(4) != (number - 2) % 4)
                matches = Window.match(
                    window,
                    window.features_of([xp.asarray(layer) for layer in frame]),
                    reachable=reachable, ignore=draws.random(36) < 0.2, absent=away,
                )  # fmt: skip
                recent = np.flatnonzero(window.filled).tolist()
                if recent:
                    window.look_ahead(matches, recent=recent, place=number % 4)
                    told.append(window.place_distances(matches, recent))
                    told.append(window.score(matches, without=[number % 4]))
                    told.append(window.score(matches))
                told.append(matches.matched)
                window.admit(number % 4, matches)
            window.ignore_patches(2, draws.random(36) < 0.5, reachable=window.filled)
            held = [window.patch_scores(slot) for slot in range(4)]
            window.look_ahead_held([3, 1])
            told += [*held, window.patch_scores(3), window.patch_scores(1)]
            told.append(window.patch_scores(1, without=[0]))
            found.append(told)
    assert sum(one is not None for one in found[1]) > 20
    for mine, theirs in zip(*found, strict=True):
        assert (mine is None) == (theirs is None)
        if theirs is not None:
            np.testing.assert_allclose(mine, theirs, rtol=2e-3, atol=2e-4)


def test_scores_asked_beforehand_end_with_the_window_they_were_of(cupy):
    rng = np.random.default_rng(7)
    with WorkerPool(1) as pool:
        window = kept_window((4, 9, (8,), (1,), "fp16-fused"), pool, xp=cupy)
        for number in range(6):
            features = window.features_of(
                [cupy.asarray(rng.standard_normal((9, 8)).astype(np.float32))]
            )
            window.admit(number % 4, window.match(features))
            before = window.patch_scores(2)
            window.look_ahead_held([2])
            if before is not None:
                np.testing.assert_allclose(window.patch_scores(2), before, rtol=1e-5)
        window.evict(0)
        after = window.patch_scores(2)
        assert after is not None
        assert before is not None
        assert abs(after - before).max() > 1e-3


def test_tokens_are_checked_with_one_wait(cupy):
    rng = np.random.default_rng(8)
    layers = tuple(rng.standard_normal((5, 9, c)).astype(np.float32) for c in (6, 4))
    class_tokens = rng.standard_normal((5, 3)).astype(np.float32)
    layers[0][1, 2, 3], layers[1][2, 0, 0], class_tokens[4, 1] = np.nan, -np.inf, np.inf
    layers[0][3, 0, :2] = 3e38
    finite, tokens = Tokens(tuple(map(cupy.asarray, layers)), cupy.asarray(class_tokens)).checked()
    if hasattr(cupy, "counts"):
        cupy.counts.clear()
        Tokens(tuple(map(cupy.asarray, layers)), cupy.asarray(class_tokens)).checked()
        assert cupy.counts["waits"] == 1
    assert finite.tolist() == [True, False, False, True, False]
    assert finite.tolist() == Tokens(layers, class_tokens).checked()[0].tolist()
    np.testing.assert_array_equal(tokens.class_tokens, class_tokens)
    assert type(tokens.class_tokens) is np.ndarray


def test_tokens_of_held_frames_go_home_without_a_wait(cupy):
    """They lay on the device in float32, for a reference set alone: 2.2 GB of ViT-L's."""
    rng = np.random.default_rng(9)
    layers = tuple(rng.standard_normal((1, 9, c)).astype(np.float32) for c in (6, 4))
    layers[0][0, 0, 0], layers[1][0, 0, 0] = 1e6, -1e6
    tokens = Tokens(tuple(map(cupy.asarray, layers)), rng.standard_normal((1, 3)), (1, 1))
    if hasattr(cupy, "counts"):
        cupy.counts.clear()
    home = tokens.sent_home()
    if hasattr(cupy, "counts"):
        assert cupy.counts["waits"] == 0
        assert cupy.counts["to host"] == 2
        assert np.isnan(home.layers[0]).all()  # on their way
    cupy.cuda.runtime.deviceSynchronize()
    for mine, layer in zip(home.layers, layers, strict=True):
        assert mine.dtype == np.float16
        assert type(mine) is np.ndarray
        np.testing.assert_array_equal(mine, layer.clip(-65504, 65504).astype(np.float16))
    assert home.sent_home() is home


def test_a_search_in_degree_one_takes_tokens_that_are_at_home(cupy):
    rng = np.random.default_rng(10)
    layers = [[rng.standard_normal((1, 9, 8)).astype(np.float16) for _ in range(4)]]
    roi, ignored = np.arange(9) != 4, np.zeros((4, 8), bool)
    found = degree_one(layers, form="fp16-fused", roi=roi, ignored=ignored, xp=cupy)
    wanted = degree_one(layers, form="float32", roi=roi, ignored=ignored)
    np.testing.assert_allclose(found, wanted, rtol=2e-3)


@pytest.mark.parametrize("tiles", [(1, 1), (2, 1)])
def test_launches_of_a_frame(cupy, tiles, monkeypatch):
    """4 layers, 3 degrees: 1,533 launches and 14 waits once, 2,133 with two tiles."""
    if not hasattr(cupy, "counts"):
        pytest.skip("counted by the stand-in")
    with WorkerPool(1) as pool:
        counts = counted_frame(cupy, "fp16-fused", pool, monkeypatch, tiles=tiles)
    assert sum(stage["launches"] for stage in counts.values()) <= 40
    assert sum(stage["waits"] for stage in counts.values()) <= 3
    assert sum(stage["to host"] for stage in counts.values()) <= 7  # 4 are tokens going home
    assert counts["match"]["waits"] == 0
