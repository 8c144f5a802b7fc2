"""The one rule of verdicts: which scores make the threshold, and what a score then means.

Sets, lines and settling use it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from zeroline.runtime.arrays import Bools, Float32
from zeroline.runtime.results import Reason, Verdict
from zeroline.runtime.stages.threshold import ThresholdRule


@dataclass(frozen=True)
class Judgement:
    """Thresholds, and what scores mean by them.

    Attributes
    ----------
    threshold : float or None
        For scores after RsCIN; None where there are too few scores to make one.
    pixel_threshold : float or None
        For the map, so for scores before RsCIN.
    scores_used : int
        How many scores made them.
    left_out : int
        How many scores did not make the first, since they are clearly NG.
    band : float
        Scores nearer to the threshold than this are UNCERTAIN.

    Examples
    --------
    >>> judgement = Judgement(0.5, 0.5, scores_used=40)
    >>> verdict, reason = judgement.verdict(0.7, recurring=False)
    >>> verdict.value, reason.value
    ('NG', 'score')
    """

    threshold: float | None
    pixel_threshold: float | None
    scores_used: int
    left_out: int = 0
    band: float = 0.0

    def verdict(self, score: float | None, /, *, recurring: bool) -> tuple[Verdict, Reason | None]:
        """Return the verdict on a score, and its reason; None for OK.

        Parameters
        ----------
        score : float or None
            After RsCIN; None where there was nothing to compare with.
        recurring : bool
            Whether the part has a known recurring defect. It is NG at any score.
        """
        if recurring:
            return Verdict.NG, Reason.RECURRING
        if score is None or self.threshold is None:
            return Verdict.UNCERTAIN, Reason.WARMING_UP
        if abs(score - self.threshold) < self.band:
            return Verdict.UNCERTAIN, Reason.NEAR_THRESHOLD
        if score > self.threshold:
            return Verdict.NG, Reason.SCORE
        return Verdict.OK, None


def judge(
    scores: Float32,
    raw_scores: Float32,
    rule: ThresholdRule,
    /,
    *,
    recurring: Bools,
    known_good: Bools | None = None,
    compared_with: int | None = None,
    capacity: int | None = None,
    band: float = 0.0,
) -> Judgement:
    """Make the thresholds from the scores of a set or of a window.

    With a calibrated rule the known-good parts make them; else all but those that have a recurring
    defect, which say nothing about good ones (all, where fewer than two would be left).

    Parameters
    ----------
    scores, raw_scores : array, shape (n,), float
        After and before RsCIN, in distance units.
    rule : ThresholdRule
    recurring : array, shape (n,), bool
        Which have a recurring defect.
    known_good : array, shape (n,), bool, optional
        Which are of a reference set; none where not given.
    compared_with, capacity : int, optional
        Frames in the window that the scores come from, and its slots; n where not given.
    band : float
        See `Judgement`.

    Returns
    -------
    Judgement
        Without thresholds where fewer than two scores make them.

    Examples
    --------
    >>> import numpy as np
    >>> scores = np.array([0.30, 0.31, 0.32, 0.33, 0.90])
    >>> judge(scores, scores, ThresholdRule(fixed=0.5), recurring=scores > 0.8).threshold
    0.5
    """
    if rule.calibrated:
        used = np.zeros(len(scores), bool) if known_good is None else known_good
    else:
        used = ~recurring
        if used.sum() < 2:
            used = np.ones(len(scores), bool)
    count = int(used.sum())
    if count < 2:
        return Judgement(None, None, count, band=band)
    sizes = {"compared_with": compared_with or len(scores), "capacity": capacity or len(scores)}
    of_scores, of_map = (rule.threshold(v[used], **sizes) for v in (scores, raw_scores))
    return Judgement(
        of_scores.value, of_map.value, of_scores.used, left_out=of_scores.left_out, band=band
    )
