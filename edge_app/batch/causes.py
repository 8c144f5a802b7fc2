"""Why no score lies over a threshold, or half of them: the likely cause, by the scores."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from zeroline.edge_app.batch.sets import JudgedSets, ScoredSet
from zeroline.runtime.judgement import Judgement
from zeroline.runtime.stages.modes import HALF, LEAST_SCORES, two_groups
from zeroline.runtime.stages.threshold import ThresholdRule

#: Two unit rows are no farther apart.
LARGEST_DISTANCE = 2.0


def remarks(judged: JudgedSets) -> Iterator[str]:
    """Yield one line for each kind of cause, with the number of subsets that have it."""
    by_cause: dict[str, list[str]] = {}
    for scored, judgement in zip(judged.sets, judged.judgements, strict=True):
        found = remark(scored, judgement, judged.rule)
        if found is not None:
            by_cause.setdefault(found[0], []).append(found[1])
    for lines in by_cause.values():
        several = len(judged.sets) > 1
        where = f"{len(lines)} of {len(judged.sets)} subsets; in the first of them " * several
        yield where + lines[0]


def remark(scored: ScoredSet, judgement: Judgement, rule: ThresholdRule) -> tuple[str, str] | None:
    """Say why a threshold lies over every score of its set, or every distance, or under a group.

    Images with a recurring defect do not count: they are NG at any score.

    Returns
    -------
    (str, str) or None
        Name of the cause, and one line; None where some scores lie over the threshold, as they do
        in a set with a few defects.
    """
    scores = scored.scores[~scored.recurring].astype(np.float64)
    threshold = judgement.threshold
    if threshold is None or not len(scores):
        return None
    if threshold > LARGEST_DISTANCE:
        what = f"the threshold {threshold:.3f} is over {LARGEST_DISTANCE:g}, the largest distance"
    elif scores.max() <= threshold:
        what = f"no score is over the threshold, the highest is {scores.max():.3f}"
    elif (over := int((scores > threshold).sum())) < HALF * len(scores) or not two_groups(scores):
        return None
    else:
        what = f"{over} of {len(scores)} scores are over the threshold"
    if rule.fixed is not None:
        return "given", f"{what}. The threshold was given"
    cause, text = _likely_cause(scores, wide=threshold > LARGEST_DISTANCE)
    return cause, f"{what}. {text}"


def _likely_cause(scores: np.typing.NDArray[np.float64], *, wide: bool) -> tuple[str, str]:
    count = len(scores)
    if scores.max() == scores.min():
        return "equal", "All scores are equal: the images may be copies of one picture"
    if groups := two_groups(scores):
        half = groups.above >= HALF * count
        bad = f"about half of the images ({groups.above}) are defective" if half else (
            f"{groups.above} images are defective"
        )  # fmt: skip
        below, above = groups.middles
        return "groups", (
            f"The scores lie in two groups, {groups.below} about {below:.2f} and {groups.above} "
            f"about {above:.2f}: the images show two views or products, or {bad}. Score each view "
            f"apart, or give a threshold between the groups, as {sum(groups.gap) / 2:.2f}"
        )
    if count < LEAST_SCORES:
        return "few", (
            f"The images are few: {count} scores do not tell where good ones end, so the "
            "threshold keeps a wide distance. Use 64 images or more"
        )
    if wide:
        return "spread", (
            "The scores differ widely: the images may show many views or products. All should "
            "show the same view of the same kind of part"
        )
    return "none", (
        "That is right where all parts are good. If some are bad, their scores do not differ from "
        "those of good parts: a nearer camera or a larger model may help"
    )
