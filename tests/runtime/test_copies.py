"""Copies in a set: equal pixels and near copies are found; parts that look alike are none."""

import numpy as np
import pytest

from zeroline.runtime import Tokens
from zeroline.runtime.copies import (
    ALIKE,
    NEAR,
    originals,
    same_place_distances,
    thumbnail,
    thumbnail_distances,
    typical_best_match,
    typical_nearest,
)
from zeroline.runtime.line.places import place_distances
from zeroline.runtime.matching.distances import match_distances

PATCHES, CHANNELS = 16, 12


def rows_of(images, *, common=0.0, seed=0):
    """Random patches; `common` of them is the same in all images, as of parts in a fixture."""
    rng = np.random.default_rng(seed)
    place = rng.standard_normal((PATCHES, CHANNELS))
    own = rng.standard_normal((images, PATCHES, CHANNELS))
    return (common * place + (1 - common) * own).astype(np.float32)


def tokens_of(*layers):
    return Tokens(layers, np.ones((len(layers[0]), 1), np.float32))


def near(row, strength=0.05, seed=1):
    return row + strength * np.random.default_rng(seed).standard_normal(row.shape).astype("f4")


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_the_same_place_distances_are_those_of_a_line():
    layers = [unit(rows_of(7)), unit(rows_of(7, seed=1))]
    wanted = np.array([
        place_distances([layer[i] for layer in layers], [[layer[j] for layer in layers]
                                                         for j in range(7)])
        for i in range(7)
    ])  # fmt: skip
    np.fill_diagonal(wanted, np.inf)
    np.testing.assert_allclose(same_place_distances(layers), wanted, atol=1e-6)


def test_the_typical_best_match_written_out():
    rows = unit(rows_of(6))
    nearest = same_place_distances([rows]).argmin(axis=1)
    table = match_distances(rows)
    for image, other in enumerate(nearest):
        table[image, :, other] = table[other, :, image] = np.inf
    wanted = np.median([np.median([min(table[i, p]) for p in range(PATCHES)]) for i in range(6)])
    assert typical_best_match([rows], nearest) == pytest.approx(wanted, abs=1e-6)


def test_equal_pixels_are_one_picture_whatever_the_tokens_say():
    of = originals(tokens_of(rows_of(6)), same=list("abcabd"))
    assert of.tolist() == [0, 1, 2, 0, 1, 5]


@pytest.mark.parametrize("common", [0.0, 0.7])
def test_near_copies_go_to_the_first(common):
    rows = rows_of(12, common=common)
    scale = np.linalg.norm(rows[0] - rows[1], axis=-1).mean()
    rows = np.concatenate([rows, [near(rows[3], 0.02 * scale), near(rows[3], 0.02 * scale, 2)]])
    rows = np.concatenate([rows, [near(rows[0], 0.02 * scale)]])
    assert originals(tokens_of(rows)).tolist() == [*range(12), 3, 3, 0]


@pytest.mark.parametrize("common", [0.0, 0.7, 0.95])
def test_parts_that_look_alike_are_no_copies(common):
    assert originals(tokens_of(rows_of(40, common=common))).tolist() == list(range(40))


def test_a_set_that_was_saved_twice():
    rows = rows_of(10)
    doubled = np.concatenate([rows, near(rows, 0.05)])
    assert originals(tokens_of(doubled)).tolist() == [*range(10), *range(10)]


def test_the_limit_is_half_of_the_typical_match():
    assert NEAR == 0.5
    rows = unit(rows_of(12))
    limit = 0.5 * typical_best_match([rows], same_place_distances([rows]).argmin(axis=1))
    for share, copy in ((0.9, True), (1.1, False)):
        moved = turned(rows[4], share * limit)
        of = originals(tokens_of(np.concatenate([rows, moved[None]])))
        assert (of[12] == 4) == copy


def turned(rows, distance, seed=3):
    """Unit rows at a distance of unit rows."""
    other = np.random.default_rng(seed).standard_normal(rows.shape)
    across = unit(other - (other * rows).sum(-1, keepdims=True) * rows)
    angle = 2 * np.arcsin(distance / 2)
    return (np.cos(angle) * rows + np.sin(angle) * across).astype(np.float32)


def test_few_pictures_have_no_near_copies():
    rows = rows_of(3)
    rows[2] = near(rows[0], 0.01)
    assert originals(tokens_of(rows)).tolist() == [0, 1, 2]


def pictures(images, seed=0):
    """Prepared pictures (3, 128, 128), rough as a stone."""
    return np.random.default_rng(seed).random((images, 3, 128, 128)).astype(np.float32)


def test_thumbnails_are_grey_means_without_the_light():
    (picture,) = pictures(1)
    small = np.array([
        [picture[:, 2 * y : 2 * y + 2, 2 * x : 2 * x + 2].mean() for x in range(64)]
        for y in range(64)
    ])  # fmt: skip
    wanted = ((small - small.mean()) / small.std()).ravel()
    np.testing.assert_allclose(thumbnail(picture), wanted, atol=1e-5)
    np.testing.assert_allclose(thumbnail(0.5 * picture + 0.1), wanted, atol=1e-5)
    assert not thumbnail(np.full((3, 70, 70), 0.3, np.float32)).any()


def test_thumbnail_distances_written_out():
    thumbnails = np.stack([thumbnail(picture) for picture in pictures(5)])
    apart = thumbnail_distances(thumbnails)
    for i in range(5):
        for j in range(5):
            wanted = np.sqrt(((thumbnails[i] - thumbnails[j]) ** 2).mean()) if i != j else np.inf
            assert apart[i, j] == pytest.approx(wanted, abs=1e-6)
    apart = np.array([[np.inf, 1, 3, 4], [1, np.inf, 5, 6], [3, 5, np.inf, 7], [4, 6, 7, np.inf]])
    # 0 and 1 are nearest to each other, and so are 2 and 3 to 0: these pairs are left out
    assert typical_nearest(apart) == np.median([np.inf, 5, 5, 6])


def test_thumbnails_tell_copies_whose_fine_noise_is_new():
    """Patches of the copy are as far as those of any other picture."""
    prepared = pictures(10)
    rows = rows_of(12)
    for share, copy in ((0.9, True), (1.1, False)):
        thumbnails = [thumbnail(picture) for picture in prepared]
        typical = typical_nearest(thumbnail_distances(np.stack(thumbnails)))
        noise = np.random.default_rng(9).standard_normal(len(thumbnails[0])).astype(np.float32)
        again = thumbnails[6] + share * ALIKE * typical * noise
        of = originals(
            tokens_of(rows[:11]), thumbnails=np.stack([*thumbnails, again.astype(np.float32)])
        )
        assert of.tolist() == [*range(10), 6 if copy else 10]
