"""Which frames enter the window: not the same part seen again and again.

A stopped belt would fill the window with copies of one part, and its defect would vouch for
itself. A copy is told by its places: patch by patch it lies far nearer to one recent frame than
its patches lie to their best matches anywhere, which even parts from one mould do not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]

#: A frame is a copy when its patches lie, in the median, nearer than this share of a typical
#: match to the same places of a recent frame.
COPY_SHARE = 0.5
#: Nearer than this is a copy, whatever is typical: the least distance that sensors' noise leaves.
COPY_DISTANCE = 0.02


def place_distance(features: Sequence[Float32], others: Sequence[Float32]) -> float:
    """Return the median distance of patches at the same place of two frames.

    Parameters
    ----------
    features, others : sequences of arrays, shape (P, C), float32
        Unit rows, by unit; the median is over patches, the mean over units.
    """
    distances = [
        np.linalg.norm(mine - theirs, axis=1) for mine, theirs in zip(features, others, strict=True)
    ]
    return float(np.median(np.mean(distances, axis=0)))


def is_copy(distance: float, typical: float | None) -> bool:
    """Tell whether a frame at that distance of a recent one is a copy of it.

    Parameters
    ----------
    distance : float
        From `place_distance`.
    typical : float or None
        Median patch score of the frame against the window without its likely original; None
        where there is none yet.
    """
    return distance < max(COPY_DISTANCE, COPY_SHARE * (typical or 0.0))
