"""Scores of a set before anything is marked, and its patches that matter with their distances."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zeroline.runtime.arrays import Float32
from zeroline.runtime.recurring import constants
from zeroline.runtime.stages.interval import interval_average

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class SetStatistics:
    """Scores and patches of a set, before anything is marked.

    Attributes
    ----------
    patch_scores : array, shape (N, P), float32
        Interval averages of the distances.
    image_scores : array, shape (N,), float32
        Their maxima.
    relevant : float
        Score from which on a patch matters to its image.
    owners : array, shape (R,), int
        Images of the R patches that are farther than `relevant` from half of the images, at most
        32 of an image; ascending. Only these patches can be a defect's.
    rows : array, shape (R, N), float32
        Their distances.
    """

    patch_scores: Float32
    image_scores: Float32
    relevant: float
    owners: Indices
    rows: Float32

    @classmethod
    def of(cls, distances: Float32, reference: Float32) -> SetStatistics:
        """Measure a set.

        Parameters
        ----------
        distances : array, shape (N, P, N), float32
            All finite, but those to the own image.
        reference : array, shape (N, P), float32
            From `reference_distances`.

        Raises
        ------
        ScoringError
            If a distance is NaN.
        """
        scores = interval_average(distances, high=constants.AVERAGED)
        image_scores = scores.max(axis=1)
        relevant = constants.RELEVANT * float(np.median(image_scores))
        count = min(constants.MEASURED, distances.shape[1])
        farthest = np.argpartition(-reference, count - 1, axis=1)[:, :count]
        owners, turn = np.nonzero(np.take_along_axis(reference, farthest, axis=1) > relevant)
        places = farthest[owners, turn]
        return cls(scores, image_scores, relevant, owners, distances[owners, places])

    def voters(self, members: Indices) -> tuple[Indices, Float32]:
        """Return owners and rows of the members' patches."""
        belongs = np.zeros(len(self.image_scores), bool)
        belongs[members] = True
        theirs = belongs[self.owners]
        return self.owners[theirs], self.rows[theirs]


@dataclass(frozen=True)
class InOutDistances:
    """Distances of some patches to a community's members, and to the images outside.

    Attributes
    ----------
    inside : array, shape (…, members - 1), float32
        To the other members, ascending.
    outside : array, shape (…, images outside), float32
        To the images outside, ascending.
    """

    inside: Float32
    outside: Float32

    @classmethod
    def of(cls, rows: Float32, members: Indices, *, own: bool = True) -> InOutDistances:
        """Sort rows of patches.

        Parameters
        ----------
        rows : array, shape (…, N), float32
            Distances of patches to all images.
        members : array of int
            The community.
        own : bool
            Whether the patches are of members: the distance to the own image, inf, is then left
            out.
        """
        others = np.setdiff1d(np.arange(rows.shape[-1]), members)
        inside, outside = np.take(rows, members, axis=-1), np.take(rows, others, axis=-1)
        inside.sort(axis=-1)
        outside.sort(axis=-1)
        return cls(inside[..., : len(members) - own], outside)

    def among_members(self, share: float) -> Float32:
        """Return the quantile of the distances to the other members."""
        values: Float32 = self.inside[..., int(share * self.inside.shape[-1])]
        return values

    def among_others(self, share: float) -> Float32:
        """Return the quantile of the distances to the images outside."""
        values: Float32 = self.outside[..., int(share * self.outside.shape[-1])]
        return values

    def scores_without(self, *, low: float = 0.0, high: float | None = None) -> Float32:
        """Return the interval average over the images outside alone.

        Parameters
        ----------
        low, high : float
            Part of the sorted distances that is averaged; without `high`, up to that of the scores.
        """
        count = self.outside.shape[-1]
        high = constants.AVERAGED if high is None else high
        first = int(low * count)
        means: Float32 = self.outside[..., first : max(int(high * count), first + 1)].mean(axis=-1)
        return means


def without_gaps(table: Float32, parts: Sequence[slice] = (slice(0, None),)) -> Float32:
    """Return distances of which each, but those to the own image, is finite and over zero.

    `parts`: the patches of each tile. Two images that do not match in a tile may in another.
    """
    least = np.float32(constants.TINY)
    if table.min() < least:
        table = np.maximum(table, least)
    given = table
    for part in parts:
        if part.stop is not None and part.stop <= part.start:
            continue
        apart = ~np.isfinite(given[:, part.start])
        np.fill_diagonal(apart, False)
        if not apart.any():
            continue
        if table is given:
            table = given.copy()
        for image in np.flatnonzero(apart.any(axis=1)):
            rows = table[image, part]
            matched = np.isfinite(rows[0])
            usual = np.median(rows[:, matched], axis=1) if matched.any() else np.ones(len(rows))
            rows[:, apart[image]] = usual[:, None]
    return table
