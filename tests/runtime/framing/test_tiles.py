"""Boxes of tiles, what the network sees of them, and maps that are joined again."""

from typing import Any

import numpy as np
import pytest

from zeroline.runtime import FramingError, Tokens
from zeroline.runtime.framing.framer import Framer
from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.framing.geometry import rectangle
from zeroline.runtime.framing.kept import framing_header, kept_framing
from zeroline.runtime.framing.tiles import (
    boxes,
    canvas,
    cut,
    joined_map,
    joined_tokens,
    span,
    tiles_for,
)
from zeroline.runtime.framing.view import View
from zeroline.runtime.network.manifest import InputSpec
from zeroline.runtime.stages.maps import anomaly_map

SPEC = InputSpec(
    name="images",
    size=64,
    colour="RGB",
    value_range="0..1",
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    resize="stretch",
    interpolation="bicubic",
)
NO_ARRAYS: dict[str, Any] = {}


@pytest.mark.parametrize("tiles", [(1, 1), (1, 4), (2, 3), (4, 4)])
def test_tiles_cover_the_square_and_share_a_tenth(tiles):
    rows, columns = tiles
    found = np.array(boxes(tiles)).reshape(rows, columns, 4)
    np.testing.assert_allclose(found[0, 0, :2], 0)
    np.testing.assert_allclose(found[-1, -1, :2] + found[-1, -1, 2:], 1)
    np.testing.assert_allclose(np.diff(found[..., 0], axis=1), 0.9 * found[0, 0, 2])
    np.testing.assert_allclose(np.diff(found[..., 1], axis=0), 0.9 * found[0, 0, 3])
    assert canvas(320, tiles) == (round(320 * span(rows)), round(320 * span(columns)))


def literal_map(patch_scores, tiles, side):
    """Pixel by pixel: what each tile says there, by how far the pixel is from its edge."""
    rows, columns = tiles
    own = int((len(patch_scores) / rows / columns) ** 0.5)
    squares = patch_scores.reshape(-1, own, own)
    drawn = np.zeros((side, side))
    for y in range(side):
        for x in range(side):
            total = weights = 0.0
            for tile, (left, top, width, height) in enumerate(boxes(tiles)):
                u = ((x + 0.5) / side - left) / width
                v = ((y + 0.5) / side - top) / height
                if not (0 <= u <= 1 and 0 <= v <= 1):
                    continue
                row, column = divmod(tile, columns)
                weight = 1.0
                for place, first, last in (
                    (u, column == 0, column == columns - 1),
                    (v, row == 0, row == rows - 1),
                ):
                    weight *= 1 if first else min(1, place / 0.1)
                    weight *= 1 if last else min(1, (1 - place) / 0.1)
                grid_x = np.clip(u * own - 0.5, 0, own - 1)
                grid_y = np.clip(v * own - 0.5, 0, own - 1)
                j, i = min(int(grid_x), own - 2), min(int(grid_y), own - 2)
                a, b = grid_x - j, grid_y - i
                square = squares[tile]
                value = (1 - b) * ((1 - a) * square[i, j] + a * square[i, j + 1]) + b * (
                    (1 - a) * square[i + 1, j] + a * square[i + 1, j + 1]
                )
                total, weights = total + weight * value, weights + weight
            drawn[y, x] = total / weights
    return drawn


@pytest.mark.parametrize("tiles", [(1, 2), (2, 3), (3, 1)])
def test_the_joined_map_equals_the_literal_one(xp, tiles):
    scores = np.random.default_rng(0).random(tiles[0] * tiles[1] * 25).astype(np.float32)
    found = xp.host(joined_map(xp.array(scores), tiles=tiles, side=41))
    np.testing.assert_allclose(found, literal_map(scores, tiles, 41), atol=1e-6)


def test_no_seam_shows():
    constant = joined_map(np.full(9 * 400, 0.4, np.float32), tiles=(3, 3), side=300)
    np.testing.assert_allclose(constant, 0.4, rtol=1e-6)
    ramp = []  # a score that rises evenly over the picture, seen patch by patch
    for left, top, width, height in boxes((3, 3)):
        x = left + (np.arange(20) + 0.5) / 20 * width
        y = top + (np.arange(20) + 0.5) / 20 * height
        ramp.append((x[None] + 2 * y[:, None]).ravel())
    drawn = joined_map(np.concatenate(ramp).astype(np.float32), tiles=(3, 3), side=300)
    middles = (np.arange(300) + 0.5) / 300
    inner = slice(6, -6)  # outside the middles of the outermost patches it stays even
    np.testing.assert_allclose(
        drawn[inner, inner], (middles[None] + 2 * middles[:, None])[inner, inner], atol=2e-3
    )
    apart = np.repeat([0.0, 1.0, 1.0, 0.0], 400).astype(np.float32)
    drawn = joined_map(apart, tiles=(2, 2), side=400)
    overlap = 0.1 / 1.9 * 400  # in pixels: no jump, though tiles differ as much as they can
    assert max(np.abs(np.diff(drawn, axis=axis)).max() for axis in (0, 1)) < 1.2 / overlap


def test_one_tile_is_the_map_as_ever():
    scores = np.random.default_rng(0).random(64).astype(np.float32)
    np.testing.assert_array_equal(
        joined_map(scores, tiles=(1, 1), side=50), anomaly_map(scores, size=50)
    )


