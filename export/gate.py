"""The parity gate: the same frames through an original and through the finished bundle.

The original is the framework's network, or the float32 bundle that another precision is made of.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from zeroline.runtime.batch import embed_images, patch_and_image_scores
from zeroline.runtime.frames import Frame
from zeroline.runtime.loading import load_bundle
from zeroline.runtime.network.model import Bundle
from zeroline.runtime.network.onnxruntime import OnnxRuntimeSession
from zeroline.runtime.network.parity import LIMITS, Limits, Parity, check_parity
from zeroline.runtime.tokens import Tokens, joined


class Original(Protocol):
    """What a bundle is made of and compared with.

    Attributes
    ----------
    names : tuple of str
        Of the outputs, the class token's last.
    size : int
        Side of the input in pixels.
    kind : str
        What it is, in words.
    """

    names: tuple[str, ...]
    size: int
    kind: str

    def tokens(self, frames: Sequence[Frame]) -> Tokens:
        """Run it over frames."""

    def prepare(self, frame: Frame) -> NDArray[np.float32]:
        """Turn a frame into an input (3, S, S), as the original does."""


class BundleOriginal:
    """A float32 bundle, as the original of one in another precision."""

    def __init__(self, bundle: Bundle) -> None:
        outputs = bundle.manifest.outputs
        self.bundle = bundle
        self.names: tuple[str, ...] = (*(t.name for t in outputs.tokens), outputs.class_token.name)
        self.size = bundle.size
        self.kind = f'"{bundle.name}"'

    def tokens(self, frames: Sequence[Frame]) -> Tokens:
        """Run the bundle."""
        return embed_images(frames, self.bundle)

    def prepare(self, frame: Frame) -> NDArray[np.float32]:
        """Prepare a frame by the manifest."""
        return self.bundle.prepare(frame)


def gate(
    folder: Path,
    original: Original,
    frames: Sequence[Frame],
    *,
    wanted: Tokens | None = None,
    simulated: Path | None = None,
) -> Parity:
    """Let a bundle through, or refuse it.

    Parameters
    ----------
    folder : Path
        Of the bundle; its manifest tells the precision, and so the limits.
    original : Original
    frames : sequence of arrays, shape (H, W, 3), uint8
        Two or more, better eight of one kind of part.
    wanted : Tokens, optional
        What the original gives for the frames, where that is known already.
    simulated : Path, optional
        A float32 network that rounds as the bundle's half-precision one does. It must pass as
        well, since a CPU hides the overflows that a GPU would meet; its figures are returned.

    Raises
    ------
    ParityError
        If the bundle differs too much from the original, or images of one batch from single
        ones.
    """
    wanted = wanted or original.tokens(frames)
    with load_bundle(folder, device="cpu") as bundle:
        precision = bundle.manifest.precision
        limits, label = LIMITS[precision], f'bundle "{bundle.name}" ({precision})'

        def checked(wanted: Tokens, actual: Tokens, about: str, limits: Limits, of: str) -> Parity:
            return check_parity(
                wanted,
                actual,
                limits,
                names=original.names,
                size=original.size,
                scorer=patch_and_image_scores,
                label=label + about,
                original=of,
            )

        single = embed_images(frames, bundle)
        parity = checked(wanted, single, "", limits, original.kind)
        few = np.stack([bundle.prepare(frame) for frame in frames[:3]])
        checked(
            single.select(slice(0, len(few))),
            bundle.embed(few),
            ", images in one batch,",
            LIMITS["fp16"],
            "single images",
        )
        if simulated is None:
            return parity
        network = OnnxRuntimeSession(simulated, device="cpu")
        rounding = dataclasses.replace(bundle, session=network)
        actual = embed_images(frames, rounding)
        return checked(wanted, actual, ", with its roundings,", limits, original.kind)


def network_tokens(path: Path, original: Original, frames: Sequence[Frame]) -> Tokens:
    """Run an ONNX file with an original's outputs over frames prepared as the original does."""
    session = OnnxRuntimeSession(path, device="cpu")
    (name,) = session.inputs
    parts = []
    for frame in frames:
        outputs = session.run(name, original.prepare(frame)[None])
        *layers, class_tokens = (outputs[name] for name in original.names)
        parts.append(Tokens(tuple(layers), class_tokens))
    return joined(parts)
