"""Tiles: each is matched with the same tile of other images, and all of them are one image."""

import tracemalloc
from typing import Any

import numpy as np
import pytest

from support.windows import kept_window
from zeroline.runtime import ScoringError, Tokens, lnamd, rscin, score_tokens
from zeroline.runtime.batch import scoring_memory
from zeroline.runtime.copies import originals
from zeroline.runtime.grid import Grid, widened
from zeroline.runtime.line.finest import SearchTable
from zeroline.runtime.line.searched import degree_one
from zeroline.runtime.matching.forms import FORMS
from zeroline.runtime.recurring.places import worst_places
from zeroline.runtime.recurring.statistics import without_gaps
from zeroline.runtime.workers import WorkerPool

TILES, SIDE, CHANNELS = (2, 3), 5, (6, 9)
OWN, COUNT = SIDE * SIDE, TILES[0] * TILES[1]
PARTS = Grid(SIDE, TILES).parts()


def tiled_tokens(images=7, *, seed=0, spread=0.5, tiles=TILES, channels=CHANNELS):
    """Images of one product: each place has a look of its own."""
    rng = np.random.default_rng(seed)
    patches = OWN * tiles[0] * tiles[1]
    layers = []
    for c in channels:
        rows = rng.standard_normal((patches, c)) + spread * rng.standard_normal(
            (images, patches, c)
        )
        layers.append(rows.astype(np.float32))
    classes = rng.normal(size=(images, 8)) + 1
    classes /= np.linalg.norm(classes, axis=1, keepdims=True)
    return Tokens(tuple(layers), classes.astype(np.float32), tiles)


def in_tile(tokens, part):
    return Tokens(tuple(layer[:, part] for layer in tokens.layers), tokens.class_tokens)


def some_patches():
    """Other patches in each tile, and none in the third."""
    roi = np.random.default_rng(1).random(COUNT * OWN) < 0.6
    roi[PARTS[2]] = False
    roi[PARTS[3]] = True
    return roi


@pytest.mark.parametrize("degrees", [(1, 3), "fused"])
@pytest.mark.parametrize("kind", ["plain", "roi", "absent", "groups"])
def test_scores_are_those_of_each_tile_as_a_set(xp, degrees, kind):
    tokens = tiled_tokens()
    roi = some_patches() if kind in ("roi", "absent") else None
    absent = np.random.default_rng(2).random((7, COUNT * OWN)) < 0.2 if kind == "absent" else None
    options: dict[str, Any] = {"size": 23, "degrees": degrees, "threads": 1}
    if kind == "groups":
        options["groups"] = [0, 1, 1, 2, 3, 4, 5]
    given = Tokens(tuple(map(xp.array, tokens.layers)), xp.array(tokens.class_tokens), TILES)
    steps: list[int] = []
    found = score_tokens(given, roi=roi, absent=absent, progress=steps.append, **options)
    wanted, raw, seen = np.zeros((7, COUNT * OWN), np.float32), [], 0
    for part in PARTS:
        if roi is not None and not roi[part].any():
            continue
        seen += 1
        alone = score_tokens(
            in_tile(tokens, part),
            roi=None if roi is None else roi[part],
            absent=None if absent is None else absent[:, part],
            **options,
        )
        wanted[:, part] = alone.patch_scores
        raw.append(alone.raw_scores)
    highest = np.max(raw, axis=0)
    np.testing.assert_array_equal(xp.host(found.patch_scores), wanted)
    np.testing.assert_array_equal(xp.host(found.raw_scores), highest)
    rescored = rscin(highest, tokens.class_tokens, neighbours=(1, 2, 3), normalise=False)
    np.testing.assert_array_equal(xp.host(found.scores), rescored)
    matches = len(CHANNELS) * (1 if degrees == "fused" else 2)
    assert sum(steps) == 7 * matches * seen


def test_patches_of_tiles_are_never_one_square():
    tiled = tiled_tokens(tiles=(2, 2))
    square = Tokens(tiled.layers, tiled.class_tokens)
    assert (tiled.grid.side, square.grid.side) == (SIDE, 2 * SIDE)
    one, other = (score_tokens(t, size=16, threads=1).patch_scores for t in (tiled, square))
    assert not np.allclose(one, other)
    marks = np.zeros((1, 4 * OWN), bool)
    marks[0, OWN - 1] = True  # the last patch of the first tile
    assert widened(marks, by=1, tiles=(2, 2)).sum() == 4
    assert not widened(marks, by=1, tiles=(2, 2))[0, OWN:].any()
    with pytest.raises(ScoringError, match="do not form 2×3 tiles"):
        Grid.of(100, (2, 3))
    with pytest.raises(ScoringError, match="do not form a square grid"):
        Grid.of(30, (2, 3))


def test_what_is_done_with_tokens_keeps_their_tiles():
    tokens = tiled_tokens()
    assert tokens.select(slice(0, 3)).tiles == tokens.on_host().tiles == TILES


