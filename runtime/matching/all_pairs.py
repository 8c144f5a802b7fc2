"""Match distances of a set: each image against those after it, on a bank of all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from zeroline.runtime.arrays import array_namespace, to_host
from zeroline.runtime.matching.bank import ON_CUDA, SCREENED, FeatureBank, make_bank
from zeroline.runtime.matching.exact import ExactBank
from zeroline.runtime.matching.operand import check_finite, mark_unmatched
from zeroline.runtime.matching.screened import ScreenedBank
from zeroline.runtime.workers import run_in_threads


def half_squared_distances(
    features: Any,
    ignore: Any,
    groups: Any,
    *,
    precision: str,
    threads: int | None,
    progress: Callable[[int], None] | None = None,
) -> Any:
    """Return ½‖x - y‖² of the best matches, shape (N, N, P), as [image, other image, patch].

    One product for each pair of images: its row minima serve one of them, its column minima the
    other.
    """
    xp = array_namespace(features)
    images, patches, _ = features.shape
    features = xp.ascontiguousarray(features)
    half_squared = xp.empty((images, images, patches), dtype=xp.float32)
    nothing = xp.zeros(patches, dtype=bool)
    bank = _bank_of(features, ignore, precision)
    labels = None if groups is None else to_host(groups)

    def match_image(i: int) -> None:
        query = bank.query(features[i], nothing if ignore is None else ignore[i])
        for start in range(i + 1, images, bank.block):
            stop = min(start + bank.block, images)
            if labels is not None and (labels[start:stop] == labels[i]).all():
                continue
            columns = xp.empty((stop - start, patches), dtype=xp.float32)
            bank.minima(query, start, stop, half_squared[i, start:stop], columns)
            half_squared[start:stop, i] = columns
        if progress is not None:
            progress(1)

    run_in_threads(match_image, range(images), threads=threads if xp is np else 1, blas=xp is np)
    mark_unmatched(half_squared, groups)
    return half_squared


def _bank_of(features: Any, ignore: Any, precision: str) -> FeatureBank:
    """Return a bank that holds all images."""
    if precision in SCREENED:
        return ScreenedBank.filled(features, ignore, form=precision)
    if precision not in ON_CUDA:
        return ExactBank(features, ignore)
    xp = array_namespace(features)
    images, patches, channels = features.shape
    bank = make_bank(precision, images, patches, channels, xp=xp)
    nothing = xp.zeros(patches, dtype=bool)
    for image in range(images):
        check_finite(features[image], image=image)
        bank.put(image, features[image], nothing if ignore is None else ignore[image])
    return bank
