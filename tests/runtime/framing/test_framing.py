"""What of a picture goes into the network, and what a framing refuses."""

from typing import Any

import numpy as np
import pytest

from support.small_network import PATCHES, SIDE, SIZE
from zeroline.runtime import FrameError, FramingError, load_bundle
from zeroline.runtime.framing.framer import Framer
from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.framing.geometry import rectangle
from zeroline.runtime.framing.kept import framing_arrays, framing_header, kept_framing

HEIGHT, WIDTH = 90, 160


@pytest.fixture
def frame():
    return np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8)


@pytest.fixture(scope="module")
def spec(bundle_folder):
    with load_bundle(bundle_folder) as bundle:
        return bundle.manifest.input


def framer(spec, **settings):
    return Framer(Framing(size=(HEIGHT, WIDTH), **settings), spec, patches=PATCHES)


def test_without_a_setting_a_frame_goes_in_as_it_came(frame, spec):
    look = Framer(Framing(), spec, patches=PATCHES).look(frame)
    assert look.images[0] is frame
    assert look.view.is_whole
    assert framer(spec).roi is None


def test_a_rectangle_is_cut_out(frame, spec):
    one = framer(spec, crop=rectangle(30, 10, 80, 60))
    look = one.look(frame)
    np.testing.assert_array_equal(look.images[0], frame[10:70, 30:110])
    np.testing.assert_allclose(look.view.to_picture([(0, 0), (1, 1)]), [(30, 10), (110, 70)])
    assert one.roi is None  # all of it counts


def test_outside_a_polygon_nothing_counts(frame, spec):
    one = framer(spec, crop=((0, 0), (160, 0), (0, 90)))
    np.testing.assert_array_equal(one.look(frame).images[0], frame)
    grid = one.roi.reshape(SIDE, SIDE)
    for row in range(SIDE):
        for column in range(SIDE):
            if abs(row + column + 1 - SIDE) > 0:  # off the diagonal
                assert grid[row, column] == (row + column + 1 < SIDE)


def test_the_aspect_is_kept_and_the_rest_does_not_count(frame, spec):
    one = framer(spec, aspect="fit")
    look = one.look(frame)
    height = round(SIZE * HEIGHT / WIDTH)
    assert look.images[0].shape == (SIZE, SIZE, 3)
    top = (SIZE - height) // 2
    content = look.images[0][top : top + height]
    small = frame.astype(float).reshape(HEIGHT, SIZE // 32, -1, 3).mean(axis=(1, 2))
    np.testing.assert_allclose(content.mean((0, 1)), small.mean(0), atol=3)
    beside = np.concatenate([look.images[0][:top], look.images[0][top + height :]])
    assert np.ptp(beside.reshape(-1, 3), axis=0).max() == 0  # an even colour
    grid = one.roi.reshape(SIDE, SIDE)
    assert grid[SIDE // 2].all()
    assert not grid[0].any()
    assert not grid[-1].any()
    (corner,) = look.view.to_picture([(0, top / SIZE)])
    np.testing.assert_allclose(corner, (0, 0), atol=1e-9)
    (corner,) = look.view.to_picture([(1, (top + height) / SIZE)])
    np.testing.assert_allclose(corner, (WIDTH, HEIGHT), atol=1e-9)


def test_masks_and_ignored_polygons_count_together(spec):
    mask = np.ones((HEIGHT, WIDTH), bool)
    mask[:, :20] = False  # the first column of patches
    one = framer(spec, mask=mask, ignored=(rectangle(140, 0, 20, 90), rectangle(0, 0, 160, 12)))
    grid = one.roi.reshape(SIDE, SIDE)
    wanted = np.ones((SIDE, SIDE), bool)
    wanted[:, 0] = wanted[:, -1] = wanted[0] = False
    np.testing.assert_array_equal(grid, wanted)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"crop": rectangle(100, 10, 80, 60)}, "crop 100,10 180,10 180,70 100,70 leaves the "
                                               "picture of 160×90 pixels"),
        ({"crop": ((0, 0), (10, 10))}, "three points or more are expected"),
        ({"crop": ((0, 0), (10, 10), (float("nan"), 3))}, "three points or more"),
        ({"ignored": (((5, 5), (5, 5), (5, 5)),)}, "ignored 5,5 5,5 5,5 encloses nothing"),
        ({"mask": np.ones((90, 161), bool)}, "the mask has 161×90 pixels, the picture has 160×90"),
        ({"mask": np.zeros((90, 160), bool)}, "the mask ignores the whole picture"),
        ({"ignored": (rectangle(-1, -1, 999, 999),)}, "leave nothing to look at"),
        ({"aspect": "squeeze"}, 'aspect is "squeeze", stretch or fit is expected'),
        ({"crop": rectangle(0, 0, 160, 90), "ignored": (rectangle(1, 0, 200, 90),)},
         "less than half a patch is left"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_line(spec, settings, words):
    with pytest.raises(FramingError) as error:
        framer(spec, **settings)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_size_is_needed_and_kept(frame, spec):
    with pytest.raises(FramingError, match="needs the size"):
        Framing(aspect="fit")
    one = framer(spec, aspect="fit")
    with pytest.raises(FrameError, match="has 160×80 pixels, the framing is drawn on 160×90"):
        one.look(frame[:80])


def test_framings_are_equal_that_look_at_the_same():
    mask = np.ones((HEIGHT, WIDTH), bool)
    mask[3, 4] = False
    kinds: list[dict[str, Any]] = [
        {},
        {"crop": rectangle(1, 2, 3, 4)},
        {"ignored": (rectangle(1, 2, 3, 4),)},
        {"aspect": "fit"},
        {"mask": mask},
        {"mask": ~mask},
    ]
    for one, settings in enumerate(kinds):
        for other, others in enumerate(kinds):
            same = Framing(size=(HEIGHT, WIDTH), **settings) == Framing(
                size=(HEIGHT, WIDTH), **others
            )
            assert same == (one == other)
    assert Framing() == Framing(size=(1, 2))  # both look at all
    assert len({Framing(size=(HEIGHT, WIDTH), **settings) for settings in kinds}) == len(kinds)


def test_a_framing_is_kept_and_read():
    mask = np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 3 > 0
    framing = Framing(
        size=(HEIGHT, WIDTH), crop=((0, 0), (9.5, 0), (9, 80)), mask=mask, aspect="fit",
        ignored=(rectangle(1, 1, 2, 2),),
    )  # fmt: skip
    assert kept_framing(framing_header(framing), framing_arrays(framing).__getitem__) == framing
    assert kept_framing(framing_header(Framing()), framing_arrays(Framing()).__getitem__).is_plain
    assert "crop 0,0 9.5,0 9,80" in str(framing)