def with_mark(tokens, members, patches, *, seed=5):
    """Give some images the same look at some patches."""
    rng = np.random.default_rng(seed)
    for layer in tokens.layers:
        look = 3 * rng.standard_normal(layer.shape[2])
        for member in members:
            noise = 0.15 * rng.standard_normal((len(patches), layer.shape[2]))
            layer[member, patches] = look + noise
    return tokens


@pytest.mark.parametrize("tile", range(COUNT))
def test_a_recurring_defect_may_lie_in_any_tile(tile):
    degrees = "fused" if tile % 2 else (1, 3)
    members = list(range(3, 48, 5))
    patches = [tile * OWN + place for place in (11, 12, 16)]
    tokens = with_mark(tiled_tokens(48, channels=(16, 24)), members, patches)
    options: dict[str, Any] = {"size": 16, "degrees": degrees, "rscin": (), "threads": 1}
    hidden = score_tokens(tokens, **options).raw_scores
    for roi in (None, ~np.isin(np.arange(COUNT * OWN), np.arange(0, COUNT * OWN, OWN))):
        found = score_tokens(tokens, codegraph=True, roi=roi, **options)
        (community,) = found.communities
        assert community.members.tolist() == members
        assert np.flatnonzero(found.recurring).tolist() == members
        assert community.marks[:, patches[0]].all()
        by_tile = [int(community.marks[:, part].sum()) for part in PARTS]
        assert by_tile[tile] > 3 * (sum(by_tile) - by_tile[tile])  # a few normal ones by chance
        assert community.evidence.one_place
        assert found.raw_scores[members].min() > hidden[members].max()


def test_places_are_those_in_the_picture():
    """What two tiles see in their overlap is one place; an edge that the next tile sees is none."""
    side, tiles = 20, (1, 2)
    relevant = np.ones((4, 2 * side * side), bool)

    def patch(tile, row, column):
        return tile * side * side + row * side + column

    gap = np.zeros((4, 2 * side * side), np.float32)
    gap[[0, 1], patch(0, 9, 19)] = 1.0  # 18 patches on is the first column of the next tile
    gap[[2, 3], patch(1, 9, 1)] = 1.0
    found = worst_places(gap, relevant, roi=None, tiles=tiles)
    assert found.agreement == 1
    assert found.at_border == 0.5  # the first two images, since the next tile sees nothing there
    gap[[0, 1], patch(1, 9, 1)] = 0.8
    assert worst_places(gap, relevant, roi=None, tiles=tiles).at_border == 0
    gap[:] = 0
    gap[:2, patch(0, 9, 5)] = gap[2:, patch(1, 9, 5)] = 1.0
    assert worst_places(gap, relevant, roi=None, tiles=tiles).agreement == pytest.approx(1 / 3)
    gap[:] = 0
    gap[:, patch(1, 0, 1)] = 1.0  # of the picture itself
    assert worst_places(gap, relevant, roi=None, tiles=tiles).at_border == 1


def test_images_may_match_in_one_tile_and_not_in_another():
    rng = np.random.default_rng(0)
    table = (rng.random((5, 8, 5)) + 0.5).astype(np.float32)
    for image in range(5):
        table[image, :, image] = np.inf
    table[1:, 4:, 0] = np.inf  # nobody can match the second tile of the first image
    filled = without_gaps(table, [slice(0, 4), slice(4, 8)])
    np.testing.assert_array_equal(filled[:, :4], table[:, :4])
    apart = ~np.isfinite(filled)
    assert apart.sum() == 5 * 8
    np.testing.assert_allclose(filled[2, 5, 0], np.median(table[2, 5, [1, 3, 4]]))


def test_copies_are_told_in_tiles():
    tokens = tiled_tokens(9)
    seen = [PARTS[tile] for tile in (0, 1, 3, 4)]
    roi = np.zeros(COUNT * OWN, bool)
    for part in seen:
        roi[part] = True
    for layer in tokens.layers:
        layer[:, ~roi] = 0  # nothing is looked at there
        noise = 0.02 * np.random.default_rng(3).standard_normal(layer[2].shape)
        for part in seen[:2]:  # half of the tiles that are seen
            layer[6, part] = layer[2, part] + noise[part]
        layer[7, seen[3]] = layer[4, seen[3]]  # the same in one tile: no copy
    assert originals(tokens, roi=roi, threads=1).tolist() == [0, 1, 2, 3, 4, 5, 2, 7, 8]


@pytest.fixture
def pool():
    with WorkerPool(2) as opened:
        yield opened


