"""How far a frame is from others at the same places: near copies are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from zeroline.runtime.arrays import Float32, array_namespace, to_host


def place_distances(features: Sequence[Any], others: Iterable[Sequence[Any]]) -> Float32:
    """Return the median distance of patches at the same place, to each of some other frames.

    Parameters
    ----------
    features : sequence of arrays, shape (P, C), float32
        Unit rows, by scale.
    others : iterable of such sequences
        On the same device; float16 will do. Looked at one after the other.

    Returns
    -------
    array, shape (frames,), float32
        On the host. The median is over patches, of the mean over scales.
    """
    xp = array_namespace(features[0])
    medians = []
    for theirs in others:
        total = sum(
            xp.sqrt(xp.square(mine - other.astype(xp.float32, copy=False)).sum(axis=1))
            for mine, other in zip(features, theirs, strict=True)
        )
        medians.append(xp.median(total) / len(features))
    return to_host(xp.stack(medians)).astype(np.float32)
