"""Whether a network does what another one does: the measure, and the limits.

The tokens are compared, and what users feel: the order of the patches and the scores of the
images. Who made the tokens does not matter here: a framework and its export, an ONNX file and a
TensorRT engine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zeroline.runtime.arrays import Float32, Float64, to_host
from zeroline.runtime.errors import ParityError
from zeroline.runtime.frames import Frame
from zeroline.runtime.tokens import Tokens

#: Takes tokens and the side of the network's input; returns patch scores (N, P) and image scores
#: (N,), before RsCIN.
Scorer = Callable[[Tokens, int], tuple[Any, Any]]


@dataclass(frozen=True)
class Limits:
    """What a network must keep to.

    Attributes
    ----------
    cosine : float
        Least mean cosine of the rows of an output.
    row : float
        Least cosine of any single row.
    rank : float
        Least rank correlation of the patch scores.
    score : float
        Largest change of an image score, as a share of it.
    """

    cosine: float
    row: float
    rank: float
    score: float


LIMITS: Mapping[str, Limits] = {
    "fp32": Limits(cosine=0.9999, row=0.999, rank=0.999, score=0.01),
    "fp16": Limits(cosine=0.999, row=0.99, rank=0.99, score=0.03),
    # tokens of 8 bits are coarse where they are small; what users feel must stand all the more
    "int8": Limits(cosine=0.98, row=0.0, rank=0.98, score=0.15),
}


@dataclass(frozen=True)
class Parity:
    """What was measured.

    Attributes
    ----------
    cosine, least_cosine, error : dict
        By output: mean and least cosine of its rows, and the largest absolute difference as a
        share of the largest value; NaN where the output holds NaN or inf, or has another shape.
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

    @property
    def finite(self) -> bool:
        """All outputs were finite."""
        return not any(np.isnan(value) for value in self.cosine.values())

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
        broken = []
        for name, cosine in self.cosine.items():
            least = self.least_cosine[name]
            if np.isnan(cosine):
                broken.append(f"{name} holds NaN or inf, or has another shape")
            elif not cosine >= limits.cosine:
                broken.append(f"{name}: cosine {cosine:.6f}, at least {limits.cosine} is expected")
            elif not least >= limits.row:
                broken.append(f"{name}: a row's cosine {least:.6f}, at least {limits.row}")
        if not self.finite:  # then there are no scores
            return broken
        if not self.rank >= limits.rank:
            broken.append(
                f"rank correlation of patch scores {self.rank:.4f}, at least {limits.rank}"
            )
        if not self.score <= limits.score:
            broken.append(f"an image score changes by {self.score:.1%}, at most {limits.score:.0%}")
        return broken

    def __str__(self) -> str:
        """Return one line."""
        if not self.finite:
            return f"NaN or inf, or another shape, in {', '.join(self._not_finite())}"
        return (
            f"least cosine {min(self.cosine.values()):.6f}, rank correlation {self.rank:.5f}, "
            f"image scores within {self.score:.2%}"
        )

    def _not_finite(self) -> list[str]:
        return [name for name, value in self.cosine.items() if np.isnan(value)]


def check_parity(
    wanted: Tokens,
    actual: Tokens,
    limits: Limits,
    *,
    names: Sequence[str],
    size: int,
    scorer: Scorer,
    label: str,
    original: str = "the framework",
) -> Parity:
    """Compare a network's tokens with its original's, and refuse it if they differ too much.

    Parameters
    ----------
    wanted, actual : Tokens
        Of the original and of the network, for the same frames; two or more, better eight of
        one kind of part.
    limits : Limits
    names, size, scorer
        See `measure_parity`.
    label, original : str
        Name the two networks in errors.

    Raises
    ------
    ParityError
        Names every limit that is not kept.
    """
    parity = measure_parity(wanted, actual, names=names, size=size, scorer=scorer)
    if failures := parity.failures(limits):
        raise ParityError(f"{label} does not follow {original}: {'; '.join(failures)}")
    return parity


