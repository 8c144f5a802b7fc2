"""Pictures that are shown to two networks, to see whether one does what the other does."""

from __future__ import annotations

import numpy as np

from zeroline.runtime.frames import Frame

COUNT = 8


def probe_frames(side: int = 384) -> list[Frame]:
    """Draw eight views of a coloured, textured part, shifted and noisy; two have a defect.

    Colours differ by channel, so that swapped channels are seen; nothing is random but by a
    fixed seed.

    Returns
    -------
    list of arrays, shape (side, side, 3), uint8
        BGR.
    """
    y, x = np.mgrid[:side, :side] / side
    frames = []
    for number in range(COUNT):
        rng = np.random.default_rng(number)
        right, down = rng.uniform(-0.02, 0.02, 2)
        u, v = x + right, y + down
        weave = np.sin(2 * np.pi * 11 * u) * np.sin(2 * np.pi * 13 * v)
        disc = (np.hypot(u - 0.5, v - 0.5) < 0.3).astype(float)
        blue = 60 + 25 * weave + 40 * disc
        green = 110 + 30 * weave - 20 * disc + 30 * v
        red = 170 + 20 * weave - 90 * disc
        frame = np.stack((blue, green, red), axis=2) + rng.normal(0, 4, (side, side, 3))
        if number == 2:
            frame[np.abs(u - v - 0.1) < 0.006] = 235
        if number == 5:
            frame[np.hypot(u - 0.62, v - 0.4) < 0.04] = (30, 40, 30)
        frames.append(np.clip(frame, 0, 255).astype(np.uint8))
    return frames


def marked(frame: Frame, seed: int) -> Frame:
    """Return a copy of a frame with a few bright, dark and coloured marks, as defects may be.

    Parameters
    ----------
    frame : array, shape (H, W, 3), uint8
    seed : int
    """
    rng = np.random.default_rng(seed)
    result: Frame = frame.copy()
    height, width = frame.shape[:2]
    y, x = np.mgrid[:height, :width]
    for colour in ((255, 255, 255), (0, 0, 0), rng.integers(0, 256, 3)):
        centre_y, centre_x = rng.uniform(0.2, 0.8, 2) * (height, width)
        slope, thickness = rng.uniform(-1, 1), rng.uniform(0.005, 0.03) * width
        near = np.abs(x - centre_x) < 0.1 * width
        result[near & (np.abs(y - centre_y - slope * (x - centre_x)) < thickness)] = colour
    return result
