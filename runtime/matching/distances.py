"""Match distances between images, as MSM defines them (MuSc §3.3, docs/algorithms.md)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from zeroline.runtime.arrays import Array, ArrayT, array_namespace, as_float32, to_host
from zeroline.runtime.errors import ScoringError
from zeroline.runtime.matching.forms import MatchingForm, pick_form
from zeroline.runtime.matching.operand import mark_unmatched
from zeroline.runtime.workers import run_in_threads


def match_distances(
    features: ArrayT,
    /,
    *,
    ignore: Array | None = None,
    groups: Array | Sequence[int] | None = None,
    matching: str = "exact",
    threads: int | None = 1,
    progress: Callable[[int], None] | None = None,
) -> ArrayT:
    """Find, for every patch of every image, its distance to every other image.

    ``d[i, p, j] = min over q of ‖F_i[p] - F_j[q]‖₂`` for j ≠ i.

    Parameters
    ----------
    features : array, shape (N, P, C), float
        Unit rows, as `lnamd` gives them; zero rows are allowed.
    ignore : array, shape (N, P), bool, optional
        Patches that nobody may match. Their own distances are still found.
    groups : array, shape (N,), optional
        Images that carry the same value do not match each other.
    matching : {"exact", "fast"}
        "exact": every neighbour by float32 products. "fast": the quickest form here, by a short
        measurement; it may be the exact one (`matching.forms`).
    threads : int or None
        Worker threads on the CPU; None takes all cores.
    progress : callable, optional
        Called with 1 after each of the N images, from the thread that finished it.

    Returns
    -------
    array, shape (N, P, N), float32
        Distances from 0 to 2; inf on the diagonal, within a group, and where image j has
        only ignored patches. On the device of `features`; not contiguous (patches vary
        fastest in memory).

    Raises
    ------
    ScoringError
        For fewer than two images, another word for `matching`, shapes that do not fit, or
        features that hold NaN or inf (an integer minimum would pass over them in silence).

    Notes
    -----
    Each unordered pair of images is multiplied once; row minima serve one image and column
    minima the other. Distances under 0.2 are computed anew as ‖x - y‖, since ½‖x‖² + ½‖y‖² - x·y
    cancels. Errors against float64: 3e-7 is usual, 3e-6 the largest seen, just above 0.2 on
    rows of nearly equal entries.

    Memory: 4·N²·P bytes for the result and N²·P for marks on it, 4·N·P·(C + 2) for the operand;
    for each thread 4·P·(C + 2) and a tile of about 1.25 MB (more only where 128·P·4 is more).
    The plain form (CuPy, or no numba) holds three tiles of up to max(2²⁴, P²)·4 bytes instead.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.eye(2, dtype=np.float32)[None].repeat(2, axis=0)
    >>> match_distances(rows)[0]
    array([[inf,  0.],
           [inf,  0.]], dtype=float32)
    """
    array = as_float32(features, name="features", ndim=3)
    _, patches, channels = array.shape
    if patches == 0 or channels == 0:
        raise ScoringError(
            f"features have {patches} patches and {channels} channels, "
            "at least 1 of each is expected"
        )
    form = pick_form(matching, patches=patches, channels=(channels,), xp=array_namespace(array))
    distances: ArrayT = distances_by(
        form, array, ignore=ignore, groups=groups, threads=threads, progress=progress
    )
    return distances


def distances_by(
    form: MatchingForm,
    features: Any,
    /,
    *,
    ignore: Any,
    groups: Any,
    threads: int | None,
    progress: Callable[[int], None] | None,
) -> Any:
    """Find match distances by one form; see `match_distances`."""
    xp = array_namespace(features)
    images, patches, _ = features.shape
    if images < 2:
        raise ScoringError(f"{images} image(s): mutual scoring needs at least 2")
    ignore = _checked(ignore, name="ignore", shape=(images, patches), xp=xp)
    if ignore is not None:
        ignore = ignore.astype(bool)
    groups = _checked(groups, name="groups", shape=(images,), xp=xp)
    half_squared = _half_squared(form, features, ignore, groups, threads=threads, progress=progress)
    distances = xp.sqrt(xp.maximum(half_squared, 0, out=half_squared), out=half_squared)
    distances *= xp.float32(2**0.5)
    return distances.transpose(0, 2, 1)


def _half_squared(
    form: MatchingForm,
    features: Any,
    ignore: Any,
    groups: Any,
    *,
    threads: int | None,
    progress: Callable[[int], None] | None,
) -> Any:
    """Return ½‖x - y‖² of the best matches, shape (N, N, P), as [image, other image, patch].

    Each image against those after it: row minima serve one of them, column minima the other.
    """
    xp = array_namespace(features)
    images, patches, _ = features.shape
    features = xp.ascontiguousarray(features)
    half_squared = xp.empty((images, images, patches), dtype=xp.float32)
    nothing = xp.zeros(patches, dtype=bool)
    bank = form.bank.holding(features, ignore)
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


def _checked(array: Any, *, name: str, shape: tuple[int, ...], xp: Any) -> Any:
    """Return an optional per-image array, or refuse its shape."""
    if array is None:
        return None
    array = xp.asarray(array)
    if array.shape != shape:
        raise ScoringError(f"{name} has shape {tuple(array.shape)}, {shape} is expected")
    return array
