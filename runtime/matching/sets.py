"""Matches the images of a set, tile by tile: what does not count, and what nobody may match."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zeroline.runtime.arrays import Array, Bools, array_namespace
from zeroline.runtime.errors import ScoringError
from zeroline.runtime.grid import counted_patches, on_grid
from zeroline.runtime.matching.distances import distances_by
from zeroline.runtime.matching.forms import pick_form
from zeroline.runtime.tokens import Tokens


@dataclass(frozen=True)
class TilePatches:
    """A tile of which patches count.

    Attributes
    ----------
    patches : slice
        Where its patches stand among those of all tiles.
    counted : slice
        Where those that count stand among all that count.
    places : array of int, or None
        Which of its patches count; None: all.
    """

    patches: slice
    counted: slice
    places: Any

    def of(self, rows: Any) -> Any:
        """Return this tile's share of values (N, P) or (N, P, C) of all tiles; no copy of all."""
        if self.patches == slice(0, rows.shape[1]):
            return rows
        return array_namespace(rows).ascontiguousarray(rows[:, self.patches])

    def counting(self, rows: Any) -> Any:
        """Return the patches that count of values of this tile."""
        return rows if self.places is None else rows[:, self.places]


class SetMatching:
    """Matches the images of a set by features of one layer, degree and tile; see `score_tokens`.

    Parameters
    ----------
    tokens : Tokens
    ignore, absent, roi, groups, form, threads
        See `score_tokens`; `form` is its `matching`.

    Raises
    ------
    ScoringError
        For shapes that do not fit.

    Attributes
    ----------
    roi : array, shape (P,), bool, or None
        Patches that count; None: all.
    ignore : array, shape (N, P), bool, or None
        Patches that nobody may match, those without a part among them.
    form : str
        The form of matching.
    tiles : tuple of TilePatches
        The tiles in which a patch counts.
    """

    def __init__(
        self,
        tokens: Tokens,
        *,
        ignore: Array | None,
        absent: Bools | None,
        roi: Bools | None,
        groups: Array | Sequence[int] | None,
        form: str,
        threads: int | None,
    ) -> None:
        self._xp = xp = array_namespace(tokens.class_tokens)
        self._groups, self._threads = groups, threads
        images, patches = tokens.layers[0].shape[:2]
        self.roi = None if roi is None else counted_patches(roi, patches)
        if self.roi is not None and self.roi.all():
            self.roi = None
        grid = tokens.grid
        parts = zip(grid.parts(), grid.parts(self.roi), strict=True)
        self.tiles = tuple(
            TilePatches(part, counted, self._places(part))
            for part, counted in parts
            if counted.stop > counted.start
        )
        self.ignore = None if ignore is None else xp.asarray(ignore, dtype=bool)
        self._absent = None
        if absent is not None:
            if absent.shape != (images, patches):
                raise ScoringError(
                    f"absent has shape {absent.shape}, {(images, patches)} is expected"
                )
            self._absent = xp.asarray(absent)
            self.ignore = self._absent if self.ignore is None else self._absent | self.ignore
        channels = tuple(layer.shape[2] for layer in tokens.layers)
        most = max(tile.counted.stop - tile.counted.start for tile in self.tiles)
        self._form = pick_form(form, patches=most, channels=channels, xp=xp)
        self.form = self._form.name

    def _places(self, part: slice) -> Any:
        if self.roi is None or self.roi[part].all():
            return None
        return self._xp.asarray(np.flatnonzero(self.roi[part]))

    def distances(
        self,
        features: Any,
        tile: TilePatches,
        ignored: Any | None,
        step: Callable[[int], None] | None,
    ) -> Any:
        """Return the distances (N, P', N) of the P' patches that count in a tile.

        Parameters
        ----------
        features : array, shape (N, g·g, C)
            Of the tile.
        tile : TilePatches
        ignored : array, shape (N, P), bool, or None
            Of all tiles.
        step : callable or None
            See `score_tokens`.
        """
        found = distances_by(
            self._form,
            tile.counting(features),
            ignore=None if ignored is None else tile.counting(tile.of(ignored)),
            groups=self._groups,
            threads=self._threads,
            progress=step,
        )
        if self._absent is not None:  # as near as can be to every image that can be matched
            absent = tile.counting(tile.of(self._absent))
            rows = found[absent]
            found[absent] = self._xp.where(self._xp.isfinite(rows), rows.dtype.type(0), rows)
        return found

    def whole(self, parts: Sequence[Any]) -> Any:
        """Return values (N, P') of each of `tiles` as (N, P); 0 where nothing counts."""
        rows = parts[0] if len(parts) == 1 else self._xp.concatenate(parts, axis=1)
        return rows if self.roi is None else on_grid(rows, self.roi)
