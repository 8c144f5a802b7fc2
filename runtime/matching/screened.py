"""The screened bank: a cheap product names each patch's neighbour, exact arithmetic measures it.

A distance found this way is never under the true one, and equal to it wherever the screen
(`matching.screens`) names the true neighbour. The screen is fitted to what the bank
holds, again whenever its frames have doubled, and then once for each W frames: what the line
shows may drift.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from zeroline.runtime.arrays import Bools, Float32, Int32
from zeroline.runtime.compiled import compiled_loops
from zeroline.runtime.matching.operand import IGNORED, check_finite, tile_shape
from zeroline.runtime.matching.screens import NO_KEY, SAMPLE, Screen, fit_screen, reduced_bytes

#: Slots of one call at least: what Python does for each call is worth some of them.
_BLOCK = 8


@dataclass(frozen=True)
class ScreenedQuery:
    """A new frame, ready for the products.

    Attributes
    ----------
    features : array, shape (P, C), float32
    ignore : array, shape (P,), bool
    values : array, shape (P, K)
    codes : array, shape (P,), int32
    """

    features: Float32
    ignore: Bools
    values: Any
    codes: Int32


class ScreenedBank:
    """Features, and their reduced form that is multiplied; see `zeroline.runtime.matching.forms`.

    Parameters
    ----------
    features : array, shape (W, P, C), float32
        Written to by `put`.
    turn : int
        Which of W admissions renews the screen.

    Attributes
    ----------
    form : {"pca", "int8"}
        Of the screen.
    """

    form: str

    def __init__(self, features: Float32, *, turn: int = 0) -> None:
        slots, patches, _ = features.shape
        self.features = features
        self._turn = turn % slots
        self._ignored = np.zeros((slots, patches), bool)
        self._there = np.zeros(slots, bool)
        self._admitted = 0
        self._screen: Screen | None = None
        self._values: Any = None
        self._codes = np.zeros((slots, patches), np.int32)
        self._rows, self._images = tile_shape(patches)
        self.block = max(self._images, _BLOCK)

    @classmethod
    def empty(cls, slots: int, patches: int, channels: int, *, turn: int, xp: Any) -> ScreenedBank:
        """Return an empty bank; see `FeatureBank`."""
        return cls(xp.zeros((slots, patches, channels), np.float32), turn=turn)

    @classmethod
    def patch_bytes(cls, channels: int) -> int:
        """Return the bytes of one patch in a bank."""
        return 4 * channels + reduced_bytes(cls.form, channels)

    @classmethod
    def holding(cls, features: Float32, ignore: Bools | None) -> ScreenedBank:
        """Return a bank that holds a set; see `FeatureBank`.

        Raises
        ------
        ScoringError
            For NaN or inf; names the image.
        """
        for image, part in enumerate(features):
            check_finite(part, image=image)
        bank = cls(features)
        bank._there[:] = True
        if ignore is not None:
            bank._ignored[:] = ignore
        bank._fit()
        return bank

    @property
    def nbytes(self) -> int:
        """Bytes of features, their reduced form (0 before the first frame) and codes."""
        values = 0 if self._values is None else self._values.nbytes
        return int(self.features.nbytes + values + self._codes.nbytes)

    def put(self, slot: int, features: Float32, ignore: Bools) -> None:
        """Write a frame to a slot."""
        self.features[slot] = features
        self._ignored[slot] = ignore
        self._there[slot] = True
        self._admitted += 1
        if self._is_turn():
            self._fit()
        else:
            self._encode(slot)

    def query(self, features: Float32, ignore: Bools) -> ScreenedQuery:
        """Prepare a frame for `minima`."""
        if self._screen is None:  # nothing to match yet
            return ScreenedQuery(features, ignore, None, np.zeros(len(features), np.int32))
        return ScreenedQuery(features, ignore, *self._screen.left(features, ignore))

    def minima(
        self, query: ScreenedQuery, start: int, stop: int, rows: Float32, columns: Float32
    ) -> None:
        """Match a frame with some slots; see `FeatureBank.minima`."""
        screen, loops = self._screen, compiled_loops()
        assert screen is not None  # noqa: S101 - a slot was filled, so it was fitted
        images, patches = stop - start, len(query.features)
        row_keys = np.empty((images, patches), np.int32)
        column_keys = np.full((images, patches), NO_KEY, np.int32)
        values, codes = self._values[start:stop], self._codes[start:stop]
        tile = np.empty(self._images * self._rows * patches, np.int32)
        for first in range(0, images, self._images):
            some = slice(first, min(first + self._images, images))
            for top in range(0, patches, self._rows):
                part = query.values[top : top + self._rows]
                shape = some.stop - first, len(part), patches
                product = tile[: shape[0] * shape[1] * patches].reshape(shape)
                screen.product(part, values[some], product)
                loops.least_keys(
                    product, screen.shift, screen.bits, query.codes, codes[some], top,
                    row_keys[some], column_keys[some],
                )  # fmt: skip
        loops.measure_named(
            query.features, self.features[start:stop], query.ignore, self._ignored[start:stop],
            row_keys, column_keys, screen.bits, IGNORED, rows, columns,
        )  # fmt: skip

    def _is_turn(self) -> bool:
        slots = len(self.features)
        if self._admitted <= slots:
            doubled = self._admitted & (self._admitted - 1) == 0
            return doubled or self._admitted == slots
        return bool(self._admitted % slots == self._turn)

    def _fit(self) -> None:
        """Fit the screen to the frames that are there, and write their reduced form anew."""
        slots, patches, _ = self.features.shape
        held = np.flatnonzero(self._there)
        count = min(SAMPLE, len(held) * patches)
        drawn = np.random.default_rng(0).choice(len(held) * patches, count, replace=False)
        rows = self.features[held[drawn // patches], drawn % patches]
        self._screen = fit_screen(self.form, rows, patches)
        if self._values is None:
            shape = (slots, self._screen.depth, patches)
            self._values = np.zeros(shape, self._screen.dtype)
        for slot in held.tolist():
            self._encode(slot)

    def _encode(self, slot: int) -> None:
        assert self._screen is not None  # noqa: S101 - the first frame is fitted to
        values, codes = self._screen.right(self.features[slot], self._ignored[slot])
        self._values[slot], self._codes[slot] = values, codes


class PcaBank(ScreenedBank):
    """Screened by 64 dimensions in float32."""

    form = "pca"


class Int8Bank(ScreenedBank):
    """Screened by 128 dimensions in 8 bits."""

    form = "int8"
