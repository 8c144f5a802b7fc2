"""A line that looks at its frames in tiles: small defects, known ones, copies, reference sets."""

import numpy as np
import pytest

from support.small_network import CHANNELS, CLASS_CHANNELS, PATCHES
from zeroline.runtime import (
    ReferenceFileError,
    RollingInspector,
    ScoringError,
    Tokens,
    Verdict,
    load_bundle,
    score_tokens,
)
from zeroline.runtime.framing.framer import Framer
from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.grid import widened
from zeroline.runtime.line.verdicts import ng_regions
from zeroline.runtime.results import FrameScores
from zeroline.runtime.tokens import joined

TILES = (2, 2)
SIZE = (200, 240)
TILED = Framing(size=SIZE, tiles=TILES)


@pytest.fixture(scope="module")
def bundle(bundle_folder):
    with load_bundle(bundle_folder, device="cpu", threads=1) as opened:
        yield opened


def picture(seed, *, spot=None, size=SIZE):
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    grey = 110 + 25 * np.sin(x / 9) + 12 * np.cos(y / 13) + rng.normal(0, 6, size)
    if spot is not None:
        x, y = spot
        grey[y - 8 : y + 8, x - 8 : x + 8] = 20
    return np.repeat(grey.clip(1, 255).astype(np.uint8)[..., None], 3, axis=2)


def options(**more):
    usual = {"window": 16, "min_window": 8, "threads": 1, "matching": "exact", "framing": TILED}
    return usual | more


@pytest.mark.parametrize("spot", [(60, 50), (180, 40), (60, 150), (180, 150), (118, 96)])
def test_a_defect_is_found_in_any_tile_and_boxed_in_the_picture(bundle, spot):
    with RollingInspector(bundle, **options()) as inspector:
        assert inspector.shape.degrees == "fused"
        for seed in range(20):
            inspector.push(picture(seed))
        inspection = inspector.push(picture(99, spot=spot))
        frames, scores = inspector.scores()
    assert inspection.verdict is Verdict.NG
    assert inspection.view is not None
    assert inspection.view.tiles == TILES
    x, y, width, height = (getattr(inspection.regions[0], n) for n in ("x", "y", "width", "height"))
    np.testing.assert_allclose((x + width / 2, y + height / 2), spot, atol=16)
    assert max(width, height) < 80
    framer = Framer(TILED, bundle.manifest.input, patches=bundle.patches)
    tokens = joined(
        [
            framer.joined(
                bundle.embed(
                    np.stack([bundle.prepare(image) for image in framer.look(frame).images])
                )
            )
            for frame in [*(picture(n) for n in frames[:-1]), picture(99, spot=spot)]
        ]
    )
    wanted = score_tokens(
        tokens, size=bundle.size, degrees="fused", rscin=(), interval=(0, 0.3), threads=1
    )
    np.testing.assert_allclose(scores.patch_scores, wanted.patch_scores, atol=1e-5)
    np.testing.assert_allclose(scores.raw_scores, wanted.raw_scores, atol=1e-5)


def test_a_copy_is_not_admitted_and_a_frame_is_settled(bundle):
    with RollingInspector(bundle, **options(settle=4)) as inspector:
        said = [inspector.push(picture(seed)) for seed in [*range(12), 11, 12]]
    assert [i.frame_id for i in said if i.near_duplicate] == [12]
    settled = [r.frame_id for i in said for r in i.revisions]
    assert settled == list(range(len(settled)))
    assert len(settled) == 10
    assert {r.verdict for i in said for r in i.revisions} == {Verdict.OK}


def test_a_tile_in_which_nothing_counts_costs_nothing(bundle):
    framing = Framing(
        size=SIZE, tiles=TILES, ignored=(((112, 0), (240, 0), (240, 107), (112, 107)),)
    )
    framer = Framer(framing, bundle.manifest.input, patches=bundle.patches)
    assert framer.seen == (0, 2, 3)
    assert framer.roi is not None
    assert len(framer.look(picture(0)).images) == 3
    assert not framer.roi[PATCHES : 2 * PATCHES].any()
    with RollingInspector(bundle, **options(framing=framing)) as inspector:
        assert len(inspector.window.tiles) == 3
        assert inspector.shape.compared == framer.roi.sum()
        for seed in range(16):
            inspector.push(picture(seed))
        unseen = inspector.push(picture(20, spot=(190, 40)))
        seen = inspector.push(picture(21, spot=(190, 150)))
    assert (unseen.verdict, seen.verdict) == (Verdict.OK, Verdict.NG)
    assert unseen.scores is not None
    assert not unseen.scores.patch_scores[~framer.roi].any()


SIDE = int(PATCHES**0.5)


def frame_tokens(number, *, look=None, patches=()):
    """Tokens of a frame in tiles; with a look, the same defect as all with this look."""
    rng = np.random.default_rng((1, number))
    layers = []
    for layer, channels in enumerate(CHANNELS):
        places = np.random.default_rng((2, layer)).standard_normal((4 * PATCHES, channels))
        rows = places + 0.35 * rng.standard_normal((4 * PATCHES, channels))
        if look is not None:
            defect = 1.5 * np.random.default_rng((3, layer, look)).standard_normal(channels)
            rows[list(patches)] = defect + 0.15 * rng.standard_normal((len(patches), channels))
        layers.append(rows[None].astype(np.float32))
    token = rng.standard_normal((1, CLASS_CHANNELS)).astype(np.float32)
    return Tokens(tuple(layers), token / np.linalg.norm(token), TILES)