@pytest.mark.parametrize("form", ["float32", "float32-plain", "pca", "int8"])
@pytest.mark.parametrize("part", ["all", "some"])
def test_a_window_scores_its_frames_as_a_set(pool, form, part):
    if not FORMS[form].available():
        pytest.skip(f"{form} cannot be used here")
    roi = None if part == "all" else some_patches()
    counted = None if roi is None else int(roi.sum())
    degrees = (1, 3)
    channels = (96, 20)
    sizes = (5, COUNT * OWN, channels, degrees, form)
    window = kept_window(sizes, pool, roi=roi, counted=counted, tiles=TILES)
    banks = window.store.nbytes
    if form == "float32":
        assert banks + window.half_squared.nbytes == window.shape.memory
    tokens = tiled_tokens(8, channels=channels)
    ignore = np.random.default_rng(4).random((8, COUNT * OWN)) < 0.2
    frames = [[layer[n] for layer in tokens.layers] for n in range(8)]
    slots = [0, 1, 2, 3, 4, 1, 3, 0]  # eight frames, some of which have left
    for number, slot in enumerate(slots):
        features = window.features_of(frames[number])
        window.admit(slot, window.match(features, ignore=ignore[number]))
        for mine, held in zip(features, window.features_in(slot), strict=True):
            np.testing.assert_array_equal(mine, held)
    held = [max(n for n, slot in enumerate(slots) if slot == place) for place in range(5)]
    mark = np.zeros(COUNT * OWN, bool)
    mark[PARTS[4].start : PARTS[4].start + 9] = True
    window.ignore_patches(2, mark, reachable=window.filled)
    ignored = ignore[held]
    ignored[2] |= mark
    wanted = score_tokens(
        tokens.select(held), size=16, degrees=degrees, rscin=(), ignore=ignored, roi=roi, threads=1
    ).patch_scores
    for place in range(5):
        found = window.patch_scores(place)
        if form.startswith("float32"):
            np.testing.assert_allclose(found, wanted[place], atol=1e-5)
        else:
            assert (found >= wanted[place] - 1e-6).all()
            assert (found - wanted[place]).mean() <= 0.01 * wanted[place].mean()


def test_a_search_sees_what_is_marked_in_its_own_tile(pool):
    """A patch of a tile never matches a marked patch of another tile."""
    roi = some_patches()
    counted = int(roi.sum())
    tokens = tiled_tokens(6)
    for layer in tokens.layers:  # what is marked in one tile would fit well in another
        layer[3, PARTS[0]] = layer[3, PARTS[4]]
    options: dict[str, Any] = {"roi": roi, "counted": counted, "tiles": TILES}
    windows = [
        kept_window((6, COUNT * OWN, CHANNELS, (1, 3), "float32"), pool, **options)
        for _ in range(2)
    ]
    for number in range(6):
        frame = [layer[number] for layer in tokens.layers]
        for window in windows:
            window.admit(number, window.match(window.features_of(frame)))
    mark = np.zeros(COUNT * OWN, bool)
    mark[PARTS[4]] = mark[PARTS[1]] = True
    windows[0].ignore_patches(3, mark, reachable=windows[0].filled)
    without, whole = (SearchTable.of(window, range(6)) for window in windows)
    assert not np.allclose(without.table, whole.table, equal_nan=True)
    np.testing.assert_allclose(without.whole(), whole.whole(), atol=1e-5)


def test_degree_one_is_matched_tile_by_tile():
    roi, tokens = some_patches(), tiled_tokens(5)
    ignored = np.random.default_rng(6).random((5, int(roi.sum()))) < 0.1
    layers = [[layer[n : n + 1] for n in range(5)] for layer in tokens.layers]
    found = degree_one(layers, form="float32", roi=roi, ignored=ignored, tiles=TILES)
    for part, counted in zip(PARTS, Grid(SIDE, TILES).parts(roi), strict=True):
        if counted.stop == counted.start:
            continue
        alone = [[frame[:, part] for frame in layer] for layer in layers]
        wanted = degree_one(alone, form="float32", roi=roi[part], ignored=ignored[:, counted])
        np.testing.assert_array_equal(found[:, counted], wanted)
        assert lnamd(alone[0][0], degree=1).shape == (1, OWN, CHANNELS[0])


@pytest.mark.parametrize("codegraph", [False, True])
def test_the_memory_that_is_told_is_the_memory_that_is_taken(codegraph):
    rng, tiles, side, images = np.random.default_rng(0), (2, 2), 12, 40
    layers = tuple(
        rng.standard_normal((images, 4 * side * side, c), dtype=np.float32) for c in (64, 96)
    )
    tokens = Tokens(layers, np.eye(images, dtype=np.float32), tiles)
    score_tokens(tokens.select(slice(0, 13)), size=16, threads=1, codegraph=True)  # imports
    tracemalloc.start()
    score_tokens(tokens, size=16, degrees="fused", rscin=(), threads=1, codegraph=codegraph)
    taken = tracemalloc.get_traced_memory()[1] + sum(layer.nbytes for layer in layers)
    tracemalloc.stop()
    told = scoring_memory(
        images,
        patches=side * side,
        channels=(64, 96),
        class_channels=images,
        codegraph=codegraph,
        tiles=4,
    )
    assert 0.9 * told < taken < 1.05 * told


def test_memory_grows_in_a_line_with_the_tiles():
    sizes: dict[str, Any] = {
        "patches": 400,
        "channels": (64, 96),
        "class_channels": 256,
        "codegraph": True,
    }
    taken = [scoring_memory(64, tiles=tiles, **sizes) for tiles in (4, 8, 12)]
    assert taken[2] - taken[1] == taken[1] - taken[0]
    assert scoring_memory(64, **sizes) == scoring_memory(64, tiles=1, **sizes)
