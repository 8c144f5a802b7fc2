"""The neighbourhoods of LNAMD: each matched by itself, as MuSc does, or fused to one.

Fused is ours, not MuSc's: z = L2norm(Σ_r L2norm(mean over r × r)), with r = 1, 3, 5. One match
instead of three, and a third of the memory (docs/algorithms.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias

from zeroline.runtime.arrays import array_namespace
from zeroline.runtime.errors import ScoringError
from zeroline.runtime.stages.lnamd import lnamd

FUSED = "fused"
#: Neighbourhoods that are fused.
FUSED_DEGREES = (1, 3, 5)

#: Odd numbers, or "fused".
Degrees: TypeAlias = "Sequence[int] | str"


def match_count(degrees: Degrees) -> int:
    """Return how many matches a layer needs.

    Raises
    ------
    ScoringError
        For an empty sequence, or another word than "fused".
    """
    if isinstance(degrees, str):
        if degrees != FUSED:
            raise ScoringError(f'degrees is "{degrees}", odd numbers or "{FUSED}" are expected')
        return 1
    if not degrees:
        raise ScoringError("degrees is empty, at least one odd number is expected")
    return len(degrees)


def finest_degree(degrees: Degrees, /) -> tuple[int, int]:
    """Return which match is of the smallest degree, and how much farther the largest one sees.

    Parameters
    ----------
    degrees : sequence of odd int, or "fused"

    Returns
    -------
    place : int
        From 0, in the order of `degrees`; of fused degrees the only match.
    blur : int
        So many patches to each side.
    """
    if isinstance(degrees, str):
        return 0, (max(FUSED_DEGREES) - min(FUSED_DEGREES)) // 2
    smallest = min(degrees)
    return list(degrees).index(smallest), (max(degrees) - smallest) // 2


def aggregated(tokens: Any, degrees: Degrees, /, *, threads: int | None = 1) -> Iterator[Any]:
    """Yield the features of one layer, one array for each match.

    Parameters
    ----------
    tokens : array, shape (B, P, C), float
    degrees : sequence of odd int, or "fused"
    threads : int or None
        See `lnamd`.

    Yields
    ------
    array, shape (B, P, C), float32
        Rows of unit length; zero rows stay zero.
    """
    match_count(degrees)
    if isinstance(degrees, str):
        yield fused(tokens, threads=threads)
        return
    for degree in degrees:
        yield lnamd(tokens, degree=degree, threads=threads)


def fused(tokens: Any, /, *, threads: int | None = 1) -> Any:
    """Return one feature per patch for all neighbourhoods; see this module.

    Parameters
    ----------
    tokens : array, shape (B, P, C), float
    threads : int or None
        See `lnamd`.

    Returns
    -------
    array, shape (B, P, C), float32
    """
    xp = array_namespace(tokens)
    total = lnamd(tokens, degree=FUSED_DEGREES[0], threads=threads)
    for degree in FUSED_DEGREES[1:]:
        total += lnamd(tokens, degree=degree, threads=threads)
    norm = xp.sqrt(xp.square(total).sum(axis=2, keepdims=True))
    return total / xp.where(norm > 0, norm, xp.float32(1))
