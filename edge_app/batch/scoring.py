"""Files to scores: embedding, random subsets, mutual scoring, thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zeroline.edge_app.batch.embedding import Problem, embed_files
from zeroline.edge_app.batch.memory import check_memory
from zeroline.edge_app.batch.recurring import SetDefect, recurring_defects
from zeroline.edge_app.batch.results import ImageResult, image_results
from zeroline.edge_app.errors import InputError
from zeroline.edge_app.images import ImageFile
from zeroline.edge_app.progress import Bars
from zeroline.edge_app.settings.options import ScoreOptions
from zeroline.runtime.batch import score_tokens
from zeroline.runtime.network.model import Bundle
from zeroline.runtime.stages.degrees import match_count


@dataclass(frozen=True)
class ScoredFiles:
    """Results of the files that could be scored, in the order of the files, and the others."""

    results: list[ImageResult]
    problems: list[Problem]
    smallest_set: int  # images that were compared with each other, at the least
    recurring: list[SetDefect]
    matching: str  # the form of matching that was used


def random_subsets(count: int, size: int | None, *, seed: int) -> list[list[int]]:
    """Cut 0..count-1 at random into parts of nearly equal length.

    Parts are at most `size` long, but for an odd count in pairs, where some have three: no part
    has fewer than two members. Without a size there is one part.
    """
    if size is None or size >= count:
        return [list(range(count))]
    order = np.random.default_rng(seed).permutation(count)
    parts = min(-(-count // size), count // 2)
    return [sorted(part.tolist()) for part in np.array_split(order, parts)]


def score_files(
    files: Sequence[ImageFile], bundle: Bundle, options: ScoreOptions, bars: Bars
) -> ScoredFiles:
    """Score files as one set, or in random subsets.

    Raises
    ------
    InputError
        If fewer than two files can be used.
    MemoryLimitError
        If a set would take more memory than there is; nothing was read then.
    """
    subsets = random_subsets(len(files), options.subset, seed=options.seed)
    check_memory(
        bundle, max(map(len, subsets)), threads=options.threads, codegraph=options.codegraph
    )
    scoring = options.scoring(bundle)
    steps = len(bundle.channels) * match_count(scoring["degrees"])
    read = bars("reading", len(files))
    scored = bars("scoring", steps * len(files))
    by_file: dict[ImageFile, ImageResult] = {}
    problems: list[Problem] = []
    sizes: list[int] = []
    recurring: list[SetDefect] = []
    forms: set[str] = set()

    def score_set(chosen: Sequence[ImageFile]) -> tuple[list[ImageResult], list[ImageFile]]:
        """Score a set; return its results, or the one file that had no company."""
        embedding = embed_files(
            chosen,
            bundle,
            white_level=options.white_level,
            threads=options.threads,
            progress=read,
        )
        problems.extend(embedding.problems)
        if embedding.tokens is None or len(embedding.files) < 2:
            return [], embedding.files
        sizes.append(len(embedding.files))
        outcome = score_tokens(embedding.tokens, progress=scored, **scoring)
        recurring.extend(recurring_defects(outcome, embedding.files))
        forms.add(outcome.matching)
        return image_results(outcome, embedding.files, options.rule), []

    waiting: list[ImageFile] = []  # usable, but alone in their subset so far
    for subset in subsets:
        results, waiting = score_set([*waiting, *(files[place] for place in subset)])
        by_file.update((result.file, result) for result in results)
    if waiting and by_file:  # the last subset left one over: it joins one scored before
        results, _ = score_set([*list(by_file)[-sizes[-1] :], *waiting])
        by_file.update((r.file, r) for r in results if r.file in waiting)
    if not by_file:
        raise _too_few(len(files), len(waiting), problems)
    ordered = [by_file[file] for file in files if file in by_file]
    return ScoredFiles(ordered, problems, min(sizes), recurring, ", ".join(sorted(forms)))


def _too_few(given: int, usable: int, problems: Sequence[Problem]) -> InputError:
    reasons = "; ".join(f"{p.name}: {p.reason}" for p in problems[:3])
    more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
    left_out = f" ({reasons}{more})" if problems else ""
    return InputError(
        f"{usable} usable image(s) of {given}: mutual scoring compares images with each other "
        f"and needs at least 2{left_out}"
    )
