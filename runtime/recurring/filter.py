"""Which groups are recurring defects, and which are normal variation that some images share.

Four questions decide. Is the group *clear*: far stronger than chance under the model of steady
distances, at a stated rate? Is it *local*: in a few patches of each image, while the others are as
near to images outside? Another lot of material, another pose or another light is everywhere. Is it
*anomalous*: without each other, would its images have high scores? Is it *recurring*: in more than
a few images?

A defect has an outline, normal variation fades out over many patches. So a compact group at one
place has to exceed chance, any other group at one place must exceed it by more. Random defects of
one kind look alike, at several places: a group without one place must exceed chance by most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, log10

import numpy as np
import numpy.typing as npt

from zeroline.runtime.recurring import constants
from zeroline.runtime.recurring.evidence import CandidateGroup, Evidence
from zeroline.runtime.recurring.members import least_members


@dataclass(frozen=True)
class CommunityFilter:
    """Decides which groups are accepted in a set of N images of P patches.

    Attributes
    ----------
    images, patches : int
        N, P.
    false_alarm_rate : float
        Under the model of steady distances, each patch of each image being one trial.
    """

    images: int
    patches: int
    false_alarm_rate: float

    @property
    def chance(self) -> float:
        """Significance that chance reaches at this rate."""
        return log10(self.images * self.patches) - log10(self.false_alarm_rate)

    def accepted(self, groups: Sequence[CandidateGroup]) -> list[CandidateGroup]:
        """Return the groups that are accepted, the clearest first.

        Parameters
        ----------
        groups : sequence of CandidateGroup
            All groups of the set that were measured.
        """
        clear = [group for group in groups if self.suspects(group)]
        clear.sort(key=lambda group: (-group.evidence.significance, tuple(group.members)))
        kept: list[CandidateGroup] = []
        for group in clear:
            if all(shared(group.members, other.members) < constants.OVERLAP for other in kept):
                kept.append(group)
        return kept

    def suspects(self, group: CandidateGroup) -> bool:
        """Return whether a group may be a recurring defect, without regard to other groups."""
        evidence = group.evidence
        return (
            evidence.significance > self._times_chance(evidence) * self.chance
            and evidence.spread <= constants.LOCAL * self.patches
            and evidence.anomaly > 1
            and evidence.elsewhere <= constants.ELSEWHERE * evidence.gap
            and evidence.at_border <= constants.AT_BORDER
            and len(group.confirmed) >= self._least(evidence)
        )

    def _least(self, evidence: Evidence) -> int:
        """Return in how many images a group must be."""
        least = max(least_members(self.images), ceil(constants.OF_UNUSUAL * evidence.unusual))
        return least if evidence.one_place else max(least, constants.ANYWHERE_LEAST)

    def _times_chance(self, evidence: Evidence) -> float:
        """Return how many times chance a group must be clear."""
        if not evidence.one_place:
            return constants.ANYWHERE
        compact = max(constants.COMPACT_LEAST, constants.COMPACT * self.patches)
        if evidence.spread <= compact:
            return constants.OVER_CHANCE_COMPACT
        return constants.OVER_CHANCE


def shared(members: npt.NDArray[np.intp], others: npt.NDArray[np.intp]) -> float:
    """Return the share of the smaller group's images that are in the other group as well."""
    return len(np.intersect1d(members, others)) / min(len(members), len(others))
