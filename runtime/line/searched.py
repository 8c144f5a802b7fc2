"""What a search of a window looks at: its smallest degree, and with fused degrees degree 1 as well.

The search sees all frames as if nothing were marked, so that it can find a known defect again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from zeroline.runtime.arrays import Bools, Float32, array_namespace, to_host
from zeroline.runtime.grid import Grid
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
    tiles = window.shape.tiles
    options: dict[str, Any] = {
        "false_alarm_rate": rate,
        "roi": roi,
        "tiles": tiles,
        "known": known,
    }
    if not isinstance(window.shape.degrees, str):

        def search() -> tuple[CodegraphResult, Sequence[float]]:
            result = codegraph(taken.whole(), **options)
            return result, [community.evidence.gap for community in result.communities]

        return search
    layers = _layers(slots, places)  # they have arrived: `taken` has waited for the device
    ignored = np.stack([window.ignored[place] & ~window.marked(place) for place in places])
    absent = [slots[place].absent for place in places]
    form, xp = window.shape.form, array_namespace(window.half_squared)

    def search_in_degree_one_too() -> tuple[CodegraphResult, Sequence[float]]:
        fused = taken.whole()
        finest = degree_one(layers, form=form, roi=roi, ignored=ignored, tiles=tiles, xp=xp)
        for rows, away in zip(finest, absent, strict=True):
            if away is not None:
                rows[away[roi]] = 0
        for part in taken.tiles:  # where frames do not match
            apart = ~np.isfinite(fused[:, part.start, None])
            finest[:, part][np.broadcast_to(apart, finest[:, part].shape)] = np.inf
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
    layers: Sequence[Sequence[Any]],
    *,
    form: str,
    roi: Bools,
    ignored: Bools,
    tiles: tuple[int, int] = (1, 1),
    xp: Any = np,
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
    tiles : (int, int)
        Rows and columns of tiles.
    xp : module
        NumPy or CuPy: where the work is done; the tokens are on the host.

    Returns
    -------
    array, shape (n, P', n), float32
        On the host.
    """
    grid = Grid.of(roi.size, tiles)
    found = np.empty((*ignored.shape, len(ignored)), np.float32)
    for place, part in zip(grid.parts(), grid.parts(roi), strict=True):
        if part.stop <= part.start:
            continue
        total: Any = 0
        for frames in layers:
            counted = xp.asarray(np.flatnonzero(roi[place]))
            features = xp.concatenate(
                [
                    lnamd(xp.asarray(frame[:, place], dtype=np.float32), degree=1)[:, counted]
                    for frame in frames
                ]
            )
            distances = distances_by(
                FORMS[form],
                features,
                ignore=xp.asarray(ignored[:, part]),
                groups=None,
                threads=1,
                progress=None,
            )
            total = total + to_host(distances)
        found[:, part] = total / np.float32(len(layers))
    return found
