"""Each place's own level: what a place of the part usually scores.

*Ours* (docs/algorithms.md, *Level of a place*). Edges, engraving and grain never match as well as
plain surface. Where all images show the part in one pose, a place's median over the images is its
level, and what lies over it is unusual there.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zeroline.runtime.arrays import Bools, array_namespace

#: Parts are in one pose while none is turned farther from the middle of all turns, in degrees:
#: light that does not turn with the part changes a place's level. Measured up to 15° either way,
#: and the two or three of a guide rail.
MOST_TURN = 18.0


def place_levels(patch_scores: Any, /, *, absent: Bools | None = None) -> Any:
    """Return the usual score of each place.

    Parameters
    ----------
    patch_scores : array, shape (N, P), float32
    absent : array, shape (N, P), bool, optional
        Patches that show no part: they tell nothing about their place.

    Returns
    -------
    array, shape (P,), float32
        Medians over the images; 0 where no image shows the part.

    Examples
    --------
    >>> import numpy as np
    >>> place_levels(np.array([[1.0, 4.0], [2.0, 4.0], [9.0, 5.0]], np.float32)).tolist()
    [2.0, 4.0]
    """
    xp = array_namespace(patch_scores)
    if absent is None or not absent.any():
        return xp.median(patch_scores, axis=0).astype(xp.float32)
    shown = xp.where(xp.asarray(absent), xp.nan, patch_scores)
    nowhere = xp.asarray(absent.all(axis=0))
    shown[:, nowhere] = 0
    return xp.nanmedian(shown, axis=0).astype(xp.float32)


def less_level(patch_scores: Any, level: Any, /, *, absent: Bools | None = None) -> Any:
    """Return scores (N, P) less their places' levels (P,); 0 where an image shows no part."""
    xp = array_namespace(patch_scores)
    scores = patch_scores - level
    return scores if absent is None else xp.where(xp.asarray(absent), xp.float32(0), scores)


def in_one_pose(turns: Any, /) -> bool:
    """Tell whether parts that are turned by so many degrees are in one pose, near enough.

    Examples
    --------
    >>> in_one_pose([170, -170, 180]), in_one_pose([0, 40])
    (True, False)
    """
    angles = np.radians(np.asarray(turns, np.float64))
    if not angles.size:
        return True
    mean = np.arctan2(np.sin(angles).mean(), np.cos(angles).mean())
    away = (angles - mean + np.pi) % (2 * np.pi) - np.pi
    return bool(np.degrees(np.ptp(away) / 2) <= MOST_TURN)
