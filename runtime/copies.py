"""Pictures that a set holds more than once: copies vouch for each other, so one alone may count.

The same pixels in two files are told by the caller. Near copies are the same photograph saved
again: recompressed, resized, brightened a little. Parts of one mould in a fixture look alike too,
so no fixed distance tells them. A near copy lies nearer to its original, place by place, than half
of what a usual patch has to its best match in the whole set (ours).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from zeroline.runtime.arrays import Float32, array_namespace, to_host
from zeroline.runtime.matching.distances import match_distances
from zeroline.runtime.stages.degrees import aggregated
from zeroline.runtime.tokens import Tokens

Indices = npt.NDArray[np.intp]

#: A near copy is nearer than this share of the set's typical best match.
NEAR = 0.5
#: In fewer different pictures nothing is typical.
LEAST_PICTURES = 4
#: Distances of this many patches are held at once.
_BLOCK = 2**24


def originals(
    tokens: Tokens,
    /,
    *,
    same: Sequence[object] | None = None,
    matching: str = "exact",
    threads: int | None = None,
) -> Indices:
    """Find, for each image of a set, the first image that shows the same picture.

    Parameters
    ----------
    tokens : Tokens
        Of N images.
    same : sequence, optional
        A value for each image: images of equal values have the same pixels.
    matching, threads
        See `zeroline.runtime.matching.distances.match_distances`.

    Returns
    -------
    array, shape (N,), int
        The number of the original: the image's own, where it is no copy.

    Notes
    -----
    Without near candidates the cost is 1/P of one match. With some it is two matches of degree 1,
    or more where a copy hides another: what is found is left out, and the rest looked at again.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.random.default_rng(0).standard_normal((6, 9, 8)).astype(np.float32)
    >>> rows[4] = rows[1]
    >>> originals(Tokens((rows,), np.ones((6, 1), np.float32))).tolist()
    [0, 1, 2, 3, 1, 5]
    """
    images = len(tokens)
    first: dict[object, int] = {}
    of = np.array(
        [n if same is None else first.setdefault(same[n], n) for n in range(images)], np.intp
    )
    while True:
        pictures = np.unique(of)
        if len(pictures) < LEAST_PICTURES:
            return of
        features = [
            layer_features
            for layer in tokens.select(pictures).layers
            for layer_features in aggregated(layer, (1,), threads=threads)
        ]
        apart = same_place_distances(features)
        # no best match is farther than the second nearest picture at the same place
        if not (apart < NEAR * np.median(np.sort(apart, axis=1)[:, 1])).any():
            return of
        limit = NEAR * typical_best_match(
            features, apart.argmin(axis=1), matching=matching, threads=threads
        )
        joined = False
        for number, row in enumerate(apart):
            earlier = np.flatnonzero(row[:number] < limit)
            earlier = earlier[of[pictures[earlier]] == pictures[earlier]]  # no copy of a copy
            if len(earlier):
                of[of == pictures[number]] = pictures[earlier[0]]
                joined = True
        if not joined:
            return of


def same_place_distances(features: Sequence[Any]) -> Float32:
    """Return how far each two images are from each other at the same places.

    Parameters
    ----------
    features : sequence of arrays, shape (N, P, C), float32
        Unit rows, by layer.

    Returns
    -------
    array, shape (N, N), float32
        The median over patches of the mean distance over layers, 0 to 2; inf on the diagonal. On
        the host.
    """
    xp = array_namespace(features[0])
    images, patches = features[0].shape[:2]
    by_place = [xp.ascontiguousarray(layer.transpose(1, 0, 2)) for layer in features]  # (P, N, C)
    squares = [xp.square(layer).sum(axis=2) for layer in by_place]
    apart = np.full((images, images), np.inf, np.float32)
    step = max(1, _BLOCK // (images * patches))
    for start in range(0, images, step):
        rows = slice(start, start + step)
        total: Any = 0.0
        for layer, square in zip(by_place, squares, strict=True):
            products = layer[:, rows] @ layer.transpose(0, 2, 1)
            square_distances = square[:, rows, None] + square[:, None] - 2 * products
            total = total + xp.sqrt(xp.maximum(square_distances, 0))
        apart[rows] = to_host(xp.median(total, axis=0)) / len(features)
    np.fill_diagonal(apart, np.inf)
    return apart


def typical_best_match(
    features: Sequence[Any],
    nearest: Indices,
    *,
    matching: str = "exact",
    threads: int | None = None,
) -> float:
    """Return how far a usual patch is from its best match in the set.

    The median over patches and images; of the distances the mean over layers. An image and the one
    that is nearest to it are not compared: they may be copies.

    Parameters
    ----------
    features : sequence of arrays, shape (N, P, C), float32
        Unit rows, by layer.
    nearest : array, shape (N,), int
        The image that is nearest to each.
    """
    xp = array_namespace(features[0])
    places = np.arange(len(nearest))
    best: Any = 0.0
    for layer in features:
        distances = match_distances(layer, matching=matching, threads=threads)
        distances[places, :, nearest] = np.inf
        distances[nearest, :, places] = np.inf
        best = best + distances.min(axis=2)
    return float(xp.median(xp.median(best, axis=1))) / len(features)
