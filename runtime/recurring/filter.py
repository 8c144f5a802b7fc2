"""Which communities are recurring defects, and not a normal look that some images share.

Four questions. Is it *clear*: far stronger than chance under the model of steady distances, at a
stated rate, and far stronger than any group of look-alikes that this very set holds, which shows
how far its normal looks are from the model? Is it *local*: a few patches of each image, not another
lot of material? Is it *anomalous*: without each other, would its images be among the worst? Is it
*recurring*: in more than a few images?

A defect has an outline, a variation of the normal look fades out over many patches: so a compact
group has to beat chance, another one must beat it by far. At the frame's edge patches are cut
off and padded, and look alike by how the part lies. Groups are held against looks of their own
kind: at the edge or inside, compact or not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import log10

import numpy as np
import numpy.typing as npt

from zeroline.runtime.recurring import constants
from zeroline.runtime.recurring.evidence import CandidateGroup
from zeroline.runtime.recurring.members import least_members


@dataclass(frozen=True)
class CommunityFilter:
    """What a community is held against in a set of N images of P patches.

    Attributes
    ----------
    images, patches : int
        N, P.
    false_alarm_rate : float
        By the model; each patch of each image is one trial.
    """

    images: int
    patches: int
    false_alarm_rate: float

    @property
    def chance(self) -> float:
        """Clearness that chance reaches at this rate."""
        return log10(self.images * self.patches) - log10(self.false_alarm_rate)

    def suspects(self, one: CandidateGroup) -> bool:
        """Tell whether a group may be a recurring defect, whatever else the set holds."""
        _, compact = self._kind(one)
        return (
            one.evidence.significance > (1.0 if compact else constants.OVER_CHANCE) * self.chance
            and one.evidence.anomaly >= constants.ANOMALOUS
            and one.evidence.spread <= constants.LOCAL * self.patches
            and len(one.confirmed) >= least_members(self.images)
        )

    def accepted(self, found: Sequence[CandidateGroup]) -> list[CandidateGroup]:
        """Return the communities that are believed, the clearest first.

        Parameters
        ----------
        found : sequence of CandidateGroup
            All that were looked at.
        """
        least: defaultdict[tuple[bool, bool], float] = defaultdict(float)
        for one in found:
            evidence, kind = one.evidence, self._kind(one)
            if (
                evidence.anomaly < constants.NORMAL
                or evidence.spread > constants.WIDE * self.patches
            ):
                least[kind] = max(least[kind], constants.OVER_VARIATION * evidence.significance)
        clear = [
            one
            for one in found
            if self.suspects(one) and one.evidence.significance > least[self._kind(one)]
        ]
        clear.sort(key=lambda one: (-one.evidence.significance, tuple(one.members)))
        kept: list[CandidateGroup] = []
        for one in clear:
            if all(shared(one.members, other.members) < constants.OVERLAP for other in kept):
                kept.append(one)
        return kept

    def _kind(self, one: CandidateGroup) -> tuple[bool, bool]:
        """Tell whether a group lies at the edge, and whether it is compact."""
        compact = one.evidence.spread <= max(
            constants.COMPACT_LEAST, constants.COMPACT * self.patches
        )
        return one.evidence.edge > constants.AT_EDGE, compact


def shared(one: npt.NDArray[np.intp], other: npt.NDArray[np.intp]) -> float:
    """Return the share of the smaller group's images that the other one holds as well."""
    return len(np.intersect1d(one, other)) / min(len(one), len(other))
