"""Which communities are recurring defects, and not a normal look that some images share.

Three questions. Is it *clear*: stronger than chance under the model of steady distances, at a
stated rate, and far stronger than any group of look-alikes that this very set holds, which shows
how far its normal looks are from the model? Is it *local*: a few patches of each image, not another
lot of material? Is it *anomalous*: without each other, would its images be among the worst?

At the frame's edge patches are cut off and padded, and look alike by how the part lies: so
groups there are held against looks there, and groups inside against those inside.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log10

import numpy as np
import numpy.typing as npt

from zeroline.runtime.codegraph.evidence import Evidence

#: Largest share of the patches that a defect may cover at half its height.
LOCAL = 0.1
#: Robust deviations over the other images' median: one good image in twenty reaches it.
ANOMALOUS = 1.64
#: A group that stays below it, or is twice as wide as what is local, is a normal look.
NORMAL = 1.0
#: A group of more images than this share with their best patch at the frame's edge lies there.
AT_EDGE = 0.5
#: A recurring defect is so many times as clear as the clearest normal look. On simulated lines
#: those found were 4.4 to 30 times as clear, groups of good parts up to 2.1 times.
OVER_LOOKS = 3.0
#: Two communities that share more of the smaller one are one.
OVERLAP = 0.3

Found = tuple[npt.NDArray[np.intp], Evidence]


def accepted(
    found: Sequence[Found], *, images: int, patches: int, false_alarm_rate: float
) -> list[Found]:
    """Return the communities that are believed, the clearest first.

    Parameters
    ----------
    found : sequence of (members, Evidence)
        All that were looked at.
    images, patches : int
        N and P of the set.
    false_alarm_rate : float
        By the model; each patch of each image is one trial.
    """
    wide = LOCAL * patches
    chance = log10(images * patches) - log10(false_alarm_rate)
    least = {True: chance, False: chance}
    for _, evidence in found:
        if evidence.anomaly < NORMAL or evidence.spread > 2 * wide:
            at_edge = evidence.edge > AT_EDGE
            least[at_edge] = max(least[at_edge], OVER_LOOKS * evidence.clearness)
    clear = [
        (members, evidence)
        for members, evidence in found
        if evidence.clearness > least[evidence.edge > AT_EDGE]
        and evidence.anomaly >= ANOMALOUS
        and evidence.spread <= wide
    ]
    clear.sort(key=lambda one: (-one[1].clearness, tuple(one[0])))
    kept: list[Found] = []
    for members, evidence in clear:
        if all(_shared(members, other) < OVERLAP for other, _ in kept):
            kept.append((members, evidence))
    return kept


def _shared(one: npt.NDArray[np.intp], other: npt.NDArray[np.intp]) -> float:
    return len(np.intersect1d(one, other)) / min(len(one), len(other))
