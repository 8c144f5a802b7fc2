"""The framework's side of the parity gate.

It reads the frame, resizes and normalises it by its own rules and never sees the manifest; the
bundle's side uses only what it will use on the line. So a wrong layer, a wrong mean, swapped
colours and an overflow all show as a difference (`zeroline.runtime.network.parity`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from zeroline.export.tower import Pixels, Tower
from zeroline.runtime.frames import Frame
from zeroline.runtime.tokens import Tokens, joined

_METHODS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


class FrameworkOriginal:
    """A tower as what its export is compared with; see `zeroline.export.gate.Original`."""

    def __init__(self, tower: Tower) -> None:
        self.tower = tower
        self.names: tuple[str, ...] = tuple(tower.outputs)
        self.size = tower.size
        self.kind = "the framework"

    def tokens(self, frames: Sequence[Frame]) -> Tokens:
        """Run the framework's network."""
        return tower_tokens(self.tower, frames)

    def prepare(self, frame: Frame) -> NDArray[np.float32]:
        """Prepare a frame as the framework does."""
        return framework_input(frame, self.tower.pixels, self.size)


def tower_tokens(tower: Tower, frames: Sequence[Frame]) -> Tokens:
    """Run the framework's network over frames, by its own rules, one at a time."""
    parts = []
    for frame in frames:
        with torch.inference_mode():
            images = torch.from_numpy(framework_input(frame, tower.pixels, tower.size))[None]
            *layers, class_tokens = (output.float().numpy() for output in tower(images))
        parts.append(Tokens(tuple(layers), class_tokens))
    return joined(parts)


def framework_input(frame: Frame, pixels: Pixels, size: int) -> NDArray[np.float32]:
    """Prepare a frame as the frameworks' own transforms do: PIL's resize, then mean and std."""
    picture = Image.fromarray(frame[:, :, ::-1].copy())
    resized = np.asarray(picture.resize((size, size), _METHODS[pixels.interpolation]), np.float32)
    values = (resized / 255 - np.array(pixels.mean, np.float32)) / np.array(pixels.std, np.float32)
    return np.ascontiguousarray(values.transpose(2, 0, 1), dtype=np.float32)
