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

from zeroline.runtime.recurring.evidence import CandidateGroup
from zeroline.runtime.recurring.members import least_members

#: Largest share of the patches that a defect may cover at half its height.
LOCAL = 0.1
#: Robust deviations over the other images' median: one good image in twenty reaches it.
ANOMALOUS = 1.64
#: A group that stays below it, or is twice as wide as what is local, is a normal look.
NORMAL = 1.0
#: A group of more images than this share with their best patch at the frame's edge lies there.
AT_EDGE = 0.5
#: A group that covers no more of the patches at half its height is compact.
COMPACT = 0.0075
#: -log10 of the p-value is so many times that of chance, unless the group is compact, since images
#: of one line are no independent draws: in 1 of 244 sets of 22 to 120 simulated parts without a
#: recurring defect a group comes so far, with 2.5 in 3, with 2 in 6. None of them is compact.
OVER_CHANCE = 3.0
#: And so many times that of the clearest normal look of its kind in the same set.
OVER_VARIATION = 2.0
#: Two communities that share more of the smaller one are one.
OVERLAP = 0.3


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
            one.evidence.significance > (1.0 if compact else OVER_CHANCE) * self.chance
            and one.evidence.anomaly >= ANOMALOUS
            and one.evidence.spread <= LOCAL * self.patches
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
            if evidence.anomaly < NORMAL or evidence.spread > 2 * LOCAL * self.patches:
                least[kind] = max(least[kind], OVER_VARIATION * evidence.significance)
        clear = [
            one
            for one in found
            if self.suspects(one) and one.evidence.significance > least[self._kind(one)]
        ]
        clear.sort(key=lambda one: (-one.evidence.significance, tuple(one.members)))
        kept: list[CandidateGroup] = []
        for one in clear:
            if all(shared(one.members, other.members) < OVERLAP for other in kept):
                kept.append(one)
        return kept

    def _kind(self, one: CandidateGroup) -> tuple[bool, bool]:
        """Tell whether a group lies at the edge, and whether it is compact."""
        compact = one.evidence.spread <= max(1.0, COMPACT * self.patches)
        return one.evidence.edge > AT_EDGE, compact


def shared(one: npt.NDArray[np.intp], other: npt.NDArray[np.intp]) -> float:
    """Return the share of the smaller group's images that the other one holds as well."""
    return len(np.intersect1d(one, other)) / min(len(one), len(other))
