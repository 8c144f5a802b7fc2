"""Which way of matching is the quickest on this machine: a short measurement answers."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

import numpy as np

from zeroline.runtime.arrays import to_host
from zeroline.runtime.compiled import compiled_loops
from zeroline.runtime.cuda import installed_cupy, working_cupy
from zeroline.runtime.matching.bank import ON_CUDA, checked_precision, make_bank, screens
from zeroline.runtime.matching.screens import MOST_PATCHES
from zeroline.runtime.matching.tiles import tile_shape
from zeroline.runtime.workers import single_threaded_blas

#: A screen must take less than this part of the exact way's time to be chosen.
WORTHWHILE = 0.8
#: Slots of a measurement on CUDA: enough to fill a device.
_CUDA_SLOTS = 16


def scoring_arrays(precision: str, device: str) -> Any:
    """Return the array library that scoring shall use.

    Parameters
    ----------
    precision : str
        "fp16" and its forms need CuPy; "auto" takes it where it is, if the network runs on CUDA.
    device : str
        Where the network runs: "cpu", "cuda" or "tensorrt".

    Returns
    -------
    module
        CuPy or NumPy.

    Raises
    ------
    MissingExtraError, DeviceError
        If "fp16" is wanted and CuPy is not there, or does not work.
    """
    if precision == "fp16" or precision in ON_CUDA:
        return working_cupy()
    if precision == "auto" and device != "cpu" and installed_cupy() is not None:
        return working_cupy()
    return np


def chosen_precision(wanted: str, *, patches: int, channels: tuple[int, ...], xp: Any = np) -> str:
    """Return the form of matching to use: a name for `make_bank`.

    Parameters
    ----------
    wanted : str
        "auto": on the CPU a screen where it takes less than 0.8 of the exact way's time, else
        "fp32"; on CUDA as "fp16". "screened" and "fp16": the quicker one of both forms. Others
        are returned as they are.
    patches : int
    channels : tuple of int
        Of each layer.
    xp : module
        NumPy or CuPy.

    Raises
    ------
    ScoringError
        For a precision that there is not, or not here.

    Notes
    -----
    Measured with drawn features on one thread, once in a process for each shape: a tenth of a
    second or so. Two runs may choose differently where both ways take about the same time.
    """
    cuda = xp is not np
    if wanted != "auto":
        checked_precision(wanted, patches=patches, cuda=cuda)
    elif cuda:
        wanted = "fp16"
    elif compiled_loops() is None or patches > MOST_PATCHES:
        wanted = "fp32"
    forms = {"auto": screens(), "screened": screens(), "fp16": ON_CUDA}.get(wanted)
    if forms is None:
        return wanted
    seconds = {form: match_seconds(form, patches, channels, xp) for form in forms}
    quickest = min(seconds, key=lambda form: seconds[form])
    if wanted == "auto":
        exact = match_seconds("fp32", patches, channels, xp)
        return quickest if seconds[quickest] < WORTHWHILE * exact else "fp32"
    return quickest


@lru_cache(maxsize=64)
def match_seconds(precision: str, patches: int, channels: tuple[int, ...], xp: Any) -> float:
    """Return the seconds that one frame and one slot take on one thread, all layers together."""
    total = 0.0
    slots = tile_shape(patches)[1] if xp is np else _CUDA_SLOTS
    nothing = np.zeros(patches, bool)
    with single_threaded_blas():
        for count in channels:
            rng = np.random.default_rng(0)
            bank = make_bank(precision, slots, patches, count, xp=xp)
            drawn = rng.standard_normal((slots + 1, patches, count), dtype=np.float32)
            drawn /= np.linalg.norm(drawn, axis=2, keepdims=True)
            features = xp.asarray(drawn)
            for slot in range(slots):
                bank.put(slot, features[slot], nothing)
            rows, columns = (xp.empty((slots, patches), np.float32) for _ in range(2))
            query = bank.query(features[slots], nothing)  # once for a whole window: not counted
            laps = []
            for _ in range(4):
                began = time.perf_counter()
                bank.minima(query, 0, slots, rows, columns)
                to_host(columns[:1, :1])  # waits for the device
                laps.append(time.perf_counter() - began)
            total += min(laps[1:]) / slots
    return total
