"""Score a set in which pictures come more than once: each picture counts as one.

Copies of a defective part match each other, and would vouch for each other. So the originals are
scored alone. A file with the same pixels has the scores of its original. A near copy is compared
with all originals but its own, since it may be no copy after all: a defect that is drawn into a
good picture changes few patches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from zeroline.runtime.arrays import Bools, array_namespace, to_host
from zeroline.runtime.batch import score_tokens
from zeroline.runtime.results import ScoreResult
from zeroline.runtime.stages.levels import less_level
from zeroline.runtime.stages.maps import map_maximum
from zeroline.runtime.stages.rscin import rscin as rescore
from zeroline.runtime.tokens import Tokens

Indices = npt.NDArray[np.intp]


def score_with_copies(
    tokens: Tokens,
    of: Indices,
    /,
    *,
    same: Sequence[object],
    groups: Sequence[object] | None = None,
    absent: Bools | None = None,
    **scoring: Any,
) -> ScoreResult:
    """Score N images of which some are copies, as a set with one copy of each picture.

    Parameters
    ----------
    tokens : Tokens
        Of N images.
    of : array, shape (N,), int
        The original of each image, its own number where it is none (`runtime.copies.originals`).
    same : sequence
        Images of equal values have the same pixels.
    groups : sequence, optional
        Names of the parts: photographs of one part do not match each other.
    absent : array, shape (N, P), bool, optional
        Patches that show no part.
    **scoring
        See `score_tokens`.

    Returns
    -------
    ScoreResult
        Of all N images; communities have originals alone.
    """
    pictures, place = np.unique(of, return_inverse=True)
    parts = None if groups is None else np.unique(np.asarray(groups, str), return_inverse=True)[1]
    shown = score_tokens(
        tokens.select(pictures),
        groups=None if parts is None else parts[pictures],
        absent=None if absent is None else absent[pictures],
        **scoring,
    )
    if len(pictures) == len(of):
        return shown
    whole = replace(
        shown,
        patch_scores=shown.patch_scores[place],
        raw_scores=shown.raw_scores[place],
        scores=shown.scores[place],
        recurring=shown.recurring[place],
        communities=tuple(replace(c, members=pictures[c.members]) for c in shown.communities),
    )
    near = np.array([n for n, original in enumerate(of) if same[n] != same[original]], np.intp)
    if not len(near):
        return whole
    return _with_near_copies(whole, tokens, of, near, parts, absent, **scoring)


def _with_near_copies(
    whole: ScoreResult,
    tokens: Tokens,
    of: Indices,
    near: Indices,
    parts: Indices | None,
    absent: Bools | None,
    *,
    rscin: Sequence[int] = (1, 2, 3),
    **scoring: Any,
) -> ScoreResult:
    """Replace the scores of near copies by those against all originals but their own."""
    xp = array_namespace(tokens.class_tokens)
    pictures = np.unique(of)
    chosen = np.concatenate([pictures, near])
    ignore = np.zeros((len(chosen), tokens.layers[0].shape[1]), bool)
    ignore[len(pictures) :] = True  # nobody may match a copy
    absent = None if absent is None else absent[chosen]
    for community in whole.communities:
        ignore[np.searchsorted(pictures, community.members)] |= community.marks
    scored = score_tokens(
        tokens.select(chosen),
        groups=(of if parts is None else parts[of])[chosen],
        ignore=xp.asarray(ignore),
        absent=absent,
        **(scoring | {"rscin": (), "codegraph": False, "progress": None, "own_level": False}),
    )
    mine = slice(len(pictures), None)
    if whole.level is not None:
        leveled = less_level(scored.patch_scores, whole.level, absent=absent)
        raw = map_maximum(leveled, size=scoring["size"], tiles=tokens.tiles)
        scored = replace(scored, patch_scores=leveled, raw_scores=raw)
    patch_scores, raw_scores, scores = (
        array.copy() for array in (whole.patch_scores, whole.raw_scores, whole.scores)
    )
    patch_scores[near], raw_scores[near] = scored.patch_scores[mine], scored.raw_scores[mine]
    scores[near] = raw_scores[near]
    if rscin:
        most = max(rscin)
        for copy in near.tolist():
            others = pictures[pictures != of[copy]]
            alike = to_host(tokens.class_tokens[others] @ tokens.class_tokens[copy])
            nearest = np.concatenate([[copy], others[np.argsort(-alike, kind="stable")[:most]]])
            row = rescore(
                raw_scores[nearest], tokens.class_tokens[nearest], neighbours=rscin, normalise=False
            )
            scores[copy] = row[0]
    return replace(whole, patch_scores=patch_scores, raw_scores=raw_scores, scores=scores)
