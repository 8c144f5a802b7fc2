"""Whether the images of a group have their defect at one place.

A stuck tool or a scratched mould marks one place. Random defects of one kind look alike as well:
two dents, two stains. They lie anywhere, so that look-alikes at one place are hardly ever chance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zeroline.runtime.arrays import Bools, Float32
from zeroline.runtime.grid import grid_side
from zeroline.runtime.recurring import constants


@dataclass(frozen=True)
class WorstPlaces:
    """Where the images of a group have the patch of the widest gap.

    Attributes
    ----------
    agreement : float
        Share of ordered pairs of images that have it at one place, 0 to 1.
    at_border : float
        Share of images that have it in the outermost row or column of the grid, 0 to 1.
    """

    agreement: float
    at_border: float


def worst_places(gap: Float32, relevant: Bools, *, roi: Bools | None) -> WorstPlaces:
    """Compare the worst places of a group's images.

    Image i agrees with image j where i's patch of the widest gap lies in j's outline, or beside it.
    The outline is made of the patches with at least half of the image's widest gap. Images without
    a patch that matters agree with none.

    Parameters
    ----------
    gap : array, shape (images, P'), float32
        See `evidence.gaps`.
    relevant : array, shape (images, P'), bool
        Patches that matter.
    roi : array, shape (P,), bool, or None
        Which patches of the grid the P' are; None: all.
    """
    images = len(gap)
    counted = np.arange(gap.shape[1]) if roi is None else np.flatnonzero(roi)
    side = grid_side(gap.shape[1] if roi is None else roi.size)
    row, column = counted // side, counted % side
    weighed = np.where(relevant, gap, -np.inf)
    worst = weighed.argmax(axis=1)
    widest = weighed[np.arange(images), worst]
    known = np.isfinite(widest)
    outermost = np.isin(row[worst], (0, side - 1)) | np.isin(column[worst], (0, side - 1))
    agree = 0
    for other in np.flatnonzero(known).tolist():
        least = max(constants.HEIGHT * float(widest[other]), constants.TINY)
        outline = np.flatnonzero(weighed[other] >= least)
        away = np.maximum(
            np.abs(row[worst][:, None] - row[outline]),
            np.abs(column[worst][:, None] - column[outline]),
        )
        beside = known & (away <= constants.BESIDE).any(axis=1)
        agree += int(beside.sum()) - int(beside[other])
    return WorstPlaces(
        agreement=agree / max(images * (images - 1), 1),
        at_border=float((known & outermost).mean()) if images else 0.0,
    )