@pytest.mark.parametrize("degrees", [(1, 3), "fused"])
@pytest.mark.parametrize("tile", [0, 3])
def test_a_known_defect_is_recognised_in_its_own_tile(bundle, degrees, tile):
    patches = [tile * PATCHES + place for place in (27, 28, 35)]
    elsewhere = [(3 - tile) * PATCHES + place for place in (27, 28, 35)]

    def marked(n):
        return n >= 40 and n % 4 == 1

    with RollingInspector(
        bundle, **options(window=40, min_window=12, degrees=degrees, rscin=())
    ) as inspector:
        said = [
            inspector.push_tokens(frame_tokens(n, look=0 if marked(n) else None, patches=patches))
            for n in range(110)
        ]
        (known,) = inspector.recurring
        ignored = inspector.window.ignored[inspector.window.ignored.any(axis=1)]
        other = inspector.push_tokens(frame_tokens(110, look=0, patches=elsewhere))
    (alarm,) = [alarm for i in said for alarm in i.alarms]
    raised = next(i.frame_id for i in said if i.alarms)
    assert alarm.one_place
    assert known.marks[:, patches].any(axis=1).all()
    wide = widened(known.marks, by=1 if degrees == (1, 3) else 2, tiles=TILES)
    assert set(map(tuple, ignored.tolist())) <= set(map(tuple, wide.tolist()))
    recognised = [i.frame_id for i in said[raised + 1 :] if i.recurring]
    assert recognised == [n for n in range(raised + 1, 110) if marked(n)]
    assert other.verdict is Verdict.NG  # it is unusual there, and another defect
    assert not other.recurring


def test_tokens_of_other_tiles_are_refused(bundle):
    tokens = frame_tokens(0)
    square = Tokens(tokens.layers, tokens.class_tokens)  # as many patches, in one square
    with (
        RollingInspector(bundle, **options()) as inspector,
        pytest.raises(ScoringError, match="tokens of 1×1 tiles, 2×2 are expected"),
    ):
        inspector.push_tokens(square)


def test_a_tile_that_nobody_may_match_is_no_trouble_for_the_search(bundle):
    """A part may leave one tile of the picture, and another tile of the next frame."""
    ignore = np.zeros(4 * PATCHES, bool)
    ignore[:PATCHES] = True
    patches = [PATCHES + place for place in (27, 28, 35)]

    def marked(n):
        return n % 4 == 1

    with RollingInspector(bundle, **options(window=32, rscin=())) as inspector:
        said = [
            inspector.push_tokens(
                frame_tokens(n, look=0 if marked(n) else None, patches=patches),
                ignore=ignore if n % 5 == 0 else None,
            )
            for n in range(60)
        ]
        (known,) = inspector.recurring
    assert not any(i.search_failed for i in said)
    assert all(marked(n) for n in known.frames)
    assert known.marks[:, patches].any(axis=1).all()


def test_a_reference_set_keeps_its_tiles_and_another_line_refuses_it(bundle, tmp_path):
    path = tmp_path / "good.npz"
    with RollingInspector(bundle, **options()) as inspector:
        for seed in range(14):
            inspector.push(picture(seed))
        assert inspector.save_reference(path).frames == 14
    with RollingInspector(bundle, **options()) as inspector:
        assert inspector.load_reference(path).frames == 12
        assert inspector.push(picture(50)).verdict is Verdict.OK
        assert inspector.push(picture(51, spot=(180, 40))).verdict is Verdict.NG
    for framing in (Framing(), Framing(size=SIZE, tiles=(4, 1)), Framing(size=SIZE, aspect="fit")):
        with (
            RollingInspector(bundle, **options(framing=framing)) as inspector,
            pytest.raises(ReferenceFileError, match=r"another framing \(2×2 tiles\)"),
        ):
            inspector.load_reference(path)


def test_what_only_the_edge_of_a_tile_shows_has_a_box(bundle):
    """Joined with the next tile, which sees the same place, it would lie under the threshold."""
    patch_scores = np.full(4 * PATCHES, 0.3, np.float32)
    patch_scores[3 * SIDE + SIDE - 1] = 0.9  # last column of the first tile
    view = Framer(TILED, bundle.manifest.input, patches=bundle.patches).look(picture(0)).view
    assert view.map(patch_scores, side=256).max() < 0.8
    scores = FrameScores(0.9, 0.9, 0.8, 0.8, patch_scores)
    (box,) = ng_regions(Verdict.NG, scores, view)
    assert box.score == pytest.approx(0.9)
    assert box.x == round(240 / 1.9 * 7 / 8)
    assert box.x + box.width == round(240 / 1.9)
    assert box.y == round(200 / 1.9 * 3 / 8)
    assert box.y + box.height == round(200 / 1.9 * 4 / 8)
    assert ng_regions(Verdict.OK, scores, view) == ()
