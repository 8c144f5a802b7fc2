"""Sets of files that were scored together, and the verdicts on them by a threshold rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zeroline.edge_app.batch.recurring import SetDefect
from zeroline.edge_app.batch.results import ImageResult, copies_in
from zeroline.edge_app.images import ImageFile
from zeroline.runtime.arrays import Bools, Float32, to_host
from zeroline.runtime.framing.view import View
from zeroline.runtime.judgement import Judgement, judge
from zeroline.runtime.results import FrameScores, ScoreResult
from zeroline.runtime.stages.threshold import ThresholdRule


@dataclass(frozen=True)
class ScoredSet:
    """Files that were compared with each other, and their scores; distance units, on the host.

    Attributes
    ----------
    places : tuple of int
        Where each file stands among all files of the run, ascending.
    files : tuple of ImageFile
        n files.
    patch_scores : array, shape (n, P), float32
    raw_scores, scores : array, shape (n,), float32
        Before and after RsCIN.
    recurring : array, shape (n,), bool
        Which have a recurring defect.
    defects : tuple of SetDefect
        The recurring defects, the clearest first.
    copy_of : array, shape (n,), int, optional
        The number of the file whose picture each shows: its own, where it is no copy. Without it
        none is.
    views : tuple of View
        Where in each file's picture the patches lie; empty: the whole pictures.
    """

    places: tuple[int, ...]
    files: tuple[ImageFile, ...]
    patch_scores: Float32
    raw_scores: Float32
    scores: Float32
    recurring: Bools
    defects: tuple[SetDefect, ...] = ()
    copy_of: npt.NDArray[np.intp] | None = None
    views: tuple[View, ...] = ()

    @property
    def original(self) -> npt.NDArray[np.bool_]:
        """Which files (n,) are no copies."""
        numbers = np.arange(len(self.files))
        return np.ones(len(numbers), bool) if self.copy_of is None else self.copy_of == numbers

    @classmethod
    def of(
        cls,
        outcome: ScoreResult,
        files: Sequence[ImageFile],
        places: Sequence[int],
        *,
        copy_of: npt.NDArray[np.intp] | None = None,
        views: Sequence[View] = (),
    ) -> ScoredSet:
        """Take what scoring gave to the host."""
        together = tuple(files)
        return cls(
            tuple(places),
            together,
            patch_scores=np.asarray(to_host(outcome.patch_scores), np.float32),
            raw_scores=np.asarray(to_host(outcome.raw_scores), np.float32),
            scores=np.asarray(to_host(outcome.scores), np.float32),
            recurring=np.asarray(to_host(outcome.recurring), bool),
            defects=tuple(
                SetDefect(
                    tuple(together[m] for m in community.members),
                    community.marks,
                    together,
                    community.evidence.one_place,
                    tuple(views[m] for m in community.members) if views else (),
                )
                for community in outcome.communities
            ),
            copy_of=copy_of,
            views=tuple(views),
        )

    def judgement(self, rule: ThresholdRule) -> Judgement:
        """Make the set's thresholds (`zeroline.runtime.judgement.judge`); a picture counts once."""
        once = self.original
        return judge(self.scores[once], self.raw_scores[once], rule, recurring=self.recurring[once])

    def called_ng(self, threshold: float) -> npt.NDArray[np.bool_]:
        """Return which images (n,) are NG over a threshold, or since they have a known defect."""
        # in float64, as a verdict is: float32 would round the threshold
        called: npt.NDArray[np.bool_] = self.recurring | (self.scores.astype(float) > threshold)
        return called

    def results(self, judgement: Judgement) -> list[ImageResult]:
        """Return a verdict on each file, in the order of the files."""
        results = []
        for number, file in enumerate(self.files):
            score, marked = float(self.scores[number]), bool(self.recurring[number])
            verdict, reason = judgement.verdict(score, recurring=marked)
            frame = FrameScores(
                score,
                float(self.raw_scores[number]),
                judgement.threshold,
                judgement.pixel_threshold,
                self.patch_scores[number],
            )
            of = number if self.copy_of is None else int(self.copy_of[number])
            original = self.files[of].name if of != number else None
            view = self.views[number] if self.views else None
            results.append(ImageResult(file, verdict, frame, marked, reason, original, view))
        return results


@dataclass(frozen=True)
class JudgedSets:
    """Sets, the rule that they were judged by, and what came out.

    Attributes
    ----------
    sets : tuple of ScoredSet
    rule : ThresholdRule
    judgements : tuple of Judgement
        One for each set.
    results : tuple of ImageResult
        Of all sets, in the order of all files of the run.
    """

    sets: tuple[ScoredSet, ...]
    rule: ThresholdRule
    judgements: tuple[Judgement, ...]
    results: tuple[ImageResult, ...]

    @property
    def defects(self) -> list[SetDefect]:
        """The recurring defects of all sets."""
        return [defect for scored in self.sets for defect in scored.defects]

    @property
    def copies(self) -> dict[str, list[str]]:
        """Names of originals that have copies, and names of these."""
        return copies_in(self.results)

    @property
    def thresholds(self) -> list[float]:
        """The threshold of each set that has one."""
        return [j.threshold for j in self.judgements if j.threshold is not None]


def judge_sets(sets: Sequence[ScoredSet], rule: ThresholdRule) -> JudgedSets:
    """Judge each set by its own threshold."""
    judgements = tuple(scored.judgement(rule) for scored in sets)
    by_place: dict[int, ImageResult] = {}
    for scored, judgement in zip(sets, judgements, strict=True):
        by_place.update(zip(scored.places, scored.results(judgement), strict=True))
    results = tuple(by_place[place] for place in sorted(by_place))
    return JudgedSets(tuple(sets), rule, judgements, results)
