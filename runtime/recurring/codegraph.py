"""CoDeGraph: find the defect that recurs in many images, and would vouch for itself.

arXiv 2510.10456 has the idea: a patch of a recurring defect stays near to the few images that share
it, then its distances jump; such patches link images to a graph whose dense communities are the
recurring defects. How a community is found, told from a normal look that some images share, and
marked is ours (docs/algorithms.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from zeroline.runtime.arrays import to_host
from zeroline.runtime.errors import ScoringError
from zeroline.runtime.grid import outermost
from zeroline.runtime.recurring import constants
from zeroline.runtime.recurring.communities import candidates
from zeroline.runtime.recurring.evidence import CandidateGroup, Evidence, measured
from zeroline.runtime.recurring.filter import CommunityFilter
from zeroline.runtime.recurring.graph import image_graph, reference_distances
from zeroline.runtime.recurring.marking import marked_patches
from zeroline.runtime.recurring.members import Closure
from zeroline.runtime.recurring.statistics import SetStatistics

Bools = npt.NDArray[np.bool_]
Float32 = npt.NDArray[np.float32]

LEAST_IMAGES = constants.LEAST_IMAGES  # for the line


@dataclass(frozen=True)
class Community:
    """Images that share a defect.

    Attributes
    ----------
    members : array of int
        Their numbers, ascending.
    marks : array, shape (members, P), bool
        Where each of them has it.
    evidence : Evidence
        Why it is believed.
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
        Patches that nobody may match: those of recurring defects.
    communities : tuple of Community
        The clearest first.
    relevant : float
        Score from which on a patch matters in this set; 0 where nothing was looked for.
    """

    ignored: Bools
    communities: tuple[Community, ...]
    relevant: float = 0.0


def codegraph(
    distances: Any,
    /,
    *,
    false_alarm_rate: float = constants.FALSE_ALARM_RATE,
    edge: Bools | None = None,
    seed: int = 0,
) -> CodegraphResult:
    """Find recurring defects among N images.

    Parameters
    ----------
    distances : array, shape (N, P, N), float
        Match distances of the smallest degree, the mean over layers; wider neighbourhoods blur
        which images share a small defect. Where images do not match, inf: a patch is then taken to
        be as far as from the median of those that it matches.
    false_alarm_rate : float
        Wanted share of sets without recurring defects, under the model of steady distances, in
        which one is reported.
    edge : array, shape (P,), bool, optional
        Patches in the outermost row of the frame; without it, those of the g × g grid.
    seed : int
        Of the community search.

    Returns
    -------
    CodegraphResult
        On the host. Matching again with `ignored` as `ignore` is the caller's step.

    Raises
    ------
    ScoringError
        For a rate out of range or distances of another shape.

    Notes
    -----
    A defect in more than half of the images is the normal look, for this as for any method that
    has no labels. Under 12 images nothing is looked for. Memory: 8·k·P·N bytes for a community of k
    images, and 4·N²·P for distances under 1e-6, or that are not contiguous float32 on the host.

    References
    ----------
    CoDeGraph, arXiv 2510.10456; docs/algorithms.md for what differs.
    """
    table = np.ascontiguousarray(to_host(distances), np.float32)
    if table.ndim != 3 or table.shape[0] != table.shape[2]:
        raise ScoringError(f"distances have shape {table.shape}, (N, P, N) is expected")
    if not 0 < false_alarm_rate <= 0.5:
        raise ScoringError(f"false_alarm_rate is {false_alarm_rate}, 0 < rate <= 0.5 is expected")
    images, patches, _ = table.shape
    nothing = CodegraphResult(np.zeros((images, patches), bool), ())
    if images < constants.LEAST_IMAGES:
        return nothing
    table = _without_gaps(table)
    if edge is None:
        edge = outermost(patches)
    reference = reference_distances(table)
    statistics = SetStatistics.of(table, reference)
    communities_filter = CommunityFilter(images, patches, false_alarm_rate)
    closure = Closure(statistics)
    found: dict[tuple[int, ...], CandidateGroup] = {}
    for emphasis in constants.EMPHASES:
        weights = image_graph(table, reference, emphasis=emphasis)
        for start in candidates(weights, seed=seed):
            members = closure.of(start)
            if members is None or tuple(members) in found:
                continue
            group = measured(table, members, statistics, edge, chance=communities_filter.chance)
            if group is not None:
                found[tuple(members)] = group
        if not any(communities_filter.suspects(group) for group in found.values()):
            return nothing  # nothing to hold against this set's normal looks
    ignored = nothing.ignored.copy()
    communities = []
    for group in communities_filter.accepted(list(found.values())):
        members = group.confirmed
        own = marked_patches(table, members, statistics)
        carrying = own.any(axis=1)
        ignored[members] |= own
        communities.append(Community(members[carrying], own[carrying], group.evidence))
    return CodegraphResult(ignored, tuple(communities), statistics.relevant)


def _without_gaps(table: Float32) -> Float32:
    """Return distances of which each, but those to the own image, is finite and over zero."""
    if table.min() < constants.LEAST_DISTANCE:
        table = np.maximum(table, constants.LEAST_DISTANCE)
    apart = ~np.isfinite(table[:, 0])
    np.fill_diagonal(apart, False)
    if apart.any():
        table = table.copy()
        for image in np.flatnonzero(apart.any(axis=1)):
            rows = table[image]
            matched = np.isfinite(rows[0])
            usual = np.median(rows[:, matched], axis=1) if matched.any() else np.ones(len(rows))
            rows[:, apart[image]] = usual[:, None]
    return table
