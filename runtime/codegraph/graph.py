"""Suspicious links from patches to images, and the graph of images that they add up to.

With a patch's distances sorted, d_(1) ≤ … ≤ d_(N-1), and reference rank ω, the strength of its link
to the image at rank i is ln(d_(ω)/d_(i)), the endurance ratio's logarithm (CoDeGraph, §3), times
(d_(ω)/median d_(ω)) to a power: what is far from most images counts more.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

#: ω as a share of the other images: a defect in more of them than this cannot be told.
REACH = 0.5
#: Share of all links that are kept, the strongest.
KEPT = 0.002

_TINY = np.float32(1e-6)


def image_graph(distances: npt.NDArray[np.float32], *, emphasis: float) -> Float64:
    """Return the weights between images, shape (N, N), symmetric.

    Parameters
    ----------
    distances : array, shape (N, P, N), float32
    emphasis : float
        The power of how far a patch is from most images; 0: all patches alike.
    """
    images, patches, _ = distances.shape
    rank = max(3, int(REACH * (images - 1)))
    reference = np.stack([np.partition(rows, rank, axis=1)[:, rank] for rows in distances])
    reference[~np.isfinite(reference)] = _TINY  # too few that match
    lift = (reference / np.float32(np.median(reference))) ** np.float32(emphasis)
    kept = max(int(KEPT * images * patches * (images - 1)), images)
    strongest = _Strongest(kept)
    for image, rows in enumerate(distances):
        near, far = np.maximum(rows, _TINY), reference[image][:, None]
        strength = np.where(near < far, np.log(np.maximum(far / near, 1)) * lift[image][:, None], 0)
        patch, other = np.nonzero(strength > strongest.least)
        strongest.add(strength[patch, other], image * images + other)
    weights = np.zeros(images * images)
    np.add.at(weights, strongest.places(), strongest.values())
    square = weights.reshape(images, images)
    total: Float64 = square + square.T
    return total


class _Strongest:
    """Keeps the `count` strongest of all links that are added, a few times as many at most."""

    def __init__(self, count: int) -> None:
        self.least = np.float32(0)
        self._count = count
        self._values = np.empty(0, np.float32)
        self._places = np.empty(0, np.int64)

    def add(self, values: npt.NDArray[np.float32], places: npt.NDArray[np.int64]) -> None:
        """Add links, `places` being the pairs of images."""
        self._values = np.concatenate((self._values, values))
        self._places = np.concatenate((self._places, places))
        if len(self._values) > 2 * self._count:
            self._prune()

    def values(self) -> npt.NDArray[np.float32]:
        """Return the strengths that are kept."""
        self._prune()
        return self._values

    def places(self) -> npt.NDArray[np.int64]:
        """Return their pairs of images."""
        self._prune()
        return self._places

    def _prune(self) -> None:
        if len(self._values) > self._count:
            self.least = np.partition(self._values, -self._count)[-self._count]
            strong = self._values >= self.least
            self._values, self._places = self._values[strong], self._places[strong]
