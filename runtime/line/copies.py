"""Which frames enter the window: not the same part seen again and again.

A stopped belt would fill the window with copies of one part, and its defect would vouch for
itself. A copy is told by its places: patch by patch it lies far nearer to one recent frame than
its patches lie to their best matches anywhere, which even parts from one mould do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from zeroline.runtime.arrays import array_namespace, to_host

#: A frame is a copy when its patches lie, in the median, nearer than this share of a typical
#: match to the same places of a recent frame.
COPY_SHARE = 0.5
#: Nearer than this is a copy, whatever is typical: the least distance that sensors' noise leaves.
COPY_DISTANCE = 0.02


def place_distances(
    features: Sequence[Any], others: Sequence[Sequence[Any]]
) -> npt.NDArray[np.float32]:
    """Return the median distance of patches at the same place, to each of some other frames.

    Parameters
    ----------
    features : sequence of arrays, shape (P, C), float32
        Unit rows, by scale.
    others : sequence of such sequences
        On the same device; float16 will do.

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


def is_copy(distance: float, typical: float | None) -> bool:
    """Tell whether a frame at that distance of a recent one is a copy of it.

    Parameters
    ----------
    distance : float
        From `place_distances`.
    typical : float or None
        Median patch score of the frame against the window without its likely original; None
        where there is none yet.
    """
    return distance < max(COPY_DISTANCE, COPY_SHARE * (typical or 0.0))
