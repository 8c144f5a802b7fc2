"""The fast forms of pose against plain ones."""

from __future__ import annotations

import numpy as np
import pytest

from support.drawn_parts import BRACKET, SQUARE, box, drawn, pose_at
from zeroline.runtime.framing.pose import fine, nearest
from zeroline.runtime.framing.pose.coarse import CoarseSearch, coarse_field, turned_fields
from zeroline.runtime.framing.pose.field import direction_field, gradients, sampled, top
from zeroline.runtime.framing.pose.pixels import grey, shrunk, widened
from zeroline.runtime.framing.pose.points import EdgePoints
from zeroline.runtime.framing.pose.quality import quality
from zeroline.runtime.framing.pose.rigid import after, enlarged, inverse, moved, turn_of, turned

RNG = np.random.default_rng(0)


def bilinear(plane, x, y):
    """The plain form of `sampled`: 0 outside."""
    left, up = int(np.floor(x)), int(np.floor(y))
    total = 0.0
    for column, across in ((left, 1 - (x - left)), (left + 1, x - left)):
        for row, down in ((up, 1 - (y - up)), (up + 1, y - up)):
            if 0 <= column < plane.shape[1] and 0 <= row < plane.shape[0]:
                total += across * down * plane[row, column]
    return total


def test_shrinking_takes_the_mean_of_squares():
    picture = RNG.integers(0, 256, (35, 50, 3)).astype(np.uint8)
    plain = [
        [picture[4 * y : 4 * y + 4, 4 * x : 4 * x + 4].mean(axis=(0, 1)) for x in range(12)]
        for y in range(8)
    ]
    assert np.abs(shrunk(picture, 4) - np.array(plain)).max() <= 0.51
    assert shrunk(picture, 1) is picture


def test_samples_are_bilinear():
    plane = RNG.normal(size=(9, 12)).astype(np.float32)
    points = RNG.uniform(-2, 13, (5, 70, 2)).astype(np.float32)
    points = np.rint(points * 32) / np.float32(32)  # OpenCV knows 32 places between two pixels
    values = sampled(plane, points)
    assert values.shape == (5, 70)
    plain = [[bilinear(plane, x, y) for x, y in row] for row in points]
    assert np.abs(values - plain).max() < 1e-5
    assert sampled(plane, points[0, :0]).shape == (0,)


def test_a_field_forgets_the_sign_of_the_light():
    gx, gy = RNG.normal(size=(2, 6, 7)).astype(np.float32)
    field = direction_field(gx, gy, level=0.7)
    assert np.allclose(field, direction_field(-gx, -gy, level=0.7))
    theta, squared = np.arctan2(gy, gx), gx**2 + gy**2
    plain = np.stack((np.cos(2 * theta), np.sin(2 * theta))) * squared / (squared + 0.49)
    assert np.abs(field - plain).max() < 1e-6


@pytest.mark.parametrize("shape", [(60, 150), (150, 60), (40, 40)])
def test_the_transform_is_the_sum_over_the_part(shape):
    part = grey(drawn(BRACKET, pose_at(40, 40, scale=0.25), shape=(80, 80)))
    near = widened(part > 70, 2)
    search = CoarseSearch(part, near, factor=2, shape=shape)
    picture = grey(drawn(SQUARE, pose_at(30, 30, 20, scale=0.2), shape=shape))
    agreements = search.agreements(picture)
    fields, level = turned_fields(part, near, factor=2)
    radius = fields.shape[-1] // 2
    seen = np.pad(coarse_field(shrunk(picture, 2), level=level), ((0, 0), *[(radius, radius)] * 2))
    height, width = shape[0] // 2, shape[1] // 2
    assert agreements.shape == (72, height, width)
    for _ in range(60):
        turn, y, x = (int(RNG.integers(limit)) for limit in (72, height, width))
        there = seen[:, y : y + 2 * radius + 1, x : x + 2 * radius + 1]
        plain = (there * fields[turn]).sum() / (fields[turn] ** 2).sum()
        assert agreements[turn, y, x] == pytest.approx(plain, abs=2e-5)


def test_a_row_of_pins_gives_a_candidate_one_pin_further_too():
    """The best place of a turn was that of the next pin in 3 of 160 frames."""
    pins = [(box(24 * number, 0, 10, 40), 150) for number in range(-5, 6)]
    comb = grey(drawn([(box(0, -15, 270, 20), 110), *pins], pose_at(150, 80), shape=(160, 300)))
    upright = np.pad(comb, ((70, 70), (0, 0)), mode="edge")
    search = CoarseSearch(upright, widened(upright > 70, 3), factor=5, shape=comb.shape)
    first, *others = search.candidates(comb, most=4)
    assert first.pose[:, 2] == pytest.approx((0, -70), abs=2)
    further = [other for other in others if abs(turn_of(other.pose) - turn_of(first.pose)) < 1]
    assert sorted(other.pose[0, 2] for other in further) == pytest.approx((-24, 24), abs=5)


