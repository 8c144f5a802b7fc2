"""Assertion 3: the keys of fused_keys tell the least distance of a plain search in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
from benchmarks.gpu_check.drawn import filled_units
from benchmarks.gpu_check.findings import Findings
from benchmarks.gpu_check.sizes import Sizes

from zeroline.runtime.matching.screens import NO_KEY, index_bits
from zeroline.runtime.matching.units import IGNORED_KEY

#: Part of a value that a key may be off, half a step of 1,369 patches' keys and more.
RELATIVE = 2.5e-4
#: And the rounding of sums of halves.
ABSOLUTE = 2e-5
_UNTOUCHED = 7


def keys(cupy: Any, sizes: Sizes, found: Findings) -> None:
    """Compare all cases; slots that are empty, hidden, and of the frame's own part among them."""
    worst, cases = 0.0, 0
    for patches in sizes.patches:
        for channels in sizes.channels:
            off, wrong = _case(cupy, patches, channels)
            worst, cases = max(worst, off), cases + 1
            found.hold(off <= 1, f"P {patches}, C {channels}: off by {off:.2g} of what is allowed")
            for failure in wrong:
                found.failures.append(f"P {patches}, C {channels}: {failure}")
    found.row(f"{cases} cases of patches and channels", f"worst {worst:.2f} of what is allowed")


def _case(cupy: Any, patches: int, channels: int) -> tuple[float, list[str]]:
    """Return the worst error, in parts of what is allowed, and what else is wrong."""
    units, sides, marks = filled_units(cupy, patches, channels)
    shape = 1, units.slots, patches
    row_keys = cupy.full(shape, _UNTOUCHED, dtype=cupy.int32)
    column_keys = cupy.full(shape, NO_KEY, dtype=cupy.int32)
    units.kernels.fused_keys(
        (sides.rows, sides.half_norms, sides.codes, units.rows, units._half_norms, units._codes),
        units.table, marks.reachable, units.slots, patches, patches, units._margin,
        row_keys, column_keys,
    )  # fmt: skip
    found = row_keys.get()[0], column_keys.get()[0]
    frame = sides.rows.get().reshape(patches, -1).astype(np.float64)
    bank = units.rows.get().reshape(units.slots, patches, -1).astype(np.float64)
    hidden = sides.codes.get() >= IGNORED_KEY
    hidden_there = units._codes.get()[0] >= IGNORED_KEY
    wrong, worst = [], 0.0
    for slot, reachable in enumerate(marks.reachable.get().tolist()):
        rows, columns = (keys[slot] for keys in found)
        if not reachable:
            if (rows != _UNTOUCHED).any() or (columns != NO_KEY).any():
                wrong.append(f"slot {slot} is out of reach and was written")
            continue
        squares = _half_squares(frame, bank[slot])
        for direction, keys, table, away in (
            ("rows", rows, squares, hidden_there[slot]),
            ("columns", columns, squares.T, hidden),
        ):
            off, failure = _compared(keys, table, away, units._margin)
            worst = max(worst, off)
            if failure:
                wrong.append(f"{direction} of slot {slot}: {failure}")
    return worst, wrong


def _half_squares(frame: Any, other: Any) -> Any:
    """Return ½‖x - y‖² of all pairs, (P, P), float64."""
    norms = (np.square(rows).sum(axis=1) / 2 for rows in (frame, other))
    mine, theirs = norms
    return np.maximum(mine[:, None] + theirs - frame @ other.T, 0)


def _compared(keys: Any, table: Any, away: Any, margin: float) -> tuple[float, str]:
    """Hold keys against a table (P, P) whose columns `away` nobody may match."""
    if (keys < 0).any():
        return 0.0, "a key is negative"
    if away.all():
        return 0.0, "" if (keys >= IGNORED_KEY).all() else "a hidden patch is matched"
    if (keys >= IGNORED_KEY).any():
        return 0.0, "no patch is found where there are some"
    mask = -(1 << index_bits(len(table)))
    named = keys & ~np.int32(mask)
    if (named >= len(table)).any():
        return 0.0, "a key names no patch"
    if away[named].any():
        return 0.0, "a key names a hidden patch"
    middle = (keys & np.int32(mask)) | np.int32(-mask >> 1)
    values = middle.astype(np.int32).view(np.float32).astype(np.float64) - margin
    least = np.where(away, np.inf, table).min(axis=1)
    allowed = RELATIVE * (least + margin) + ABSOLUTE
    off = np.abs(values - least) / allowed
    # what the key names may be another patch that is as near
    off_named = (table[np.arange(len(table)), named] - least) / (2 * allowed)
    return float(max(off.max(), off_named.max())), ""
