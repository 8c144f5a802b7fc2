"""The square grid behind a row of patch tokens, and the patches of it that count."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from zeroline.runtime.arrays import Bools, array_namespace
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


def on_grid(values: Any, roi: Bools) -> Any:
    """Return values (N, P') of the patches that count as values (N, P); 0 for the others.

    Parameters
    ----------
    values : array, shape (N, P'), any type
    roi : array, shape (P,), bool
        Patches that count, P' of them.
    """
    xp = array_namespace(values)
    placed = xp.zeros((len(values), roi.size), values.dtype)
    placed[:, xp.asarray(np.flatnonzero(roi))] = values
    return placed


def both(one: Bools | None, other: Bools | None) -> Bools | None:
    """Return which patches (P,) count by two rules; None is a rule by which all do."""
    if one is None or other is None:
        return one if other is None else other
    return np.asarray(one, bool).reshape(-1) & other


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
