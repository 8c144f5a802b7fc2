"""Communities of a graph of images, at several resolutions: candidates, not yet accepted.

Leiden with the constant Potts model, by graspologic-native (MIT): communities whose mean inner
weight is above the resolution. No single resolution shows every defect, so the communities of all
resolutions are candidates. The distances decide which of them are accepted.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from zeroline.runtime.recurring import constants

LEAST = constants.LEAST  # for the line


def candidates(weights: npt.NDArray[np.float64], *, seed: int) -> Iterator[npt.NDArray[np.intp]]:
    """Yield groups of images, each once.

    Parameters
    ----------
    weights : array, shape (N, N), float64
        Symmetric, not negative.
    seed : int
        Of Leiden's random order.

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
            resolution=float(resolution), use_modularity=False, seed=seed, trials=constants.TRIALS,
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
