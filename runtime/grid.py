"""The square grid behind a row of patch tokens, and the patches of it that count."""

from __future__ import annotations

import math

import numpy as np

from zeroline.runtime.arrays import Bools
from zeroline.runtime.errors import ScoringError


def grid_side(patches: int) -> int:
    """Return g for P = g·g patches.

    Raises
    ------
    ScoringError
        If `patches` is not the square of a positive whole number.
    """
    side = math.isqrt(max(patches, 0))
    if side == 0 or side * side != patches:
        raise ScoringError(f"{patches} patches do not form a square grid (1, 4, 9, … are allowed)")
    return side


def widened(marks: Bools, *, by: int) -> Bools:
    """Widen marks on patches to squares.

    Parameters
    ----------
    marks : array, shape (N, P), bool
        On the host.
    by : int
        Patches to each side.

    Returns
    -------
    array, shape (N, P), bool
    """
    side = grid_side(marks.shape[1])
    padded = np.pad(marks.reshape(-1, side, side), ((0, 0), (by, by), (by, by)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * by + 1,) * 2, axis=(1, 2))
    wide: Bools = windows.any(axis=(3, 4)).reshape(marks.shape)
    return wide


def counted_patches(roi: Bools | None, patches: int) -> Bools:
    """Return which of P patches count: the region of interest, or all.

    Raises
    ------
    ScoringError
        If the region has another number of patches, or none that counts.
    """
    if roi is None:
        return np.ones(patches, bool)
    roi = np.asarray(roi, bool).reshape(-1)
    if roi.shape != (patches,) or not roi.any():
        raise ScoringError(
            f"roi has {roi.size} patches, {int(roi.sum())} of them set: {patches}, "
            "with at least 1 set, are expected"
        )
    return roi
