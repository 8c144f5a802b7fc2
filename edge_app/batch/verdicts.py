"""From scores to verdicts: what an image's scores are held against."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zeroline.edge_app.settings.options import ScoreOptions
from zeroline.runtime.arrays import to_host
from zeroline.runtime.results import ScoreResult


@dataclass(frozen=True)
class Scores:
    """The scores of an image and what they are held against; distance units (docs/algorithms.md).

    Attributes
    ----------
    score, raw_score : float
        After and before RsCIN.
    threshold : float
        For `score`.
    pixel_threshold : float
        For the map: what lies over it is outlined.
    consistent : bool
        Whether the image carries a recurring defect.
    patch_scores : array, shape (P,), float32
    """

    score: float
    raw_score: float
    threshold: float
    pixel_threshold: float
    consistent: bool
    patch_scores: npt.NDArray[np.float32]

    @property
    def verdict(self) -> str:
        """NG where the score lies over the threshold, or the image carries a recurring defect."""
        return "NG" if self.score > self.threshold or self.consistent else "OK"


def scores_of(outcome: ScoreResult, options: ScoreOptions) -> list[Scores]:
    """Put thresholds to a set's scores, in its order.

    Images with a recurring defect say nothing about good ones: they have no part in an automatic
    threshold.
    """
    scores, raw_scores = to_host(outcome.scores), to_host(outcome.raw_scores)
    maps, consistent = to_host(outcome.patch_scores), to_host(outcome.consistent)
    threshold = options.threshold_for(scores[~consistent])
    pixel_threshold = options.threshold_for(raw_scores[~consistent])
    return [
        Scores(float(score), float(raw), threshold, pixel_threshold, bool(marked), patch_scores)
        for score, raw, marked, patch_scores in zip(
            scores, raw_scores, consistent, maps, strict=True
        )
    ]
