"""CoDeGraph: find a defect that recurs in many images, and therefore scores as normal.

The idea is from arXiv 2510.10456: a patch of a recurring defect is near to the few images that
share the defect, and far from all others. Such patches link images. The links form a graph, and its
dense communities are the recurring defects. How a community is found, separated from normal
variation that some images share, and marked is ours (docs/algorithms.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zeroline.runtime.arrays import Array, Bools, to_host
from zeroline.runtime.errors import ScoringError
from zeroline.runtime.grid import Grid
from zeroline.runtime.recurring import constants
from zeroline.runtime.recurring.evidence import CandidateGroup, Evidence, measured
from zeroline.runtime.recurring.filter import CommunityFilter
from zeroline.runtime.recurring.graph import candidates, image_graph, reference_distances
from zeroline.runtime.recurring.marking import marked_patches
from zeroline.runtime.recurring.members import Closure
from zeroline.runtime.recurring.statistics import SetStatistics, without_gaps


@dataclass(frozen=True)
class Community:
    """Images that share a defect.

    Attributes
    ----------
    members : array of int
        Numbers of the images, ascending.
    marks : array, shape (members, P), bool
        Patches of each member that show the defect.
    evidence : Evidence
        Why the community is accepted.

    Examples
    --------
    >>> import numpy as np
    >>> evidence = Evidence(significance=9.0, spread=3.0, anomaly=1.5, gap=0.5, agreement=1.0)
    >>> Community(np.array([0, 4, 9]), np.zeros((3, 9), bool), evidence).members.tolist()
    [0, 4, 9]
    """

    members: npt.NDArray[np.intp]
    marks: Bools
    evidence: Evidence


@dataclass(frozen=True)
class CodegraphResult:
    """What recurs in a set.

    Attributes
    ----------
    ignored : array, shape (N, P), bool
        Patches that no image may match: those of recurring defects.
    communities : tuple of Community
        The clearest first.
    relevant : float
        Score from which on a patch matters in this set; 0 where no search was made.
    borne_out : tuple of (array of int, or None)
        For each known group the images that bear it out; None where it is no recurring defect by
        now.

    Examples
    --------
    >>> import numpy as np
    >>> CodegraphResult(np.zeros((20, 9), bool), ()).ignored.any()
    np.False_
    """

    ignored: Bools
    communities: tuple[Community, ...]
    relevant: float = 0.0
    borne_out: tuple[npt.NDArray[np.intp] | None, ...] = ()


def codegraph(
    distances: Array,
    /,
    *,
    false_alarm_rate: float = constants.FALSE_ALARM_RATE,
    roi: Bools | None = None,
    tiles: Sequence[int] = (1, 1),
    known: Sequence[npt.NDArray[np.intp]] = (),
) -> CodegraphResult:
    """Find recurring defects among N images.

    Parameters
    ----------
    distances : array, shape (N, P, N), float
        Match distances of the smallest degree, the mean over layers; in wider neighbourhoods the
        distances of a small defect differ less. Where images do not match, inf: the distance is
        then set to the median of the patch's finite distances.
    false_alarm_rate : float
        Wanted share of sets without recurring defects, under the model of steady distances, in
        which one is reported.
    roi : array, shape (G,), bool, optional
        Which patches of the grid, of all tiles, the P are; all, where not given.
    tiles : (int, int)
        Rows and columns of tiles.
    known : sequence of arrays of int
        Groups of images that had a recurring defect in an earlier search.

    Returns
    -------
    CodegraphResult
        On the host. Matching again with `ignored` as `ignore` is the caller's step.

    Raises
    ------
    ScoringError
        For a rate out of range, distances of another shape, or patches that form no square grid.

    Notes
    -----
    A defect in more than half of the images counts as normal, as in any method without labels.
    Under 12 images no search is made. Memory: 8·k·P·N bytes for a community of k images, and
    4·N²·P for distances under 1e-6, or that are not contiguous float32 on the host.

    References
    ----------
    CoDeGraph, arXiv 2510.10456; docs/algorithms.md for what differs.

    Examples
    --------
    >>> import numpy as np
    >>> distances = np.random.default_rng(0).random((20, 9, 20)) + 0.5
    >>> codegraph(distances).communities
    ()
    """
    table = np.ascontiguousarray(to_host(distances), np.float32)
    if table.ndim != 3 or table.shape[0] != table.shape[2]:
        raise ScoringError(f"distances have shape {table.shape}, (N, P, N) is expected")
    if not 0 < false_alarm_rate <= 0.5:
        raise ScoringError(f"false_alarm_rate is {false_alarm_rate}, 0 < rate <= 0.5 is expected")
    images, patches, _ = table.shape
    nothing = CodegraphResult(np.zeros((images, patches), bool), (), borne_out=(None,) * len(known))
    if images < constants.LEAST_IMAGES:
        return nothing
    grid = Grid.of(patches if roi is None else roi.size, tiles)
    table = without_gaps(table, grid.parts(roi))
    reference = reference_distances(table)
    statistics = SetStatistics.of(table, reference)
    communities_filter = CommunityFilter(images, patches, false_alarm_rate)
    closure = Closure(statistics)
    groups: dict[tuple[int, ...], CandidateGroup] = {}
    for start in candidates(image_graph(table, reference)):
        members = closure.of(start)
        if members is None or tuple(members) in groups:
            continue
        group = measured(
            table, members, statistics, chance=communities_filter.chance, roi=roi, tiles=tiles
        )
        if group is not None:
            groups[tuple(members)] = group
    again = [
        measured(table, members, statistics, chance=communities_filter.chance, roi=roi, tiles=tiles)
        if len(members) >= constants.LEAST
        else None
        for members in known
    ]
    ignored = nothing.ignored.copy()
    communities = []
    for group in communities_filter.accepted(list(groups.values())):
        members = group.confirmed
        own = marked_patches(table, members, statistics)
        carrying = own.any(axis=1)
        if carrying.any():
            ignored[members] |= own
            communities.append(Community(members[carrying], own[carrying], group.evidence))
    borne_out = tuple(
        group.confirmed if group is not None and communities_filter.suspects(group) else None
        for group in again
    )
    return CodegraphResult(ignored, tuple(communities), statistics.relevant, borne_out)
