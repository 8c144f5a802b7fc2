"""Two groups of scores in a window: two views of the part, or a belt that is empty between parts.

The automatic threshold takes the lower half for good parts of one view. Of two views it spans both,
and nothing is over it; or they are far apart, and one of them is NG.
"""

from __future__ import annotations

import numpy as np

from zeroline.runtime.arrays import Bools, Float32
from zeroline.runtime.stages.modes import HALF, TwoGroups, two_groups
from zeroline.runtime.stages.threshold import clearly_not_good


class GroupsWatch:
    """Tells when the scores of a window fall into two groups, once each time."""

    def __init__(self) -> None:
        self._told = False

    def look(self, scores: Float32, /, *, recurring: Bools) -> TwoGroups | None:
        """Return the groups where they were one group at the last look; None else.

        Parameters
        ----------
        scores : array, shape (n,), float
            Of the window's frames. Those that are clearly NG make no group, unless they are `HALF`
            of the window or more.
        recurring : array, shape (n,), bool
            Frames with a recurring defect; they do not count.
        """
        used = scores[~recurring].astype(np.float64)
        groups = None
        if len(used):
            bad = clearly_not_good(used)
            groups = two_groups(used if bad.mean() >= HALF else used[~bad])
        told, self._told = self._told, groups is not None
        return None if told else groups
