"""Files to scores: embedding, random subsets, mutual scoring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zeroline.edge_app.batch.copies import score_with_copies
from zeroline.edge_app.batch.embedding import Problem, embed_files
from zeroline.edge_app.batch.sets import ScoredSet
from zeroline.edge_app.errors import InputError
from zeroline.edge_app.images import ImageFile
from zeroline.edge_app.memory import check_memory, placed_bundle
from zeroline.edge_app.progress import Bars
from zeroline.edge_app.settings.options import ScoreOptions
from zeroline.edge_app.tiles import tile_cost
from zeroline.runtime.copies import originals
from zeroline.runtime.framing.framer import Framer
from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.network.model import Bundle
from zeroline.runtime.stages.degrees import match_count
from zeroline.runtime.stages.levels import in_one_pose


@dataclass(frozen=True)
class ScoredFiles:
    """Sets of the files that could be scored, and the files that could not.

    Attributes
    ----------
    sets : list of ScoredSet
        One, or one for each random subset.
    problems : list of Problem
    matching : str
        The form of matching that was used.
    leveled : bool
        Whether each place's own level was taken off the scores.
    """

    sets: list[ScoredSet]
    problems: list[Problem]
    matching: str
    leveled: bool = False

    @property
    def smallest_set(self) -> int:
        """Images that were compared with each other, at the least."""
        return min(len(scored.files) for scored in self.sets)


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
    files: Sequence[ImageFile],
    bundle: Bundle,
    options: ScoreOptions,
    bars: Bars,
    *,
    framing: Framing | None = None,
    thumbnails: bool = True,
    tell: Callable[[str], None] | None = None,
) -> ScoredFiles:
    """Score files as one set, or in random subsets.

    Parameters
    ----------
    files : sequence of ImageFile
    bundle : Bundle
    options : ScoreOptions
    bars : Bars
    framing : Framing, optional
        What of each picture is looked at; all of it, when not given.
    thumbnails : bool
        Near copies are found by their thumbnails as well. A published data set may have one part
        in two photographs, which are two images in others' figures.
    tell : callable, optional
        Is told in a line what tiles cost, before the start.

    Raises
    ------
    InputError
        If fewer than two files can be used.
    MemoryLimitError
        If a set would take more memory than there is; nothing was read then.
    """
    subsets = random_subsets(len(files), options.subset, seed=options.seed)
    framer = Framer(framing or Framing(), bundle.manifest.input, patches=bundle.patches)
    largest = max(map(len, subsets))
    room: dict[str, Any] = {
        "threads": options.threads, "codegraph": options.codegraph, "tiles": framer.grid.count,
    }  # fmt: skip
    bundle = placed_bundle(bundle, largest, **room)
    memory = check_memory(bundle, largest, **room)
    scoring = options.scoring(bundle, framer.framing) | {"roi": framer.roi}
    if framer.framing.is_tiled and tell is not None:
        cost = tile_cost(
            bundle,
            framer,
            frames=largest,
            degrees=scoring["degrees"],
            matching=options.matching,
            threads=options.threads,
            one_way=False,
            search=options.codegraph,
        )
        for line in cost.lines(memory):
            tell(line)
    steps = len(bundle.channels) * match_count(scoring["degrees"]) * len(framer.seen)
    read = bars("reading", len(files))
    scored = bars("scoring", steps * len(files))
    problems: list[Problem] = []
    sets: list[ScoredSet] = []
    forms: set[str] = set()
    leveled: list[bool] = []

    def score_set(chosen: Sequence[int]) -> list[int]:
        """Score the files at some places as a set; return the one place that had no company."""
        embedding = embed_files(
            [files[place] for place in chosen],
            bundle,
            framer=framer,
            white_level=options.white_level,
            threads=options.threads,
            progress=read,
        )
        problems.extend(embedding.problems)
        kept = set(embedding.files)
        usable = [place for place in chosen if files[place] in kept]
        if embedding.tokens is None or len(usable) < 2:
            return usable
        of = originals(
            embedding.tokens,
            same=embedding.pixels,
            thumbnails=np.stack(embedding.thumbnails) if thumbnails else None,
            roi=framer.roi,
            matching=options.matching,
            threads=options.threads,
        )
        pictures = len(np.unique(of))
        if pictures < 2:
            raise InputError(
                f"{len(usable)} images show one picture, as {embedding.files[0].name} does: mutual "
                "scoring compares different pictures, and needs at least 2"
            )
        outcome = score_with_copies(
            embedding.tokens,
            of,
            same=embedding.pixels,
            absent=np.stack(embedding.absent) if np.any(embedding.absent) else None,
            own_level=framer.framing.taught is not None and in_one_pose(embedding.turns),
            groups=options.parts_of([file.name for file in embedding.files]),
            progress=scored,
            **scoring,
        )
        scored(steps * (len(of) - pictures))
        forms.add(outcome.matching)
        leveled.append(outcome.level is not None)
        views = () if framer.framing.is_plain else embedding.views
        sets.append(ScoredSet.of(outcome, embedding.files, usable, copy_of=of, views=views))
        return []

    waiting: list[int] = []  # usable, but alone in their subset so far
    for subset in subsets:
        waiting = score_set(sorted([*waiting, *subset]))
    if waiting and sets:  # the last subset left one over: the set before is scored with it again
        score_set(sorted([*sets.pop().places, *waiting]))
    if not sets:
        raise _too_few(len(files), len(waiting), problems)
    return ScoredFiles(sets, problems, ", ".join(sorted(forms)), leveled=all(leveled))


def _too_few(given: int, usable: int, problems: Sequence[Problem]) -> InputError:
    reasons = "; ".join(f"{p.name}: {p.reason}" for p in problems[:3])
    more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
    left_out = f" ({reasons}{more})" if problems else ""
    return InputError(
        f"{usable} usable image(s) of {given}: mutual scoring compares images with each other "
        f"and needs at least 2{left_out}"
    )
