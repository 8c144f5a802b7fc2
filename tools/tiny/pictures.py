"""The pictures that the student learns from: photographs, drawn textures and shapes, factory light.

Picture number ``i`` depends on the seed and on ``i`` alone, so that any process, in any order,
sees the same ones, and training can go on where it stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Field = NDArray[np.float32]

_LUMA = np.array([[0.299], [0.587], [0.114]], dtype=np.float32)


def read_photographs(folder: Path) -> list[Picture]:
    """Read the photographs of a folder, in the order of their names, as (H, W, 3) uint8 RGB."""
    photographs = []
    for path in sorted(folder.iterdir()):
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if picture is not None:
            photographs.append(np.asarray(picture[..., ::-1], dtype=np.uint8))
    if not photographs:
        raise SystemExit(f'folder "{folder}" holds no photograph')
    return photographs


class Pictures:
    """An endless, numbered series of training pictures.

    Parameters
    ----------
    photographs : sequence of (H, W, 3) uint8 RGB
    seed : int
    """

    def __init__(self, photographs: Sequence[Picture], *, seed: int) -> None:
        self._photographs = photographs
        self._seed = seed

    def picture(self, number: int, *, size: int) -> Picture:
        """Return picture ``number`` as (size, size, 3) uint8 RGB."""
        rng = np.random.default_rng((self._seed, number))
        kind = rng.random()
        if kind < 0.65:
            field = self._crop(rng, size)
        elif kind < 0.85:
            field = _drawn(rng, size)
        else:
            share = rng.uniform(0.1, 0.9)
            field = share * self._crop(rng, size) + (1 - share) * _drawn(rng, size)
        if rng.random() < 0.25:
            field = _marked(rng, field)
        return _factory_light(rng, field)

    def _crop(self, rng: Generator, size: int) -> Field:
        """Cut a square from a photograph, at a random scale, turn and side."""
        photograph = self._photographs[int(rng.integers(len(self._photographs)))]
        height, width = photograph.shape[:2]
        side = min(round(size * np.exp(rng.uniform(np.log(0.35), np.log(1.6)))), height, width)
        top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
        square = photograph[top : top + side, left : left + side]
        square = np.rot90(square, int(rng.integers(4)))[:, :: rng.choice((-1, 1))]
        shrinks = side > size
        resized = cv2.resize(
            np.ascontiguousarray(square),
            (size, size),
            interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC,
        )
        return resized.astype(np.float32)


def _drawn(rng: Generator, size: int) -> Field:
    """Draw a texture with a few shapes on it, in [0, 255]."""
    texture = _texture(rng, size)
    colour = rng.uniform(0, 255, (2, 3)) if rng.random() < 0.5 else rng.uniform(0, 255, (2, 1))
    field = np.asarray(colour[0] + texture[..., None] * (colour[1] - colour[0]), dtype=np.float32)
    field = np.broadcast_to(field, (size, size, 3)).copy()
    for _ in range(rng.integers(0, 8)):
        field = _with_shape(rng, field, largest=0.4)
    return field


def _texture(rng: Generator, size: int) -> Field:
    """Return a plane in [0, 1]: a slope, cloudy or brushed noise, or a grating."""
    y, x = np.mgrid[:size, :size].astype(np.float32) / size
    kind = rng.integers(4)
    angle = rng.uniform(0, np.pi)
    along = np.cos(angle) * x + np.sin(angle) * y
    if kind == 0:
        plane = along
    elif kind == 1:
        across = np.cos(angle) * y - np.sin(angle) * x
        period = size / rng.uniform(3, 48)
        plane = np.sin(2 * np.pi * along * size / period)
        if rng.random() < 0.5:
            plane = plane * np.sin(2 * np.pi * across * size / period * rng.uniform(0.3, 1))
        if rng.random() < 0.5:
            plane = np.sign(plane)
    else:
        plane = _noise(rng, size, anisotropic=kind == 3)
    plane = plane - plane.min()
    return np.asarray(plane / max(float(plane.max()), 1e-6), dtype=np.float32)


def _noise(rng: Generator, size: int, *, anisotropic: bool) -> Field:
    """Return noise whose spectrum falls as a power of the frequency; anisotropic: brushed."""
    fy = np.fft.fftfreq(size)[:, None]
    fx = np.fft.rfftfreq(size)[None, :]
    if anisotropic:
        stretch = rng.uniform(4, 30)
        fy, fx = (fy * stretch, fx) if rng.random() < 0.5 else (fy, fx * stretch)
    falling = (np.hypot(fy, fx) + 1 / size) ** -rng.uniform(0.3, 2.2)
    spectrum = falling * np.fft.rfft2(rng.standard_normal((size, size)))
    return np.asarray(np.fft.irfft2(spectrum, (size, size)), dtype=np.float32)


def _with_shape(rng: Generator, field: Field, *, largest: float) -> Field:
    """Lay a shape of one colour over a field; ``largest``: its radius, a share of the side."""
    size = field.shape[0]
    mask = np.zeros((size, size), np.uint8)
    centre = rng.integers(0, size, 2)
    radius = size * largest * rng.uniform(0.05, 1) ** 1.5
    thickness = int(rng.choice((-1, 1, 2, 4)))
    shift = 0
    kind = rng.integers(4)
    if kind == 0:
        axes = np.maximum(radius * rng.uniform(0.3, 1, 2), 1).astype(int).tolist()
        turn = float(rng.uniform(0, 180))
        cv2.ellipse(mask, centre.tolist(), axes, turn, 0, 360, 255, thickness, cv2.LINE_AA, shift)
    elif kind == 1:
        corners = rng.integers(3, 7)
        angles = np.sort(rng.uniform(0, 2 * np.pi, corners))
        points = centre + radius * np.stack((np.cos(angles), np.sin(angles)), axis=1)
        polygon: Any = [points.astype(np.int32)]
        if thickness < 0:
            cv2.fillPoly(mask, polygon, 255, cv2.LINE_AA)
        else:
            cv2.polylines(mask, polygon, True, 255, thickness, cv2.LINE_AA)
    elif kind == 2:
        steps = rng.normal(0, radius / 4 + 1, (rng.integers(2, 8), 2)).cumsum(axis=0)
        path: Any = [(centre + steps).astype(np.int32)]
        cv2.polylines(mask, path, False, 255, abs(thickness), cv2.LINE_AA)
    else:
        letters = "".join(chr(c) for c in rng.integers(48, 91, rng.integers(1, 6)))
        scale = max(radius / 40, 0.3)
        cv2.putText(
            mask,
            letters,
            centre.tolist(),
            int(rng.integers(0, 8)),
            scale,
            255,
            abs(thickness),
            cv2.LINE_AA,
        )
    cover = mask.astype(np.float32)
    if rng.random() < 0.4:
        cover = _blurred(cover, rng.uniform(0.7, 1 + radius / 6))
    cover = cover[..., None] * np.float32(rng.uniform(0.15, 1) / 255)
    colour = rng.uniform(0, 255, 3 if rng.random() < 0.5 else 1).astype(np.float32)
    return np.asarray(field * (1 - cover) + colour * cover, dtype=np.float32)


def _marked(rng: Generator, field: Field) -> Field:
    """Put one to three small marks on a picture, as defects are small."""
    for _ in range(rng.integers(1, 4)):
        field = _with_shape(rng, field, largest=0.08)
    return field


def _factory_light(rng: Generator, field: Field) -> Picture:
    """Make a picture look as line cameras see it: grey, flat, dark, uneven, blurred, noisy."""
    size = field.shape[0]
    if rng.random() < 0.5:
        field = np.repeat(field @ _LUMA, 3, axis=2)
    if rng.random() < 0.6:
        contrast = np.float32(np.exp(rng.uniform(np.log(0.12), np.log(1.3))))
        middle = field.mean(dtype=np.float32)
        field = (field - middle) * contrast + middle + np.float32(rng.normal(0, 30))
    if rng.random() < 0.3:
        field = 255 * (np.clip(field, 0, 255) / 255) ** np.float32(np.exp(rng.normal(0, 0.4)))
    if rng.random() < 0.15:
        field = field * np.float32(rng.uniform(0.15, 0.7))
    if rng.random() < 0.25:
        y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j].astype(np.float32)
        a, b, c = rng.normal(0, 0.25, 3).astype(np.float32)
        field = field * (1 + a * x + b * y - abs(c) * (x * x + y * y))[..., None]
    if rng.random() < 0.15:
        field = _blurred(field, rng.uniform(0.4, 1.8))
    if rng.random() < 0.4:
        strength = np.float32(rng.uniform(0.5, 9))
        channels = 3 if rng.random() < 0.4 else 1
        field = field + strength * rng.standard_normal((size, size, channels), np.float32)
    return np.clip(np.rint(field), 0, 255).astype(np.uint8)


def _blurred(field: Field, sigma: float) -> Field:
    return np.asarray(cv2.GaussianBlur(field, (0, 0), sigma), dtype=np.float32)
