"""From a uint8 BGR frame to the network's input tensor, by the rules of the manifest."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image

from zeroline.runtime.arrays import Float32
from zeroline.runtime.errors import FrameError
from zeroline.runtime.frames import Frame
from zeroline.runtime.network.manifest import InputSpec

#: Pillow's ways to resize, by the manifest's words.
RESAMPLING = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
    "nearest": Image.Resampling.NEAREST,
}


@lru_cache(maxsize=16)
def _normalised_values(spec: InputSpec) -> Float32:
    """(3, 256) tensor values of the 256 pixel values, per channel of the tensor."""
    values = np.arange(256, dtype=np.float32)
    if spec.value_range == "0..1":
        values /= np.float32(255)
    mean = np.asarray(spec.mean, dtype=np.float32)[:, None]
    std = np.asarray(spec.std, dtype=np.float32)[:, None]
    return (values - mean) / std


def resized(frame: Frame, size: tuple[int, int], interpolation: str) -> Frame:
    """Return a frame (H, W, 3) of uint8 in another height and width, as the network wants it."""
    image = Image.fromarray(np.ascontiguousarray(frame))
    return np.asarray(image.resize((size[1], size[0]), RESAMPLING[interpolation]))


def prepare(frame: Frame, spec: InputSpec, *, bundle_name: str = "model") -> Float32:
    """Resize and normalise one frame.

    The resize is Pillow's, which the authors use: on uint8, antialiased where it shrinks, the
    aspect not kept. A frame of the right size is not resampled.

    Parameters
    ----------
    frame : array, shape (H, W, 3), uint8
        BGR, 0 to 255.
    spec : InputSpec
        The manifest's `input`.
    bundle_name : str
        For the error message.

    Returns
    -------
    array, shape (3, S, S), float32

    Raises
    ------
    FrameError
        If `frame` is not a uint8 array of three channels with at least one pixel.
    """
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        channels = frame.shape[2] if frame.ndim == 3 else 1
        raise FrameError(
            f"frame has {channels} channel(s) of {frame.dtype}, "
            f'the bundle "{bundle_name}" expects 3 (BGR uint8); to_bgr8 converts'
        )
    if frame.size == 0:
        raise FrameError(f"frame has shape {frame.shape}: it holds no pixel")
    ordered = frame[:, :, ::-1] if spec.colour == "RGB" else frame
    if ordered.shape[:2] != (spec.size, spec.size):
        ordered = resized(ordered, (spec.size, spec.size), spec.interpolation)
    values = _normalised_values(spec)
    return np.stack([values[c][ordered[:, :, c]] for c in range(3)])
