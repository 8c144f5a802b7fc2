"""How clear, how compact and how anomalous a community is; measured on the distances themselves.

The model of steady distances (CoDeGraph, §3): the number of a patch's neighbours grows with the
distance by a power law. Then the distances at ranks a < b have (d_(a)/d_(b))^α ~ Beta(a, b - a),
with α from the patch's distances to images outside. This gives the p-value of the gap between the
members' median and the nearest images outside. With the same gap a large community is clearer than
a small one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import lgamma, log

import numpy as np
import numpy.typing as npt

from zeroline.runtime.arrays import Bools, Float32
from zeroline.runtime.recurring import constants
from zeroline.runtime.recurring.places import worst_places
from zeroline.runtime.recurring.statistics import InOutDistances, SetStatistics
from zeroline.runtime.stages.threshold import threshold_from


@dataclass(frozen=True)
class Evidence:
    """Measures of a group of images, by which the filter accepts it or not.

    Attributes
    ----------
    significance : float
        -log10 of the p-value of the gap of its images' best patch, the median over images.
    spread : float
        Median number of an image's patches whose gap is at least half of its best patch's: how wide
        the defect is at half its height.
    anomaly : float
        Median over its images of the score that they would have without each other, as a share of
        the threshold that the images outside give. Over 1: most of them would be NG.
    gap : float
        Median over its images of the gap of the best patch: the logarithm of how much nearer the
        members are than the nearest images outside.
    agreement : float
        Share of pairs of its images that have their worst patch at one place, 0 to 1.
    at_border : float
        Share of its images whose worst patch is the outermost of the grid, 0 to 1.
    elsewhere : float
        Median over all patches of its images of the logarithm of how much nearer the members are
        than images outside, each in the median. It is 0 for a defect: other patches do not know of
        it. Parts in one pose, of one lot or in one light are nearer everywhere.
    unusual : int
        Number of images outside that are clearly NG.

    Examples
    --------
    >>> evidence = Evidence(significance=9.0, spread=3.0, anomaly=1.5, gap=0.5, agreement=1.0)
    >>> evidence.one_place
    True
    """

    significance: float
    spread: float
    anomaly: float
    gap: float
    agreement: float
    at_border: float = 0.0
    elsewhere: float = 0.0
    unusual: int = 0

    @property
    def one_place(self) -> bool:
        """Whether it is one mark at one place, and not a defect of one kind at several places."""
        return self.agreement >= constants.ONE_PLACE


@dataclass(frozen=True)
class CandidateGroup:
    """A group of images that was measured.

    Attributes
    ----------
    members : array of int
        Numbers of the images, ascending.
    gaps : array, shape (members,), float32
        Gap of each member's best patch; 0 where no patch of it matters.
    evidence : Evidence
        Measures of the whole group.
    """

    members: npt.NDArray[np.intp]
    gaps: Float32
    evidence: Evidence

    @property
    def confirmed(self) -> npt.NDArray[np.intp]:
        """Members that have the gap themselves: a quarter of the usual one at least.

        Other images are near to the members, but as near to images outside.
        """
        return self.members[self.gaps >= constants.OWN_GAP * self.evidence.gap]


def measured(
    distances: Float32,
    members: npt.NDArray[np.intp],
    statistics: SetStatistics,
    *,
    chance: float,
    roi: Bools | None = None,
    tiles: Sequence[int] = (1, 1),
) -> CandidateGroup | None:
    """Measure a group of images; None where it is no clearer than chance.

    Parameters
    ----------
    distances : array, shape (N, P, N), float32
        Of the set that is searched.
    members : array of int
        The group.
    statistics : SetStatistics
        Of the same set.
    chance : float
        Significance that chance reaches.
    roi : array, shape (G,), bool, optional
        Which patches of the grid the P are; all, where not given.
    tiles : (int, int)
        Rows and columns of tiles.
    """
    owners, rows = statistics.voters(members)
    if not len(owners):
        return None
    sides = InOutDistances.of(rows, members)
    inner, outer = sides.inside.shape[-1], sides.outside.shape[-1]
    nearest, half = int(constants.NEAREST * outer), int(constants.MEDIAN * outer)
    gap, without = gaps(sides, nearest=constants.NEAREST), sides.scores_without()
    relevant = without > statistics.relevant
    best = _best(np.where(relevant, gap, -np.inf), owners, members)
    known = best >= 0

    own = np.zeros(len(members), np.float32)
    own[known] = np.maximum(gap[best[known]], 0)
    # 1/α by the outer distances of the same patch, between the ranks of both quantiles
    rise = np.log(sides.outside[best, half] / sides.among_others(constants.NEAREST)[best])
    steady = rise / log((half + 1) / (nearest + 1))
    first, last = int(constants.MEDIAN * inner) + 1, inner + nearest + 1
    scaled = own / np.maximum(steady, constants.TINY)
    significance = float(np.median([gap_significance(float(x), first, last) for x in scaled]))
    if significance <= chance:
        return None

    rest = np.setdiff1d(np.arange(len(distances)), members)
    others = threshold_from(statistics.image_scores[rest].astype(np.float64), constants.NG_RATE)
    raised = np.where(relevant & (gap > 0), without, 0)
    highest = [raised[owners == member].max(initial=0) for member in members]
    everywhere = InOutDistances.of(distances[members], members)
    gap_everywhere = gaps(everywhere, nearest=constants.NEAREST)
    usual_gap = float(np.median(own))
    carriers = own >= constants.OWN_GAP * usual_gap
    where = worst_places(
        gap_everywhere[carriers],
        everywhere.scores_without()[carriers] > statistics.relevant,
        roi=roi,
        tiles=tiles,
    )
    evidence = Evidence(
        significance=significance,
        spread=_spread(gap_everywhere, own),
        anomaly=float(np.median(highest)) / max(others.value, constants.TINY),
        gap=usual_gap,
        agreement=where.agreement,
        at_border=where.at_border,
        elsewhere=_elsewhere(everywhere),
        unusual=others.left_out,
    )
    return CandidateGroup(members, own, evidence)


def gaps(sides: InOutDistances, *, nearest: float) -> Float32:
    """Return how much nearer patches are to the members than to the nearest images outside.

    The logarithm of the ratio of both distances, by patch.

    Parameters
    ----------
    sides : InOutDistances
        Distances of the patches.
    nearest : float
        Quantile of the distances outside.
    """
    outside = np.log(sides.among_others(nearest))
    difference: Float32 = outside - np.log(sides.among_members(constants.MEDIAN))
    return difference


def _elsewhere(sides: InOutDistances) -> float:
    """Return how much nearer members are than others, at a usual patch of an image."""
    outside = np.log(sides.among_others(constants.MEDIAN))
    return float(np.median(outside - np.log(sides.among_members(constants.MEDIAN))))


def _best(
    gap: Float32, owners: npt.NDArray[np.intp], members: npt.NDArray[np.intp]
) -> npt.NDArray[np.intp]:
    """Return each member's patch with the widest gap, -1 where no patch of it matters."""
    order = np.lexsort((-gap, owners))
    place = np.searchsorted(owners[order], members)
    there = place < len(owners)
    first = order[np.minimum(place, len(owners) - 1)]
    there &= (owners[first] == members) & np.isfinite(gap[first])
    return np.where(there, first, -1)


def _spread(gap: Float32, own: Float32) -> float:
    """Return the median number of patches with at least half of the image's best gap."""
    return float(
        np.median((gap >= np.maximum(constants.HEIGHT * own, constants.TINY)[:, None]).sum(axis=1))
    )


def gap_significance(scaled: float, first: int, last: int) -> float:
    """Return -log10 of P(α·ln(d_(b)/d_(a)) ≥ x) for steady distances.

    Parameters
    ----------
    scaled : float
        x ≥ 0.
    first, last : int
        Ranks a < b, from 1.

    Notes
    -----
    The Beta distribution's lower tail at u = e⁻ˣ, as a sum of binomial terms: of b - 1 draws at
    least a fall under u.
    """
    if scaled <= 0:
        return 0.0
    draws = last - 1
    under, over = -scaled, log(-np.expm1(-scaled))
    hits = np.arange(first, draws + 1)
    terms = [
        lgamma(draws + 1) - lgamma(h + 1) - lgamma(draws - h + 1) + h * under + (draws - h) * over
        for h in hits.tolist()
    ]
    most = max(terms)
    total = most + log(sum(np.exp(term - most) for term in terms))
    return max(0.0, -float(total) / log(10))
