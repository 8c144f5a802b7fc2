"""What a bundle's network gives for drawn frames, kept in the bundle in a few kB.

Class tokens and scores are enough to compare an engine where there is no onnxruntime that could run
the ONNX file. They are the ONNX file's own, on the CPU, written at the export.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from zeroline.runtime.arrays import Float32
from zeroline.runtime.errors import BundleError
from zeroline.runtime.files import open_regular
from zeroline.runtime.network.manifest import Manifest
from zeroline.runtime.network.model import Bundle, Images, Session
from zeroline.runtime.network.parity import Parity, Scorer, measure_scores, probe_frames
from zeroline.runtime.tokens import Tokens, joined

#: The file in a bundle; one without it is as good, and is compared by onnxruntime only.
DRAWN = "drawn.npz"
_FRAMES = slice(2, 6)  # four of the drawn frames, two with a defect


@dataclass(frozen=True)
class Drawn:
    """What a network gives for the drawn frames, in their order.

    Attributes
    ----------
    class_tokens : array, shape (N, D), float32
        As far as float16 holds them, and so patch scores.
    patch_scores : array, shape (N, P), float32
        Of the N images as one set, by the scorer's own degrees.
    image_scores : array, shape (N,), float32
        The same, before RsCIN.
    """

    class_tokens: Float32
    patch_scores: Float32
    image_scores: Float32

    def select(self, which: list[int]) -> Drawn:
        """Return the rows of some frames."""
        return Drawn(self.class_tokens[which], self.patch_scores[which], self.image_scores[which])

    def parity(self, actual: Tokens, *, name: str, size: int, scorer: Scorer) -> Parity:
        """Compare tokens of the same frames with it; `name` is the class token's."""
        wanted = (self.class_tokens, self.patch_scores, self.image_scores)
        return measure_scores(*wanted, actual, name=name, size=size, scorer=scorer)


def drawn_images(bundle: Bundle) -> Images:
    """Return the drawn frames, prepared by a bundle; shape (4, 3, S, S)."""
    return np.stack([bundle.prepare(frame) for frame in probe_frames()[_FRAMES]])


def tokens_one_by_one(bundle: Bundle, images: Images) -> Tokens:
    """Run a network over images, one at a time."""
    return joined(bundle.embed(image[None]) for image in images)


def write_drawn(folder: Path, manifest: Manifest, session: Session, scorer: Scorer) -> None:
    """Write the file beside a bundle's network; the manifest shall list it.

    Parameters
    ----------
    folder : Path
        The bundle's.
    manifest : Manifest
    session : Session
        The ONNX file on the CPU.
    scorer : callable
        See `check_parity`.

    Raises
    ------
    BundleError
        If the network gives NaN or inf for a drawn frame.
    """
    batch = session.inputs[manifest.input.name][0]
    bundle = Bundle(folder, manifest, session, batch)
    tokens = tokens_one_by_one(bundle, drawn_images(bundle))
    if not tokens.finite().all():
        raise BundleError(
            f'bundle "{manifest.name}": the network gives NaN or inf for a drawn frame: the '
            "weights may be damaged, or too large for their precision"
        )
    patch_scores, image_scores = scorer(tokens, manifest.input.size)
    np.savez(
        folder / DRAWN,
        class_tokens=tokens.class_tokens.astype(np.float16),
        patch_scores=np.asarray(patch_scores, np.float16),
        image_scores=np.asarray(image_scores, np.float32),
    )


def read_drawn(folder: Path, manifest: Manifest) -> Drawn | None:
    """Read the file of a bundle whose files were checked; None where it has none.

    Raises
    ------
    BundleError
        If it is not what this version writes.
    """
    if DRAWN not in manifest.files:
        return None
    outputs = manifest.outputs
    count = len(range(*_FRAMES.indices(8)))
    shapes = {
        "class_tokens": (count, outputs.class_token.channels),
        "patch_scores": (count, outputs.tokens[0].patches),
        "image_scores": (count,),
    }
    parts = {}
    try:
        with open_regular(folder / DRAWN) as file, np.load(file, allow_pickle=False) as stored:
            for name, shape in shapes.items():
                parts[name] = np.asarray(stored[name], np.float32)
                if parts[name].shape != shape:
                    raise ValueError(f"{name} has shape {parts[name].shape}, {shape} is expected")
    except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
        raise BundleError(f'bundle "{folder}": {DRAWN} cannot be read: {error}') from error
    return Drawn(**parts)
