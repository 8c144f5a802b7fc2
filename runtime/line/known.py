"""Recurring defects that are known, and how one is recognised in a frame.

A frame is held against the examples of a known defect alone: some hundred patches instead of the
whole window. Only frames that a search has confirmed are examples. Frames that were recognised are
not: one wrong frame would bring others.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zeroline.runtime.arrays import Bools, to_host
from zeroline.runtime.line.finest import Examples, as_if_matched, mean_distances
from zeroline.runtime.recurring.marking import marks_of_newcomer


@dataclass(frozen=True)
class Member:
    """A frame of the window that has a known defect.

    Attributes
    ----------
    place : int
        Its place in the window.
    marks : array, shape (P,), bool
        Where it has the defect.
    examples : Examples
        Its marked patches.
    confirmed : bool
        Whether a search has found it; else it was recognised.
    """

    place: int
    marks: Bools
    examples: Examples
    confirmed: bool


@dataclass
class KnownDefect:
    """A recurring defect that was found; the tracker alone writes here.

    Attributes
    ----------
    number : int
        From 1.
    since : int
        The first frame that is known to have it.
    since_part : str or None
        The name of that frame's part.
    one_place : bool
        See `Evidence.one_place`.
    relevant, gap : float
        See `marks_of_newcomer`.
    found_in : int
        How many frames a search found it in.
    members : dict
        Frames of the window that have it, by place.
    """

    number: int
    since: int
    since_part: str | None
    one_place: bool
    relevant: float
    gap: float
    found_in: int = 0
    members: dict[int, Member] = field(default_factory=dict)

    @property
    def confirmed(self) -> dict[int, Member]:
        """The members that a search has found, by place."""
        return {place: m for place, m in self.members.items() if m.confirmed}


@dataclass(frozen=True)
class Recognition:
    """A known defect in a frame.

    Attributes
    ----------
    defect : KnownDefect
        Which one.
    marks : array, shape (P',), bool
        Where.
    """

    defect: KnownDefect
    marks: Bools


def recognised(
    known: Iterable[KnownDefect],
    features: Sequence[Any],
    half_squared: Sequence[Any],
    *,
    tiles: Sequence[slice],
    but: Sequence[int] = (),
) -> Recognition | None:
    """Hold a frame against known defects; return the first that it looks to have.

    Parameters
    ----------
    known : iterable of KnownDefect
    features : sequence of arrays, shape (P', C_l)
        Of the frame, by layer, of the finest degree.
    half_squared : sequence of arrays, shape (W, P')
        ½d² to each slot, by layer.
    tiles : sequence of slice
        Where each tile's patches stand among the P'.
    but : sequence of int
        Places that do not count, since their frames may have the same defect.
    """
    for defect in known:
        confirmed = defect.confirmed
        examples = {place: member.examples for place, member in confirmed.items()}
        rows = to_host(mean_distances(as_if_matched(features, half_squared, examples, tiles)))
        counted = np.isfinite(rows).all(axis=0)
        counted[list(but)] = False
        counted[[place for place in defect.members if place not in confirmed]] = False
        places = np.flatnonzero(counted)
        members = np.flatnonzero(np.isin(places, list(confirmed)))
        marks = marks_of_newcomer(
            rows[:, places], members, relevant=defect.relevant, gap=defect.gap
        )
        if marks is not None:
            return Recognition(defect, marks)
    return None
