"""Which way of matching is the quickest on this machine: a short measurement answers."""

from __future__ import annotations

import time
from functools import lru_cache

import numpy as np

from zeroline.runtime.compiled import compiled_loops
from zeroline.runtime.ring import SCREENED, make_ring
from zeroline.runtime.screening import MOST_PATCHES
from zeroline.runtime.tiles import tile_shape
from zeroline.runtime.workers import single_threaded_blas

#: A screen must take less than this part of the exact way's time to be chosen.
WORTHWHILE = 0.8


def chosen_precision(wanted: str, *, patches: int, channels: tuple[int, ...]) -> str:
    """Return "fp32", "screened-pca" or "screened-int8".

    Parameters
    ----------
    wanted : str
        "auto": a screen where it takes less than 0.8 of the exact way's time, else "fp32";
        "screened": the quicker one of both screens; others are returned as they are.
    patches : int
    channels : tuple of int
        Of each layer.

    Notes
    -----
    Measured with drawn features on one thread, once in a process for each shape: a tenth of a
    second or so. Two runs may choose differently where both ways take about the same time.
    """
    if wanted == "screened":
        return min(SCREENED, key=lambda form: match_seconds(form, patches, channels))
    if wanted != "auto":
        return wanted
    if compiled_loops() is None or patches > MOST_PATCHES:
        return "fp32"
    quickest = chosen_precision("screened", patches=patches, channels=channels)
    exact = match_seconds("fp32", patches, channels)
    return quickest if match_seconds(quickest, patches, channels) < WORTHWHILE * exact else "fp32"


@lru_cache(maxsize=64)
def match_seconds(precision: str, patches: int, channels: tuple[int, ...]) -> float:
    """Return the seconds that one frame and one slot take on one thread, all layers together."""
    total = 0.0
    with single_threaded_blas():
        for count in channels:
            rng = np.random.default_rng(0)
            ring = make_ring(precision, slots := tile_shape(patches)[1], patches, count)
            drawn = rng.standard_normal((slots + 1, patches, count), dtype=np.float32)
            drawn /= np.linalg.norm(drawn, axis=2, keepdims=True)
            nothing = np.zeros(patches, bool)
            for slot in range(slots):
                ring.put(slot, drawn[slot], nothing)
            rows, columns = np.empty((2, slots, patches), np.float32)
            laps = []
            for _ in range(4):
                began = time.perf_counter()
                ring.minima(ring.side(drawn[slots], nothing), 0, slots, rows, columns)
                laps.append(time.perf_counter() - began)
            total += min(laps[1:]) / slots
    return total
