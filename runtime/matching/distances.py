"""Match distances between images, the heart of MSM (MuSc §3.3, docs/algorithms.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zeroline.runtime.arrays import array_namespace, as_float32, is_cupy
from zeroline.runtime.compiled import compiled_loops
from zeroline.runtime.errors import ScoringError
from zeroline.runtime.matching.bank import checked_precision
from zeroline.runtime.matching.measure import chosen_precision
from zeroline.runtime.matching.plain import match_distances_plain


def match_distances(
    features: Any,
    /,
    *,
    ignore: Any = None,
    groups: Any = None,
    precision: str = "fp32",
    threads: int | None = 1,
    progress: Callable[[int], None] | None = None,
) -> Any:
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
    precision : str
        How neighbours are found (`matching.bank`): "fp32", by the exact product. On the
        CPU also "screened", "screened-pca", "screened-int8": by a cheap product that names a patch
        whose distance is then computed exactly. On CUDA also "fp16", "fp16-fused", "fp16-tiled":
        by a product of float16 with float32 sums. "screened" and "fp16" take the quicker one of
        both their forms, measured once in a process.
    threads : int or None
        Worker threads of the compiled form; None takes all cores.
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
        For fewer than two images, an unknown precision, shapes that do not fit, or features
        that hold NaN or inf (an integer minimum would pass over them in silence).

    Notes
    -----
    Each unordered pair of images is multiplied once; row minima serve one image and column
    minima the other. Distances under 0.2 are computed anew as ‖x - y‖, since ½‖x‖² + ½‖y‖² - x·y
    cancels. Errors against float64: 3e-7 is usual, 3e-6 the largest seen, just above 0.2 on
    rows of nearly equal entries.

    Memory: 4·N²·P bytes for the result and N²·P for marks on it, 4·N·P·(C + 2) for the operand;
    for each thread 4·P·(C + 2) and a tile of about 1.25 MB (more only where 128·P·4 is more).
    The plain form (CuPy, or no numba) holds three tiles of up to max(2²⁴, P²)·4 bytes instead.
    """
    features = as_float32(features, name="features", ndim=3)
    xp = array_namespace(features)
    images, patches, channels = features.shape
    checked_precision(precision, patches=patches, cuda=is_cupy(features))
    if patches == 0 or channels == 0:
        raise ScoringError(
            f"features have {patches} patches and {channels} channels, "
            "at least 1 of each is expected"
        )
    if images < 2:
        raise ScoringError(f"{images} image(s): mutual scoring needs at least 2")
    ignore = _checked(ignore, name="ignore", shape=(images, patches), xp=xp)
    if ignore is not None:
        ignore = ignore.astype(bool)
    groups = _checked(groups, name="groups", shape=(images,), xp=xp)

    if precision == "fp32" and (is_cupy(features) or compiled_loops() is None):
        half_squared = match_distances_plain(features, ignore, groups, progress=progress)
    else:
        from zeroline.runtime.matching.all_pairs import half_squared_distances

        half_squared = half_squared_distances(
            features,
            ignore,
            groups,
            precision=chosen_precision(precision, patches=patches, channels=(channels,), xp=xp),
            threads=threads,
            progress=progress,
        )
    distances = xp.sqrt(xp.maximum(half_squared, 0, out=half_squared), out=half_squared)
    distances *= xp.float32(2**0.5)
    return distances.transpose(0, 2, 1)


def _checked(array: Any, *, name: str, shape: tuple[int, ...], xp: Any) -> Any:
    """Return an optional per-image array, or refuse its shape."""
    if array is None:
        return None
    array = xp.asarray(array)
    if array.shape != shape:
        raise ScoringError(f"{name} has shape {tuple(array.shape)}, {shape} is expected")
    return array