def edges_and_points():
    picture = grey(drawn(SQUARE, pose_at(80, 80, scale=0.6), shape=(160, 160)))
    gx, gy = gradients(picture)
    at = RNG.uniform(15, 145, (40, 2)).astype(np.float32)
    turn = RNG.uniform(0, 2 * np.pi, 40)
    normals = np.stack((np.cos(turn), np.sin(turn)), axis=1).astype(np.float32)
    return picture, fine.Edges(gx, gy), EdgePoints(np.rint(at), normals)


def test_each_point_takes_the_strongest_edge_along_its_normal():
    _, edges, points = edges_and_points()
    offset, response = fine.offsets(edges, points.at, points.normals, reach=5, level=9.0)
    for row, (at, normal) in enumerate(zip(points.at, points.normals, strict=True)):
        plain = []
        for step in range(-5, 6):
            gx, gy = (bilinear(plane, *(at + step * normal)) for plane in (edges.gx, edges.gy))
            along = gx * normal[0] + gy * normal[1]
            plain.append(along**2 / (np.hypot(gx, gy) + 9))
        assert response[row] == pytest.approx(max(plain), rel=0.1, abs=0.3)
        if sorted(plain)[-1] > 1.3 * sorted(plain)[-2]:
            assert abs(offset[row] - (int(np.argmax(plain)) - 5)) <= 0.51


def test_each_point_takes_its_nearest_edge_in_the_fine_picture():
    plane = np.zeros((40, 60), np.float32)
    plane[:, 24:] = 100  # an edge at 23.5, and a stronger one further off
    plane[:, 28:] = 250
    at = np.array(((23, 20), (26.9, 20), (5, 20), (58, 20)), np.float32)
    normals = np.tile(np.array((1, 0), np.float32), (4, 1))
    offset, height, found = nearest.nearest(plane, at, normals, reach=5)
    assert found.tolist() == [True, True, False, False]
    assert offset[:2] == pytest.approx((0.5, 0.6), abs=0.05)
    assert height[:2] == pytest.approx((50, 75), abs=1)


def test_quality_is_the_mean_agreement_of_directions():
    _, edges, points = edges_and_points()
    pose = pose_at(2, -1, 0)
    total = []
    for at, normal in zip(points.at, points.normals, strict=True):
        gx, gy = (bilinear(plane, *np.add(at, (2, -1))) for plane in (edges.gx, edges.gy))
        squared = gx * gx + gy * gy
        between = np.arctan2(gy, gx) - np.arctan2(normal[1], normal[0])
        total.append(np.cos(2 * between) * squared / (squared + 9.0))
    expected = max(0.0, float(np.mean(total)))
    assert quality(edges, points, pose, level=6.0) == pytest.approx(expected, abs=1e-4)


def test_a_least_squares_move_undoes_a_small_one():
    at = RNG.uniform(0, 100, (50, 2)).astype(np.float32)
    turn = RNG.uniform(0, 2 * np.pi, 50)
    normals = np.stack((np.cos(turn), np.sin(turn)), axis=1).astype(np.float32)
    off = turned(0.05, about=(30, 60), to=(30.4, 59.7))
    offset = ((moved(at, off) - at) * normals).sum(axis=1)
    found = fine.moved_by(
        turned(0, about=(0, 0)), at, normals, offset, np.ones(50, np.float32), about=(50, 50)
    )
    assert np.abs(moved(at, found) - moved(at, off)).max() < 1e-3


def test_maps_of_the_plane_follow_opencv():
    import cv2

    ours = turned(33, about=(12, 7))
    assert np.allclose(ours, cv2.getRotationMatrix2D((12, 7), 33, 1.0))
    assert turn_of(ours) == pytest.approx(33)
    assert np.allclose(after(inverse(ours), ours), np.eye(3)[:2])
    assert np.allclose(enlarged(4) @ (-0.5, -0.5, 1), (-0.5, -0.5))


def test_the_top_lies_between_the_values():
    values = 5 - (np.arange(8) - 3.3) ** 2
    assert top(values, 3) == pytest.approx(0.3)
    assert top(np.array((5.0, 4.0, 1.0, 4.0)), 0) == 0.0
    assert top(np.zeros(4), 1) == 0.0
