"""What a search of a window looks at: its smallest degree, and with fused degrees degree 1 as well.

The search sees all frames as if nothing were marked, so that it can find a known defect again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from zeroline.runtime.arrays import Bools, Float32, array_namespace, to_host
from zeroline.runtime.line.finest import SearchTable
from zeroline.runtime.line.search import Search
from zeroline.runtime.line.slots import Slots
from zeroline.runtime.line.window import Window
from zeroline.runtime.matching.distances import distances_by
from zeroline.runtime.matching.forms import FORMS
from zeroline.runtime.recurring.codegraph import CodegraphResult, codegraph
from zeroline.runtime.recurring.marking import usual_gap
from zeroline.runtime.recurring.scales import codegraph_at_both_scales
from zeroline.runtime.stages.lnamd import lnamd


def window_search(
    window: Window,
    slots: Slots,
    places: Sequence[int],
    *,
    rate: float,
    roi: Bools,
    known: Sequence[npt.NDArray[np.intp]],
) -> Search:
    """Take from a window what a search needs, and return the search, for a thread of its own.

    Parameters
    ----------
    window : Window
    slots : Slots
        The frames in it.
    places : sequence of int
        Those that the search sees.
    rate : float
        Its false-alarm rate.
    roi : array, shape (P,), bool
        Patches that count.
    known : sequence of arrays of int
        Members of known defects, by their order in `places`.
    """
    taken = SearchTable.of(window, places)
    options: dict[str, Any] = {"false_alarm_rate": rate, "roi": roi, "known": known}
    if not isinstance(window.shape.degrees, str):

        def search() -> tuple[CodegraphResult, Sequence[float]]:
            result = codegraph(taken.whole(), **options)
            return result, [community.evidence.gap for community in result.communities]

        return search
    layers = _layers(slots, places)
    ignored = np.stack([window.ignored[place] & ~window.marked(place) for place in places])
    absent = [slots[place].absent for place in places]
    form = window.shape.form

    def search_in_degree_one_too() -> tuple[CodegraphResult, Sequence[float]]:
        fused = taken.whole()
        finest = degree_one(layers, form=form, roi=roi, ignored=ignored)
        for rows, away in zip(finest, absent, strict=True):
            if away is not None:
                rows[away[roi]] = 0
        finest[np.broadcast_to(~np.isfinite(fused[:, :1]), finest.shape)] = np.inf
        # the tracker widens the communities' own marks, on the whole grid
        result = codegraph_at_both_scales(finest, fused, blur=0, **options)
        gaps = [usual_gap(fused, c.members, c.marks) for c in result.communities]
        return result, gaps

    return search_in_degree_one_too


def _layers(slots: Slots, places: Sequence[int]) -> list[list[Any]]:
    """Return the tokens of some frames, each (1, P, C_l), by layer."""
    tokens = [slots[place].tokens for place in places]
    return [[t.layers[layer] for t in tokens] for layer in range(len(tokens[0].layers))]


def degree_one(
    layers: Sequence[Sequence[Any]], *, form: str, roi: Bools, ignored: Bools
) -> Float32:
    """Return the distances among n frames in degree 1, the mean over layers.

    Parameters
    ----------
    layers : sequence of sequences of arrays, shape (1, P, C_l)
        Tokens by layer and frame.
    form : str
        The form of matching.
    roi : array, shape (P,), bool
        Patches that count.
    ignored : array, shape (n, P'), bool
        Patches that nobody may match.

    Returns
    -------
    array, shape (n, P', n), float32
        On the host.
    """
    total = None
    for frames in layers:
        xp = array_namespace(frames[0])
        counted = xp.asarray(np.flatnonzero(roi))
        features = xp.concatenate([lnamd(frame, degree=1)[:, counted] for frame in frames])
        distances = to_host(
            distances_by(
                FORMS[form],
                features,
                ignore=xp.asarray(ignored),
                groups=None,
                threads=1,
                progress=None,
            )
        )
        total = distances if total is None else total + distances
    assert total is not None  # noqa: S101 - a window has layers
    mean: Float32 = np.ascontiguousarray(total / np.float32(len(layers)))
    return mean