def test_a_tile_shows_its_part_of_the_picture():
    y, x = np.mgrid[:400, :600]
    picture = np.stack([x / 600 * 255, y / 400 * 255, 0 * x], axis=2).astype(np.uint8)
    pieces = cut(picture, boxes((2, 3)), side=50, interpolation="bilinear")
    for piece, (left, top, width, height) in zip(pieces, boxes((2, 3)), strict=True):
        assert piece.shape == (50, 50, 3)
        middle = piece[24:26, 24:26].mean(axis=(0, 1)) / 255
        np.testing.assert_allclose(middle[:2], (left + width / 2, top + height / 2), atol=0.01)


@pytest.mark.parametrize("aspect", ["stretch", "fit"])
def test_a_patch_of_a_tile_is_laid_where_it_was_cut(aspect):
    """Through the picture and back, with a crop, at any aspect."""
    frame = np.zeros((300, 500, 3), np.uint8)
    frame[180:200, 330:350] = 255
    framing = Framing(
        size=(300, 500), crop=rectangle(40, 20, 420, 260), aspect=aspect, tiles=(2, 3)
    )
    framer = Framer(framing, SPEC, patches=256)
    look = framer.look(frame)
    assert [image.shape for image in look.images] == [(64, 64, 3)] * len(framer.seen)
    light = np.zeros(6 * 256, np.float32)
    for tile, image in zip(framer.seen, look.images, strict=True):
        grey = image.mean(axis=2).reshape(16, 4, 16, 4).mean(axis=(1, 3))
        if aspect == "fit":  # what lies beside the picture is grey
            grey = np.where(grey > 150, grey, 0)
        light[tile * 256 : (tile + 1) * 256] = grey.ravel() / 255
    laid = look.view.laid(light)
    marked = look.view.marked(light > 0.6)
    for found in (laid > 0.4, marked):
        y, x = np.nonzero(found)
        np.testing.assert_allclose((x.mean(), y.mean()), (340, 190), atol=6)
        assert np.ptp(x) < 50
        assert np.ptp(y) < 50


def test_fit_keeps_the_aspect_of_what_a_tile_shows():
    frame = np.full((300, 500, 3), 255, np.uint8)
    framing = Framing(size=(300, 500), aspect="fit", tiles=(2, 3))
    framer = Framer(framing, SPEC, patches=64)
    width, height = framer.tile_size
    assert width == pytest.approx(height, rel=0.01)
    whole = sum((image > 200).mean() for image in framer.look(frame).images) / 6
    assert 0.8 < whole <= 1
    assert framer.roi is not None


def test_class_tokens_are_a_unit_row_of_the_tiles_mean():
    rng = np.random.default_rng(0)
    classes = rng.standard_normal((6, 5)).astype(np.float32)
    classes /= np.linalg.norm(classes, axis=1, keepdims=True)
    layer = rng.standard_normal((6, 4, 3)).astype(np.float32)
    found = joined_tokens(Tokens((layer,), classes), (2, 2), (0, 1, 3))
    assert found.tiles == (2, 2)
    assert found.layers[0].shape == (2, 16, 3)
    np.testing.assert_array_equal(found.layers[0][1, 12:], layer[5])
    np.testing.assert_array_equal(found.layers[0][:, 8:12], 0)
    mean = classes[:3].mean(axis=0)
    np.testing.assert_allclose(found.class_tokens[0], mean / np.linalg.norm(mean), rtol=1e-6)


@pytest.mark.parametrize(
    ("smallest", "size", "tiles"),
    [(20, (1440, 1440), (3, 3)), (100, (1440, 1440), (1, 1)), (12, (480, 640), (2, 3))],
)
def test_the_smallest_defect_says_how_many_tiles(smallest, size, tiles):
    assert tiles_for(smallest, size, patches=400) == tiles
    for length, count in zip(size, tiles, strict=True):

        def patches(n, length=length):
            return smallest / (length / span(n) / 20)

        assert patches(count) >= 0.75
        assert count == 1 or patches(count - 1) < 0.75
    with pytest.raises(FramingError, match=r"needs 55×55 tiles .* 16×16 are allowed"):
        tiles_for(1.1, (1440, 1440), patches=400)


def test_a_framing_with_tiles_is_told_and_kept():
    framing = Framing(size=(300, 500), tiles=(2, 3))
    assert str(framing) == "2×3 tiles"
    assert not framing.is_plain
    assert framing != Framing(size=(300, 500), tiles=(3, 2))
    assert framing.degrees((1, 3, 5)) == "fused"
    assert Framing().degrees((1, 3, 5)) == (1, 3, 5)
    header = framing_header(framing)
    assert header is not None
    assert kept_framing(header, NO_ARRAYS.__getitem__) == framing
    old = {name: value for name, value in header.items() if name != "tiles"} | {"aspect": "fit"}
    assert kept_framing(old, NO_ARRAYS.__getitem__).tiles == (1, 1)
    with pytest.raises(ValueError, match="no rows and columns"):
        kept_framing(header | {"tiles": (0, 1)}, NO_ARRAYS.__getitem__)
    with pytest.raises(FramingError, match="0×17 tiles: 1×1 to 16×16"):
        Framing(size=(300, 500), tiles=(0, 17))


def test_tiles_smaller_than_a_patch_are_refused():
    framing = Framing(size=(300, 60), tiles=(2, 9))
    with pytest.raises(FramingError, match=r"7×157 pixels. Tiles smaller than a patch .* 8 pixels"):
        Framer(framing, SPEC, patches=64)
    assert Framer(Framing(size=(300, 60), tiles=(2, 5)), SPEC, patches=64).is_enlarged
    assert not Framer(Framing(size=(300, 300), tiles=(2, 3)), SPEC, patches=64).is_enlarged


def test_a_view_in_tiles_is_not_plainly_whole():
    assert not View.whole((100, 100), tiles=(1, 2)).is_whole
    assert len(View.whole((100, 100), tiles=(1, 2)).parts) == 2
