"""Whether a new image has a recurring defect that is known, and where.

The same measures as for the members, for a single image: no graph, no search.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from zeroline.runtime.recurring import constants
from zeroline.runtime.recurring.evidence import gaps
from zeroline.runtime.recurring.marking import standing_out
from zeroline.runtime.recurring.statistics import InOutDistances


def marks_of_newcomer(
    rows: npt.NDArray[np.float32],
    members: npt.NDArray[np.intp],
    *,
    relevant: float,
    gap: float,
) -> npt.NDArray[np.bool_] | None:
    """Return where an image has a known defect.

    Parameters
    ----------
    rows : array, shape (P, n), float32
        Its distances to n other images, all finite, as if no patch were hidden.
    members : array of int
        Those of them that have the defect.
    relevant : float
        Score from which on a patch matters (`CodegraphResult.relevant`).
    gap : float
        The members' usual gap (`Evidence.gap`).

    Returns
    -------
    array, shape (P,), bool, or None
        None where the image does not have the defect.
    """
    if len(members) < 1 or len(members) >= rows.shape[1]:
        return None
    sides = InOutDistances.of(rows, members, own=False)
    without = sides.scores_without()
    if not (
        (gaps(sides, nearest=constants.NEWCOMER_NEAREST) >= constants.NEWCOMER * gap)
        & (without > relevant)
    ).any():
        return None
    everyone = np.sort(rows, axis=1)[:, : max(1, int(constants.AVERAGED * rows.shape[1]))].mean(
        axis=1
    )
    marks = standing_out(without, everyone)
    return marks if marks.any() else None
