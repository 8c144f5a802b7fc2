"""Units with drawn frames, and the keys of a plain search in them."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from zeroline.runtime.matching.units import CudaUnits, Sides

NO_KEY = np.int32(0x7FFFFFFF)


def filled_units(cupy, channels, tiles, slots, *, seed, all_reachable=False):
    """Units whose slots are filled, a frame's sides, and marks; a third of patches is ignored."""
    rng = np.random.default_rng(seed)
    ends = np.cumsum([0, *tiles]).tolist()
    parts = [slice(start, stop) for start, stop in pairwise(ends)]
    units = CudaUnits(slots, channels, parts, cupy=cupy)

    def frame(reachable):
        features = []
        for count in channels:
            rows = rng.standard_normal((ends[-1], count)) + 1
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            rows[rng.random(ends[-1]) < 0.05] = 0
            features.append(cupy.asarray(rows.astype(np.float32)))
        marks = units.marks(rng.random(ends[-1]) < 0.3, reachable)
        return Sides(*units.rounded(features), marks.codes), marks

    reachable = np.ones(slots, bool)
    for slot in range(slots):
        units.put(slot, frame(reachable)[0])
    if slots > 1 and not all_reachable:
        reachable[0] = False
    sides, marks = frame(reachable)
    return units, sides, marks


def plain_keys(units, sides, marks):
    """Row and column keys (S, W, P), by loops; 7 and NO_KEY where nothing is to be written."""
    shape = units.scales, units.slots, units.patches
    row_keys, column_keys = np.full(shape, 7, np.int32), np.full(shape, NO_KEY)
    frame, bank = sides.rows.get().astype(np.float32), units.rows.get().astype(np.float32)
    half_mine, half_held = sides.half_norms.get(), units._half_norms.get()
    my_codes, codes = sides.codes.get(), units._codes.get()
    for scale, start, held, depth, first, size, mask in units.table.get().tolist():
        place = slice(first, first + size)
        x = frame[start : start + units.patches * depth].reshape(-1, depth)[place]
        whole = bank[held : held + units.slots * units.patches * depth]
        for slot in np.flatnonzero(marks.reachable.get()):
            y = whole.reshape(units.slots, -1, depth)[slot, place]
            sums = np.zeros((size, size), np.float32)
            for channel in range(depth):
                sums += np.multiply.outer(x[:, channel], y[:, channel])
            half = half_mine[scale, place] + np.float32(units._margin)
            values = half[:, None] + (half_held[scale, slot, place] - sums)
            bits = values.view(np.int32) & np.int32(mask)
            row_keys[scale, slot, place] = (bits | codes[scale, slot, place]).min(axis=1)
            column_keys[scale, slot, place] = (bits | my_codes[place, None]).min(axis=0)
    return row_keys, column_keys
