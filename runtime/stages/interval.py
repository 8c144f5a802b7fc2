"""Interval average: from match distances to patch scores (MuSc §3.3, docs/algorithms.md)."""

from __future__ import annotations

from typing import Any

from zeroline.runtime.arrays import ArrayT, array_namespace, as_float32
from zeroline.runtime.errors import ScoringError


def interval_bounds(count: int, *, low: float, high: float) -> tuple[int, int]:
    """Return how many smallest of `count` distances are dropped, and up to which one is averaged.

    Fractions of `count`, rounded down as the authors do; at least one distance stays
    (their code averages none, and gives NaN, where `count` is under 4).
    """
    first, last = int(count * low), int(count * high)
    last = max(last, 1)
    return min(first, last - 1), last


def interval_average(distances: ArrayT, /, *, low: float = 0.0, high: float = 0.3) -> ArrayT:
    """Average each patch's smallest match distances.

    Parameters
    ----------
    distances : array, shape (N, P, N), float
        Match distances; inf where two images do not match each other, as on the diagonal.
    low, high : float
        The part of the sorted finite distances that is averaged, 0 ≤ low < high ≤ 1.

    Returns
    -------
    array, shape (N, P), float32
        Patch scores, in the unit of the distances: 0 to 2 for unit features.

    Raises
    ------
    ScoringError
        If a patch has no finite distance, a distance is NaN, or the bounds are not in order.

    References
    ----------
    MuSc (arXiv 2401.16753), section 3.3, "interval average".

    Examples
    --------
    >>> import numpy as np
    >>> distances = np.array([[[np.inf, 0.4, 0.2, 0.6]]] * 4)
    >>> interval_average(distances, high=0.7).tolist()[0]
    [0.30000001192092896]
    """
    if not 0 <= low < high <= 1:
        raise ScoringError(f"low is {low} and high is {high}, 0 <= low < high <= 1 is expected")
    xp = array_namespace(distances)
    table = as_float32(distances, name="distances", ndim=3)
    scores: Any = xp.empty(table.shape[:2], dtype=xp.float32)
    for image, rows in enumerate(table):
        scores[image] = average_rows(rows, low=low, high=high, image=image)
    result: ArrayT = scores
    return result


def average_rows(rows: Any, *, low: float, high: float, image: int = 0) -> Any:
    """Return the interval average of one image's (P, N) distances; see `interval_average`."""
    xp = array_namespace(rows)
    if bool(xp.isnan(rows).any()):
        raise ScoringError(f"the match distances of image {image} hold NaN")
    counts = xp.isfinite(rows).sum(axis=1)
    fewest, most = int(counts.min()), int(counts.max())
    if fewest == 0:
        patch = int(counts.argmin())
        raise ScoringError(
            f"patch {patch} of image {image} has no image to match: "
            "at least one finite distance is expected"
        )
    first, last = interval_bounds(most, low=low, high=high)
    smallest = xp.partition(rows, last - 1, axis=1)[:, :last]
    if fewest == most and first == 0:
        return smallest.mean(axis=1)
    smallest = xp.sort(smallest, axis=1)
    if fewest == most:
        return smallest[:, first:].mean(axis=1)
    # images of one group, or ignored patches, leave some patches fewer partners than others
    table = xp.asarray([interval_bounds(n, low=low, high=high) for n in range(most + 1)])
    bounds = table[counts]
    rank = xp.arange(last)
    inside = (rank >= bounds[:, :1]) & (rank < bounds[:, 1:])
    return xp.where(inside, smallest, xp.float32(0)).sum(axis=1) / inside.sum(axis=1)


def average_on_device(half_squared: Any, /, *, low: float, high: float) -> Any:
    """Average one frame's matches over images, layers and degrees, without waiting for results.

    Parameters
    ----------
    half_squared : array, shape (U, W, P), float32
        ½d² by unit, other image and patch; inf where there is no match.
    low, high : float
        See `interval_average`.

    Returns
    -------
    array, shape (P,), float32
        Mean over the units of each patch's interval average; NaN where a patch has no match.
        The same as `average_rows` for each unit, to rounding.
    """
    xp = array_namespace(half_squared)
    images = half_squared.shape[1]
    distances = xp.sort(xp.sqrt(2 * xp.maximum(half_squared, 0)), axis=1)
    counts = xp.isfinite(distances).sum(axis=1)
    bounds = [interval_bounds(n, low=low, high=high) for n in range(images + 1)]
    first, last = xp.asarray(bounds, dtype=xp.int32)[counts].transpose(2, 0, 1)
    rank = xp.arange(images, dtype=xp.int32)[None, :, None]
    inside = (rank >= first[:, None]) & (rank < last[:, None])
    total = xp.where(inside, distances, xp.float32(0)).sum(axis=1)
    mean = xp.where(counts > 0, total / (last - first), xp.float32(xp.nan))
    return mean.mean(axis=0).astype(xp.float32)
