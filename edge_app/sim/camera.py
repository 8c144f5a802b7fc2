"""The camera: a surface in its pose, on the belt, under drifting light, through a noisy sensor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from zeroline.edge_app.opencv import opencv
from zeroline.edge_app.sim.surface import Plane, Surface, line_of
from zeroline.runtime.frames import Frame

_TINT = np.array((0.97, 1.0, 1.02), dtype=np.float32)
"""Blue, green, red of grey metal under the lamp."""
_FULL_WELL, _READ_NOISE = 9000.0, 1.2
"""Electrons at white; noise of the electronics in grey levels."""


@dataclass(frozen=True)
class Pose:
    """Where a part lies in the picture.

    Attributes
    ----------
    right, down : float
        Shift of the part's middle from the picture's, in pixels.
    turn : float
        In degrees, counter-clockwise as seen in the picture. It may pass 180.
    """

    right: float
    down: float
    turn: float

    @classmethod
    def drawn(cls, rng: Generator, *, size: int, variation: float) -> Pose:
        """Draw a pose as a guide rail leaves it."""
        spread = np.array((size * 0.009, size * 0.009, 1.3)) * variation
        right, down, turn = np.clip(rng.normal(0, 1, 3), -2.5, 2.5) * spread
        return cls(float(right), float(down), float(turn))

    def moved(self, rng: Generator, *, right: float, down: float, turn: float) -> Pose:
        """Add a shift and a turn, each uniform between its limit and the limit's negative."""
        by = rng.uniform(-1, 1, 3) * (right, down, turn)
        return Pose(self.right + float(by[0]), self.down + float(by[1]), self.turn + float(by[2]))

    def matrix(self, side: int, shape: tuple[int, int]) -> NDArray[np.float64]:
        """Return the way of a point from the part's upright drawing to the picture.

        Parameters
        ----------
        side : int
            Of the drawing, in pixels. The drawing is square, the part's middle is its middle.
        shape : (int, int)
            Height and width of the picture in pixels.

        Returns
        -------
        array, shape (2, 3), float64
            ``matrix @ (x, y, 1)`` is the place in the picture of what is drawn at ``(x, y)``.
            Places are in pixels, x to the right, y down, and the middles of pixels lie at whole
            numbers. There is no change of scale.
        """
        cv2 = opencv("to draw the simulated line")
        height, width = shape
        middle = (side - 1) / 2
        matrix = cv2.getRotationMatrix2D((middle, middle), self.turn, 1.0)
        matrix[:, 2] += (self.right + (width - side) / 2, self.down + (height - side) / 2)
        return np.asarray(matrix, dtype=np.float64)


@dataclass(frozen=True)
class Light:
    """The lamp: where it stands (radians), and how bright it is (1: as set up)."""

    azimuth: float
    brightness: float

    @classmethod
    def at(cls, part: int, *, seed: int, variation: float) -> Light:
        """Return the light of a part: it drifts slowly over some hundred parts."""
        phase = np.random.default_rng((seed, 1)).uniform(0, 2 * np.pi, 3)
        slow, slower, swing = np.sin(2 * np.pi * part / np.array((170.0, 530.0, 310.0)) + phase)
        brightness = 1 + variation * (0.04 * slow + 0.05 * slower)
        return cls(float(-2.2 + 0.12 * variation * swing), float(brightness))


def placed(plane: Plane, pose: Pose, shape: tuple[int, int]) -> Plane:
    """Move a plane of the part's upright drawing into its place in a picture of a shape."""
    cv2 = opencv("to draw the simulated line")
    matrix = pose.matrix(len(plane), shape)
    moved = cv2.warpAffine(
        plane, matrix, shape[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, dtype=np.float32)


def belt(shape: tuple[int, int], rng: Generator, *, variation: float) -> Plane:
    """Return the tone of the belt: woven rubber, its weave wherever it happened to stop."""
    phases = rng.uniform(0, 1, 2)
    down, right = (
        np.sin(2 * np.pi * (38 * line_of(length, min(shape)) + phase))
        for length, phase in zip(shape, phases, strict=True)
    )
    dust = rng.standard_normal(shape, np.float32)
    weave = np.outer(down, right)
    return np.asarray(0.17 + 0.035 * weave + 0.012 * variation * dust, dtype=np.float32)


def lit(surface: Surface | None, pose: Pose, ground: Plane, light: Light) -> Plane:
    """Return the light that reaches the camera from each pixel; white is about 1.

    Diffuse light by the angle of the surface to the lamp, and a highlight where a slope mirrors
    it; the part's shadow falls on the belt. The lamp stands still: the part turns under it.
    """
    cv2 = opencv("to draw the simulated line")
    shape = (ground.shape[0], ground.shape[1])
    y, x = (line_of(length, max(shape)) for length in shape)
    falloff = 1 - np.float32(0.35) * (x * x + (y * y)[:, None])
    if surface is None:
        return np.asarray(ground * falloff * np.float32(light.brightness), dtype=np.float32)
    height, tone, cover = (
        placed(plane, pose, shape) for plane in (surface.height, surface.tone, surface.cover)
    )
    down, right = np.gradient(height)
    towards = np.array((np.cos(light.azimuth), np.sin(light.azimuth)), dtype=np.float32)
    facing = -(right * towards[0] + down * towards[1]) / np.sqrt(1 + right**2 + down**2)
    shading = np.clip(np.float32(0.82) + np.float32(0.38) * facing, 0.1, None)
    highlight = np.float32(0.25) * np.clip(facing - np.float32(0.25), 0, None) ** 2
    reach = min(shape) / 480 * 7
    shadow = cv2.GaussianBlur(cover, (0, 0), reach)
    offset = np.array([[1, 0, -towards[0] * reach], [0, 1, -towards[1] * reach]])
    shadow = cv2.warpAffine(shadow, offset, shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    seen = cover * (tone * shading + highlight) + (1 - cover) * ground * (1 - 0.5 * shadow)
    return np.asarray(seen * falloff * np.float32(light.brightness), dtype=np.float32)


def exposed(scene: Plane, rng: Generator, *, variation: float) -> Frame:
    """Take the picture: a lens that is a little soft, exposure jitter, shot and read noise.

    Returns
    -------
    array, shape (H, W, 3), uint8
        BGR.
    """
    cv2 = opencv("to draw the simulated line")
    soft = cv2.GaussianBlur(scene, (0, 0), max(0.6 * min(scene.shape) / 480, 0.3))
    exposure = 1 + 0.012 * variation * rng.normal()
    colours = soft[..., None] * (_TINT * np.float32(exposure * 235))
    shot = np.sqrt(np.maximum(colours, 0) * np.float32(255 / _FULL_WELL))
    noise = rng.standard_normal((*scene.shape, 3), np.float32)
    noise *= np.hypot(shot, np.float32(_READ_NOISE))
    return np.asarray(np.clip(np.rint(colours + noise), 0, 255), dtype=np.uint8)
