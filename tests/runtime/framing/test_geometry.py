"""Polygons, affine maps and views, against their forms written out."""

import numpy as np
import pytest

from zeroline.runtime.framing.geometry import box_map, chained, filled, inverse, mapped, rectangle
from zeroline.runtime.framing.view import View
from zeroline.runtime.stages.maps import anomaly_map

TURNED = np.array([[80.0, 60.0, 40.0], [-60.0, 80.0, 110.0]])  # a square of 100 by 100, turned


def inside(x, y, polygon):
    """Whether a ray to the right crosses the polygon an odd number of times."""
    crossings = 0
    for (x0, y0), (x1, y1) in zip(polygon, [*polygon[1:], polygon[0]], strict=True):
        if (y0 <= y) != (y1 <= y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0):
            crossings += 1
    return crossings % 2 == 1


@pytest.mark.parametrize(
    "polygon",
    [
        rectangle(2, 1, 5, 3),
        ((0.2, 0.1), (9.7, 2.3), (4.1, 7.9)),
        ((0, 0), (10, 0), (10, 8), (5, 3), (0, 8)),
        ((1, 1), (9, 7), (9, 1), (1, 7)),  # crosses itself
        ((-5, -5), (20, -5), (20, 4.5), (-5, 4.5)),  # larger than the picture
    ],
)
def test_pixels_of_a_polygon(polygon):
    found = filled(polygon, size=(8, 10))
    wanted = [[inside(x + 0.5, y + 0.5, polygon) for x in range(10)] for y in range(8)]
    np.testing.assert_array_equal(found, wanted)
    assert found.any()


def test_affine_maps_go_there_and_back():
    points = np.random.default_rng(0).normal(size=(5, 2))
    other = box_map(3, 4, 20, 30)
    both = mapped(chained(TURNED, other), points)
    np.testing.assert_allclose(both, mapped(TURNED, mapped(other, points)))
    np.testing.assert_allclose(mapped(inverse(TURNED), mapped(TURNED, points)), points)


def bilinear(values, x, y):
    """A map's value at a point, measured from its corner; its outer pixels go on outside."""
    x, y = np.clip([x - 0.5, y - 0.5], 0, [len(values[0]) - 1, len(values) - 1])
    x0, y0 = min(int(x), len(values[0]) - 2), min(int(y), len(values) - 2)
    a, b = x - x0, y - y0
    top = values[y0][x0] * (1 - a) + values[y0][x0 + 1] * a
    return top * (1 - b) + (values[y0 + 1][x0] * (1 - a) + values[y0 + 1][x0 + 1] * a) * b


@pytest.mark.parametrize("matrix", [box_map(20, 30, 50, 40), TURNED])
def test_a_map_is_laid_where_the_view_is(matrix):
    view = View((150, 200), matrix)
    scores = np.random.default_rng(1).random(36).astype(np.float32)
    laid, drawn = view.laid(scores), anomaly_map(scores, size=512)
    back = inverse(matrix)
    seen = 0
    for y in range(0, 150, 7):
        for x in range(0, 200, 7):
            (u, v) = mapped(back, [(x + 0.5, y + 0.5)])[0]
            if 0.01 < u < 0.99 and 0.01 < v < 0.99:
                assert laid[y, x] == pytest.approx(bilinear(drawn, u * 512, v * 512), abs=2e-3)
                seen += 1
            elif not (-0.01 < u < 1.01 and -0.01 < v < 1.01):
                assert laid[y, x] == 0
    assert seen > 20
    half = view.laid(scores, size=(75, 100))
    assert np.abs(half - laid.reshape(75, 2, 100, 2).mean(axis=(1, 3))).mean() < 0.02


def test_marks_lie_on_their_patches():
    view = View((150, 200), TURNED)
    marks = np.zeros(16, bool)
    marks[6] = True  # second row, third patch: (0.5 to 0.75, 0.25 to 0.5)
    found = view.marked(marks)
    corners = view.to_picture([(0.5, 0.25), (0.75, 0.25), (0.75, 0.5), (0.5, 0.5)])
    wanted = filled([tuple(c) for c in corners], size=(150, 200))
    assert found.sum() > 500
    assert (found != wanted).sum() <= 4  # centres on an edge


def test_patches_that_are_half_covered_count():
    view = View((80, 80), box_map(0, 0, 80, 80))
    counted = filled(rectangle(0, 0, 35, 80), size=(80, 80))  # 3.5 of 8 patches of 10 pixels
    grid = view.covered(counted, side=8).reshape(8, 8)
    assert grid[:, :4].all()  # half of the fourth is enough
    assert not grid[:, 4:].any()
    beside = View((80, 80), box_map(-40, 0, 160, 80))  # what lies outside counts for nothing
    grid = beside.covered(np.ones((80, 80), bool), side=8).reshape(8, 8)
    np.testing.assert_array_equal(grid, np.tile([False] * 2 + [True] * 4 + [False] * 2, (8, 1)))


def test_the_whole_picture():
    assert View.whole((480, 640)).is_whole
    assert not View((480, 640), box_map(0, 0, 640, 479)).is_whole
    assert not View((480, 640), TURNED).is_whole