def measure_parity(
    wanted: Tokens, actual: Tokens, *, names: Sequence[str], size: int, scorer: Scorer
) -> Parity:
    """Compare the tokens of the same frames.

    Parameters
    ----------
    wanted, actual : Tokens
        On the host or on a device.
    names : sequence of str
        Of the outputs, the class token's last.
    size : int
        Side of the network's input, in pixels.
    scorer : callable
        How tokens are scored: `zeroline.runtime.batch.patch_and_image_scores`.
    """
    wanted, actual = _on_host(wanted), _on_host(actual)
    cosine, least, error = {}, {}, {}
    pairs = zip(
        names,
        (*wanted.layers, wanted.class_tokens),
        (*actual.layers, actual.class_tokens),
        strict=True,
    )
    for name, want, got in pairs:
        cosine[name], least[name], error[name] = _closeness(want, got)
    if any(np.isnan(value) for value in cosine.values()):  # such tokens have no scores
        return Parity(cosine, least, error, float("nan"), float("nan"))
    return Parity(cosine, least, error, *_score_changes(scorer(wanted, size), scorer(actual, size)))


def measure_scores(
    class_tokens: Float32,
    patch_scores: Float32,
    image_scores: Float32,
    actual: Tokens,
    *,
    name: str,
    size: int,
    scorer: Scorer,
) -> Parity:
    """Compare tokens with what is known of their original's for the same frames.

    Parameters
    ----------
    class_tokens : array, shape (N, D)
    patch_scores : array, shape (N, P)
    image_scores : array, shape (N,)
        Of the original.
    actual : Tokens
        On the host or on a device.
    name : str
        Of the class token's output.
    size, scorer
        See `measure_parity`.
    """
    actual = _on_host(actual)
    cosine, least, error = _closeness(class_tokens, actual.class_tokens)
    if np.isnan(cosine) or not actual.finite().all():
        changes = (float("nan"), float("nan"))
    else:
        changes = _score_changes((patch_scores, image_scores), scorer(actual, size))
    return Parity({name: cosine}, {name: least}, {name: error}, *changes)


def worst(parities: Sequence[Parity]) -> Parity:
    """Return the worst figure of each kind; NaN is worse than any."""

    def over(pick: Callable[[Sequence[float]], Any], values: Iterable[float]) -> float:
        return float(pick(list(values)))

    names = parities[0].cosine
    return Parity(
        {name: over(np.min, (p.cosine[name] for p in parities)) for name in names},
        {name: over(np.min, (p.least_cosine[name] for p in parities)) for name in names},
        {name: over(np.max, (p.error[name] for p in parities)) for name in names},
        over(np.min, (p.rank for p in parities)),
        over(np.max, (p.score for p in parities)),
    )


def _closeness(want: Float32, got: Float32) -> tuple[float, float, float]:
    """Return mean and least cosine of the rows, and the largest difference; NaN for no numbers."""
    if want.shape != got.shape or not np.isfinite(got).all():
        return (float("nan"),) * 3
    rows = _row_cosines(want, got)
    error = float(np.abs(want - got).max() / np.abs(want).max())
    return float(rows.mean()), float(rows.min()), error


def _score_changes(wanted: tuple[Any, Any], actual: tuple[Any, Any]) -> tuple[float, float]:
    """Return the rank correlation of patch scores, and the largest change of an image score."""
    (patches, before), (their_patches, after) = wanted, actual
    change = np.abs(after - before) / np.maximum(before, 1e-6)
    return _rank_correlation(patches.ravel(), their_patches.ravel()), float(change.max())


def _on_host(tokens: Tokens) -> Tokens:
    return Tokens(tuple(to_host(layer) for layer in tokens.layers), to_host(tokens.class_tokens))


def _row_cosines(want: Float32, got: Float32) -> Float64:
    """Return the cosine of each row of `want` with the same row of `got`, on the host."""
    want, got = want.astype(np.float64), got.astype(np.float64)
    lengths = np.linalg.norm(want, axis=-1) * np.linalg.norm(got, axis=-1)
    return np.asarray((want * got).sum(axis=-1) / np.maximum(lengths, 1e-30))


def _rank_correlation(first: Float32, second: Float32) -> float:
    ranks = [values.argsort().argsort().astype(np.float64) for values in (first, second)]
    return float(np.asarray(np.corrcoef(ranks))[0, 1])


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
    for number in range(8):
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
