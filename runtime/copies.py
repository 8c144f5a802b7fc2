"""Pictures that a set holds more than once: copies vouch for each other, so one alone may count.

The same pixels in two files are told by the caller. Near copies are the same photograph saved
again: recompressed, resized, brightened a little. Parts of one mould in a fixture look alike too,
so no fixed distance tells them, but what is typical of the set (ours). Either is enough:

- Patch by patch a copy is nearer to its original than half of a usual best match in the whole set.
- Their thumbnails differ by less than an eighth of what a usual picture differs from the most
  similar one. Thumbnails show no fine noise, which recompression changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from zeroline.runtime.arrays import Bools, Float32, Float64, array_namespace, to_host
from zeroline.runtime.matching.distances import match_distances
from zeroline.runtime.stages.degrees import aggregated
from zeroline.runtime.tokens import Tokens

Indices = npt.NDArray[np.intp]

#: A near copy is nearer than this share of the set's typical best match.
NEAR = 0.5
#: The thumbnail of a near copy is nearer than this share of the set's typical nearest. JPEGs of
#: quality 75 and halved pictures reach 0.01 to 0.12 where parts are not in one pose; different
#: prints that lie the same by chance reach 0.19, all else 0.25.
ALIKE = 0.125
#: Least side of a thumbnail in pixels.
THUMBNAIL = 64
#: In fewer different pictures nothing is typical.
LEAST_PICTURES = 4
#: Distances of this many patches are held at once.
_BLOCK = 2**24


def originals(
    tokens: Tokens,
    /,
    *,
    same: Sequence[object] | None = None,
    thumbnails: Float32 | None = None,
    roi: Bools | None = None,
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
    thumbnails : array, shape (N, Q), float32, optional
        From `thumbnail`.
    roi : array, shape (P,), bool, optional
        Patches that count: a tile in which none does is not looked at.
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
        near = _near_patches(tokens, pictures, roi, matching=matching, threads=threads)
        if thumbnails is not None:
            apart = thumbnail_distances(thumbnails[pictures])
            near |= apart < ALIKE * typical_nearest(apart)
        joined = False
        for number, row in enumerate(near):
            earlier = np.flatnonzero(row[:number])
            earlier = earlier[of[pictures[earlier]] == pictures[earlier]]  # no copy of a copy
            if len(earlier):
                of[of == pictures[number]] = pictures[earlier[0]]
                joined = True
        if not joined:
            return of


def _near_patches(
    tokens: Tokens, pictures: Indices, roi: Bools | None, *, matching: str, threads: int | None
) -> Bools:
    """Return which pairs (n, n) of some images are near copies by their patches.

    Of several tiles in half of them or more: one tile may show bare ground, and so nothing but
    noise.
    """
    parts = [part for part in tokens.grid.parts() if roi is None or roi[part].any()]
    if len(parts) == tokens.grid.count == 1:
        return _near_in_tile(tokens.select(pictures), matching=matching, threads=threads)
    votes = np.zeros((len(pictures), len(pictures)), np.intp)
    for part in parts:
        layers = tuple(layer[pictures, part] for layer in tokens.layers)
        tile = Tokens(layers, tokens.class_tokens[pictures])
        votes += _near_in_tile(tile, matching=matching, threads=threads)
    near: Bools = 2 * votes >= len(parts)
    return near


def _near_in_tile(tokens: Tokens, *, matching: str, threads: int | None) -> Bools:
    """Return which pairs (N, N) are near copies by their patches in one tile."""
    features = [
        layer_features
        for layer in tokens.layers
        for layer_features in aggregated(layer, (1,), threads=threads)
    ]
    apart = same_place_distances(features)
    # no best match is farther than the second nearest picture at the same place
    if not (apart < NEAR * np.median(np.sort(apart, axis=1)[:, 1])).any():
        return np.zeros(apart.shape, bool)
    nearest = apart.argmin(axis=1)
    near: Bools = apart < NEAR * typical_best_match(
        features, nearest, matching=matching, threads=threads
    )
    return near


def thumbnail(prepared: Any, /) -> Float32:
    """Return a small grey picture with mean 0 and deviation 1, so that light does not matter.

    Parameters
    ----------
    prepared : array, shape (3, S, S) or (T, 3, S, S), float32
        As the network sees it, in one tile or in several.

    Returns
    -------
    array, shape (Q,), float32
        Means of squares of pixels, `THUMBNAIL` or more to a side. Zeros for an even picture.
    """
    grey = np.asarray(to_host(prepared), np.float64).mean(axis=-3)
    step = max(1, grey.shape[-1] // THUMBNAIL)
    side = grey.shape[-1] // step
    cut = grey[..., : side * step, : side * step]
    small = cut.reshape(-1, side, step, side, step).mean(axis=(2, 4)).ravel()
    small -= small.mean()
    small /= max(float(small.std()), 1e-6)
    return np.asarray(small, np.float32)


def thumbnail_distances(thumbnails: Float32) -> Float64:
    """Return how far each two thumbnails (N, Q) are: root of the mean square, inf on the diagonal.

    Returns
    -------
    array, shape (N, N), float64
    """
    rows = thumbnails.astype(np.float64)
    squares = (rows**2).sum(axis=1)
    apart: Float64 = np.sqrt(
        np.maximum(squares[:, None] + squares - 2 * rows @ rows.T, 0) / rows.shape[1]
    )
    np.fill_diagonal(apart, np.inf)
    return apart


def typical_nearest(apart: Float64) -> float:
    """Return how far a usual picture is from the most similar one that may not be its copy.

    The median over pictures. An image and the one that is nearest to it are left out.
    """
    nearest, numbers = apart.argmin(axis=1), np.arange(len(apart))
    others = apart.copy()
    others[numbers, nearest] = others[nearest, numbers] = np.inf
    return float(np.median(others.min(axis=1)))


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
