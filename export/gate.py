"""The parity gate: the same frames through the framework and through the finished bundle.

The framework's side reads the frame, resizes and normalises it by its own rules and never sees
the manifest; the bundle's side uses only what it will use on the line. So a wrong layer, a wrong
mean, swapped colours and an overflow all show as a difference, in the tokens and in what users
feel: the order of the patches and the scores of the images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from zeroline.export.errors import ParityError
from zeroline.export.towers import Pixels, Tower
from zeroline.runtime.frames import Frame
from zeroline.runtime.scoring import score_tokens
from zeroline.runtime.session import OnnxRuntimeSession
from zeroline.runtime.tokens import Tokens, joined

_METHODS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True)
class Limits:
    """What a bundle must keep to.

    Attributes
    ----------
    cosine : float
        Least mean cosine of the rows of an output; a single row may be ten times as far off.
    rank : float
        Least rank correlation of the patch scores.
    score : float
        Largest change of an image score, as a share of it.
    """

    cosine: float
    rank: float
    score: float


LIMITS: Mapping[str, Limits] = {
    "fp32": Limits(cosine=0.9999, rank=0.999, score=0.01),
    "fp16": Limits(cosine=0.999, rank=0.99, score=0.03),
}


@dataclass(frozen=True)
class Parity:
    """What the gate measured.

    Attributes
    ----------
    cosine, least_cosine, error : dict
        By output: mean and least cosine of its rows, and the largest absolute difference as a
        share of the largest value; NaN where the bundle gave NaN or inf.
    rank : float
        Spearman's correlation of the patch scores of all images.
    score : float
        Largest change of an image score (before RsCIN), as a share of it.
    """

    cosine: dict[str, float]
    least_cosine: dict[str, float]
    error: dict[str, float]
    rank: float
    score: float

    def figures(self) -> dict[str, float]:
        """Return all figures by name, as a manifest holds them."""
        named = {}
        for name in self.cosine:
            named[f"{name}_cosine"] = self.cosine[name]
            named[f"{name}_least_cosine"] = self.least_cosine[name]
            named[f"{name}_error"] = self.error[name]
        return named | {"patch_rank_correlation": self.rank, "image_score_change": self.score}

    def failures(self, limits: Limits) -> list[str]:
        """Return what lies outside the limits, in words; NaN always does."""
        found = []
        for name, cosine in self.cosine.items():
            least, row_limit = self.least_cosine[name], 1 - 10 * (1 - limits.cosine)
            if not cosine >= limits.cosine:
                found.append(f"{name}: cosine {cosine:.6f}, at least {limits.cosine} is expected")
            elif not least >= row_limit:
                found.append(f"{name}: a row's cosine {least:.6f}, at least {row_limit:.4f}")
        if not self.rank >= limits.rank:
            found.append(
                f"rank correlation of patch scores {self.rank:.4f}, at least {limits.rank}"
            )
        if not self.score <= limits.score:
            found.append(f"an image score changes by {self.score:.1%}, at most {limits.score:.0%}")
        return found


def check_parity(
    tower: Tower, wanted: Tokens, made: Tokens, limits: Limits, *, label: str
) -> Parity:
    """Compare a bundle's tokens with its framework's, and refuse it if they differ too much.

    Parameters
    ----------
    tower : Tower
    wanted, made : Tokens
        Of the framework and of the bundle, for the same frames; two or more, better eight of one
        kind of part.
    limits : Limits
    label : str
        Names the bundle in errors.

    Raises
    ------
    ParityError
        Names every limit that is not kept.
    """
    parity = measure_parity(wanted, made, tower)
    if failures := parity.failures(limits):
        raise ParityError(f"{label} does not follow the framework: {'; '.join(failures)}")
    return parity


def measure_parity(wanted: Tokens, made: Tokens, tower: Tower) -> Parity:
    """Compare the tokens of the same frames; see `Parity`."""
    cosine, least, error = {}, {}, {}
    pairs = zip(
        tower.outputs,
        (*wanted.layers, wanted.class_tokens),
        (*made.layers, made.class_tokens),
        strict=True,
    )
    for name, want, got in pairs:
        if want.shape != got.shape or not np.isfinite(got).all():
            cosine[name] = least[name] = error[name] = float("nan")
            continue
        rows = _cosines(want, got)
        cosine[name], least[name] = float(rows.mean()), float(rows.min())
        error[name] = float(np.abs(want - got).max() / np.abs(want).max())
    if any(np.isnan(value) for value in cosine.values()):
        return Parity(cosine, least, error, float("nan"), float("nan"))
    before, after = (score_tokens(tokens, size=tower.size, rscin=()) for tokens in (wanted, made))
    change = np.abs(after.raw_scores - before.raw_scores) / np.maximum(before.raw_scores, 1e-6)
    rank = _rank_correlation(before.patch_scores.ravel(), after.patch_scores.ravel())
    return Parity(cosine, least, error, rank, float(change.max()))


def tower_tokens(tower: Tower, frames: Sequence[Frame]) -> Tokens:
    """Run the framework's network over frames, by its own rules, one at a time."""
    parts = []
    for frame in frames:
        with torch.inference_mode():
            images = torch.from_numpy(framework_input(frame, tower.pixels, tower.size))[None]
            *layers, class_tokens = (output.float().numpy() for output in tower(images))
        parts.append(Tokens(tuple(layers), class_tokens))
    return joined(parts)


def network_tokens(path: Path, tower: Tower, frames: Sequence[Frame]) -> Tokens:
    """Run an ONNX file with a tower's outputs over frames prepared as the framework does."""
    session = OnnxRuntimeSession(path, device="cpu")
    parts = []
    for frame in frames:
        outputs = session.run("images", framework_input(frame, tower.pixels, tower.size)[None])
        *layers, class_tokens = (outputs[name] for name in tower.outputs)
        parts.append(Tokens(tuple(layers), class_tokens))
    return joined(parts)


def framework_input(frame: Frame, pixels: Pixels, size: int) -> NDArray[np.float32]:
    """Prepare a frame as the frameworks' own transforms do: PIL's resize, then mean and std."""
    picture = Image.fromarray(frame[:, :, ::-1].copy())
    resized = np.asarray(picture.resize((size, size), _METHODS[pixels.interpolation]), np.float32)
    values = (resized / 255 - np.array(pixels.mean, np.float32)) / np.array(pixels.std, np.float32)
    return np.ascontiguousarray(values.transpose(2, 0, 1), dtype=np.float32)


def _cosines(want: Any, got: Any) -> NDArray[np.float64]:
    want, got = want.astype(np.float64), got.astype(np.float64)
    lengths = np.linalg.norm(want, axis=-1) * np.linalg.norm(got, axis=-1)
    return np.asarray((want * got).sum(axis=-1) / np.maximum(lengths, 1e-30))


def _rank_correlation(first: Any, second: Any) -> float:
    ranks = [values.argsort().argsort().astype(np.float64) for values in (first, second)]
    return float(np.corrcoef(ranks)[0, 1])
