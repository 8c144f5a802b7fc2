"""The graph of images: links, weights, and its communities, which are candidates.

With a patch's distances sorted, d_(1) ≤ … ≤ d_(N-1), and reference rank ω, the strength of its link
to the image at rank i is ln(d_(ω)/d_(i)), the endurance ratio's logarithm (CoDeGraph, §3), times
(d_(ω)/median d_(ω)) to a power: patches that are far from most images count more.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from zeroline.runtime.arrays import Float32, Float64
from zeroline.runtime.recurring import constants


def image_graph(distances: Float32, reference: Float32) -> Float64:
    """Return the weights between images, shape (N, N), symmetric.

    Parameters
    ----------
    distances : array, shape (N, P, N), float32
        At least `constants.TINY`.
    reference : array, shape (N, P), float32
        d_(ω), from `reference_distances`.
    """
    images, patches, _ = distances.shape
    farness = np.log(reference / np.float32(np.median(reference)))
    kept = max(int(constants.KEPT * images * patches * (images - 1)), images)
    strongest = _Strongest(kept)
    for image, rows in enumerate(distances):
        far = reference[image][:, None]
        endurance = np.log(far / np.minimum(rows, far))
        strength = endurance * np.exp(np.float32(constants.EMPHASIS) * farness[image][:, None])
        patch, other = np.nonzero(strength > strongest.least)
        strongest.add(strength[patch, other], image * images + other)
    return strongest.graph(images)


def reference_distances(distances: Float32) -> Float32:
    """Return d_(ω) of each patch, (N, P), from distances (N, P, N)."""
    rank = int(constants.REACH * (len(distances) - 1))
    return np.stack([np.partition(rows, rank, axis=1)[:, rank] for rows in distances])


class _Strongest:
    """Holds the `count` strongest of all links that are added.

    Parameters
    ----------
    count : int
    """

    def __init__(self, count: int) -> None:
        self.least = np.float32(0)
        self._count = count
        self._values = np.empty(0, np.float32)
        self._places = np.empty(0, np.int64)

    def add(self, values: Float32, places: npt.NDArray[np.int64]) -> None:
        """Add links.

        Parameters
        ----------
        values : array, shape (n,), float32
            Their strengths.
        places : array, shape (n,), int
            Their pairs of images, as places in the flattened (N, N) graph.
        """
        self._values = np.concatenate((self._values, values))
        self._places = np.concatenate((self._places, places))
        if len(self._values) > 2 * self._count:
            self._prune()

    def graph(self, images: int) -> Float64:
        """Return their sum, both directions together."""
        self._prune()
        weights = np.zeros(images * images)
        np.add.at(weights, self._places, self._values)
        square = weights.reshape(images, images)
        total: Float64 = square + square.T
        return total

    def _prune(self) -> None:
        if len(self._values) > self._count:
            self.least = np.partition(self._values, -self._count)[-self._count]
            strong = self._values >= self.least
            self._values, self._places = self._values[strong], self._places[strong]


def candidates(weights: Float64, /) -> Iterator[npt.NDArray[np.intp]]:
    """Yield groups of images, each once.

    Parameters
    ----------
    weights : array, shape (N, N), float64
        Symmetric, not negative.

    Yields
    ------
    array, shape (members,), int
        Numbers of the images, ascending.
    """
    from graspologic_native import leiden_csr

    images = len(weights)
    row, column = np.nonzero(weights)
    if not len(row):
        return
    values = weights[row, column]
    ends = np.cumsum(np.concatenate(([0], np.bincount(row, minlength=images))))
    seen = set()
    for resolution in np.percentile(values, constants.PERCENTILES):
        _, labels = leiden_csr(
            ends.astype(np.int64), column.astype(np.int32), values, images,
            resolution=float(resolution), use_modularity=False, seed=0, trials=constants.TRIALS,
        )  # fmt: skip
        label = np.array([labels.get(image, -1 - image) for image in range(images)])
        for community in np.unique(label):
            members = np.flatnonzero(label == community)
            if (
                constants.LEAST <= len(members) <= constants.LARGEST_SHARE * images
                and tuple(members) not in seen
            ):
                seen.add(tuple(members))
                yield members
