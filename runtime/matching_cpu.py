"""Match distances of a set on the CPU: each image against those after it, on a ring of all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from zeroline.runtime.matching_operand import mark_unmatched
from zeroline.runtime.ring import SCREENED, Ring
from zeroline.runtime.ring_exact import ExactRing
from zeroline.runtime.ring_screened import ScreenedRing
from zeroline.runtime.workers import run_in_threads

Float32 = npt.NDArray[np.float32]


def half_squared_distances(
    features: Float32,
    ignore: npt.NDArray[np.bool_] | None,
    groups: npt.NDArray[Any] | None,
    *,
    precision: str,
    threads: int | None,
    progress: Callable[[int], None] | None = None,
) -> Float32:
    """Return ½‖x - y‖² of the best matches, shape (N, N, P), as [image, other image, patch].

    One product for each pair of images: its row minima serve one of them, its column minima the
    other.
    """
    images, patches, _ = features.shape
    features = np.ascontiguousarray(features)
    half_squared = np.empty((images, images, patches), dtype=np.float32)
    ring: Ring = (
        ScreenedRing.filled(features, ignore, form=precision)
        if precision in SCREENED
        else ExactRing(features, ignore)
    )
    nothing = np.zeros(patches, bool)

    def match_image(i: int) -> None:
        side = ring.side(features[i], nothing if ignore is None else ignore[i])
        for start in range(i + 1, images, ring.block):
            stop = min(start + ring.block, images)
            if groups is not None and (groups[start:stop] == groups[i]).all():
                continue
            columns = np.empty((stop - start, patches), np.float32)
            ring.minima(side, start, stop, half_squared[i, start:stop], columns)
            half_squared[start:stop, i] = columns
        if progress is not None:
            progress(1)

    run_in_threads(match_image, range(images), threads=threads, blas=True)
    mark_unmatched(half_squared, groups)
    return half_squared
