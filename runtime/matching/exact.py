"""The compiled bank: one float32 product with all slots, minima taken while tiles are in the cache.

A product of one frame's rows with a block of slots fills a tile that stays in the L2 cache; one
compiled pass takes its row and column minima, and near matches are computed anew
(`zeroline.runtime.matching.operand` has the product).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from zeroline.runtime.arrays import Bools, Float32
from zeroline.runtime.compiled import compiled_loops
from zeroline.runtime.matching.operand import (
    IGNORED,
    NEAR,
    left_rows,
    right_operand,
    rounding_margin,
    tile_shape,
)

_NEAR_BITS = int(np.float32(NEAR).view(np.int32))


@dataclass(frozen=True)
class ExactQuery:
    """A new frame, ready for the products.

    Attributes
    ----------
    features : array, shape (P, C), float32
    ignore : array, shape (P,), bool
    operand : array, shape (P, C + 2), float32
        Its ignored patches are out of everybody's reach.
    own : array, shape (ignored patches, C + 2), float32
        Nobody matches them, but they match others.
    """

    features: Float32
    ignore: Bools
    operand: Float32
    own: Float32


class ExactBank:
    """Features and the right operand of the augmented product; see `FeatureBank`.

    Parameters
    ----------
    features : array, shape (W, P, C), float32
        Taken as they are, and written to by `put`.
    ignore : array, shape (W, P), bool, optional
        Patches that nobody may match.
    """

    def __init__(self, features: Float32, ignore: Bools | None = None) -> None:
        self.features = features
        slots, patches, _ = features.shape
        self._ignored = np.zeros((slots, patches), bool) if ignore is None else ignore.copy()
        self._operand: Float32 = right_operand(features, ignore)
        self._rows, self.block = tile_shape(patches)

    @classmethod
    def empty(cls, slots: int, patches: int, channels: int, *, turn: int, xp: Any) -> ExactBank:  # noqa: ARG003
        """Return an empty bank; see `FeatureBank`."""
        return cls(xp.zeros((slots, patches, channels), dtype=xp.float32))

    @classmethod
    def holding(cls, features: Any, ignore: Any) -> ExactBank:
        """Return a bank that holds a set; see `FeatureBank`."""
        return cls(features, ignore)

    @classmethod
    def patch_bytes(cls, channels: int) -> int:
        """Return the bytes of one patch in a bank."""
        return 4 * (2 * channels + 2)

    @property
    def nbytes(self) -> int:
        """Bytes of features and operand."""
        return int(self.features.nbytes + self._operand.nbytes)

    def put(self, slot: int, features: Float32, ignore: Bools) -> None:
        """Write a frame to a slot."""
        patches = self.features.shape[1]
        self.features[slot] = features
        self._ignored[slot] = ignore
        place = slice(slot * patches, (slot + 1) * patches)
        self._operand[:, place] = right_operand(features[None], ignore[None])

    def query(self, features: Float32, ignore: Bools) -> ExactQuery:
        """Prepare a frame for `minima`."""
        operand = left_rows(features)
        own = operand[ignore]
        operand[ignore, features.shape[1]] = IGNORED
        return ExactQuery(features, ignore, operand, own)

    def minima(
        self, query: ExactQuery, start: int, stop: int, rows: Float32, columns: Float32
    ) -> None:
        """Match a frame with some slots; see `FeatureBank.minima`."""
        patches = self.features.shape[1]
        right = self._operand[:, start * patches : stop * patches]
        bank = self.features[start:stop]
        columns[:] = self._product(query.operand, right, query.features, bank, rows)
        if len(query.own):
            least = np.empty((stop - start, len(query.own)), np.float32)
            self._product(query.own, right, query.features[query.ignore], bank, least)
            rows[:, query.ignore] = least
        ignored = self._ignored[start:stop]
        if ignored.any():
            columns[ignored] = self._own_minima(bank[ignored], query)

    def _own_minima(self, chosen: Float32, query: ExactQuery) -> Float32:
        """Match slots' patches that nobody may match, (n, C), with a frame."""
        minima = np.empty((1, len(chosen)), np.float32)
        right = right_operand(query.features[None], query.ignore[None])
        self._product(left_rows(chosen), right, chosen, query.features[None], minima)
        return minima.reshape(-1)

    def _product(
        self, left: Float32, right: Float32, of_left: Float32, of_right: Float32, rows: Float32
    ) -> Float32:
        """Write row minima by slot; return column minima, shape (slots, P)."""
        columns = block_minima(left, right, of_left, of_right, rows, height=self._rows)
        return columns.reshape(of_right.shape[:2])


def block_minima(
    left: Float32,
    right: Float32,
    left_features: Float32,
    right_features: Float32,
    row_minima: Float32,
    *,
    height: int,
) -> Float32:
    """Write the row minima of left·right, image by image; return its column minima.

    left : (R, C + 2); right : (C + 2, images·P); left_features : (R, C); right_features :
    (images, P, C); row_minima : (images, R), written to; height : rows of a tile.
    """
    loops: Any = compiled_loops()
    images, _, channels = right_features.shape
    columns = np.full(right.shape[1], np.inf, dtype=np.float32)
    tile_columns = np.empty_like(columns)
    tile = np.empty((min(height, len(left)), len(columns)), dtype=np.float32)
    for start in range(0, len(left), height):
        part = slice(start, min(start + height, len(left)))
        product = tile[: part.stop - start]
        np.matmul(left[part], right, out=product)
        least = loops.tile_minima(
            product.view(np.int32),
            images,
            row_minima.view(np.int32),
            start,
            tile_columns.view(np.int32),
        )
        if least < _NEAR_BITS:
            loops.refine_near(
                product,
                images,
                left_features[part],
                right_features.reshape(-1, channels),
                row_minima,
                start,
                tile_columns,
                NEAR,
                rounding_margin(channels),
            )
        np.minimum(columns, tile_columns, out=columns)
    return columns
