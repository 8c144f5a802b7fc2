"""How far patches and images of a set usually are: what "near" and "anomalous" are measured by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zeroline.runtime.codegraph.graph import REACH
from zeroline.runtime.interval import interval_average

Float32 = npt.NDArray[np.float32]

#: The interval of MuSc.
AVERAGED = 0.3
#: A patch matters if, without the community, it would score at least this share of a typical image.
RELEVANT = 0.9

_LOOKED_AT = 64  # patches of an image, those farthest from most images
_TINY = np.float32(1e-6)


@dataclass(frozen=True)
class Levels:
    """The set as it is, before anything is marked.

    Attributes
    ----------
    patch_scores : array, shape (N, P), float32
        Interval averages.
    image_scores : array, shape (N,), float32
        Their maxima.
    farthest : array, shape (N, up to 64), int
        Patches of each image that lie farthest from most others.
    """

    patch_scores: Float32
    image_scores: Float32
    farthest: npt.NDArray[np.intp]

    @classmethod
    def of(cls, distances: Float32) -> Levels:
        """Measure (N, P, N) distances."""
        images, patches, _ = distances.shape
        scores = interval_average(distances, high=AVERAGED)
        rank = int(REACH * (images - 1))  # beyond any community
        far = np.stack([np.partition(rows, rank, axis=1)[:, rank] for rows in distances])
        count = min(_LOOKED_AT, patches)
        farthest = np.argpartition(-far, count - 1, axis=1)[:, :count]
        return cls(scores, scores.max(axis=1), np.sort(farthest, axis=1))

    @property
    def relevant(self) -> float:
        """Score from which on a patch matters to its image."""
        return RELEVANT * float(np.median(self.image_scores))


@dataclass(frozen=True)
class Sides:
    """Distances of some images' patches, sorted: to the members, and to the images outside.

    Attributes
    ----------
    inside : array, shape (members, patches, members - 1), float32
    outside : array, shape (members, patches, images outside), float32
    """

    inside: Float32
    outside: Float32

    @classmethod
    def of(cls, rows: Float32, members: npt.NDArray[np.intp]) -> Sides:
        """Sort the rows (members, patches, N) of a community's images."""
        others = np.setdiff1d(np.arange(rows.shape[2]), members)
        inside = np.sort(rows[:, :, members], axis=2)[:, :, : len(members) - 1]
        return cls(
            np.maximum(inside, _TINY), np.maximum(np.sort(rows[:, :, others], axis=2), _TINY)
        )

    def among_members(self, share: float) -> Float32:
        """Return the quantile of the distances to the other members."""
        values: Float32 = self.inside[:, :, int(share * self.inside.shape[2])]
        return values

    def among_others(self, share: float) -> Float32:
        """Return the quantile of the distances to the images outside."""
        values: Float32 = self.outside[:, :, int(share * self.outside.shape[2])]
        return values

    def scores_without(self) -> Float32:
        """Return the interval average over the images outside alone."""
        count = max(1, int(AVERAGED * self.outside.shape[2]))
        means: Float32 = self.outside[:, :, :count].mean(axis=2)
        return means
