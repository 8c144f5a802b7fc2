"""The plain bank: float32 in array operations, for NumPy and CuPy alike.

The form that can be read in a minute. It serves where the compiled one cannot: on a CUDA device,
and where numba is missing. Tests hold the other forms against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zeroline.runtime.arrays import array_namespace
from zeroline.runtime.matching.operand import IGNORED, NEAR, check_finite

#: Elements of the tile of distances that one step may hold.
TILE_ELEMENTS = 2**24


@dataclass(frozen=True)
class PlainQuery:
    """A new frame, ready for the products.

    Attributes
    ----------
    features : array, shape (P, C), float32
    half_norms : array, shape (P,), float32
        ½‖x‖².
    penalty : array, shape (P,), float32
        `IGNORED` where nobody may match a patch, else 0.
    """

    features: Any
    half_norms: Any
    penalty: Any


class PlainBank:
    """Features and their norms; see `FeatureBank`.

    Parameters
    ----------
    features : array, shape (W, P, C), float32
        Taken as they are, and written to by `put`.
    ignore : array, shape (W, P), bool, optional
        Patches that nobody may match.
    """

    def __init__(self, features: Any, ignore: Any = None) -> None:
        xp = array_namespace(features)
        slots, patches, _ = features.shape
        self.features = features
        self.block = self.block_of(patches)
        self._half_norms = xp.empty((slots, patches), dtype=xp.float32)
        self._penalty = xp.zeros((slots, patches), dtype=xp.float32)
        for slot in range(slots):
            self._half_norms[slot] = _half_norms(features[slot])
            check_finite(self._half_norms[slot], image=slot)
        if ignore is not None:
            self._penalty[ignore] = IGNORED

    @classmethod
    def empty(cls, slots: int, patches: int, channels: int, *, turn: int, xp: Any) -> PlainBank:  # noqa: ARG003
        """Return an empty bank; see `FeatureBank`."""
        return cls(xp.zeros((slots, patches, channels), dtype=xp.float32))

    @classmethod
    def holding(cls, features: Any, ignore: Any) -> PlainBank:
        """Return a bank that holds a set; see `FeatureBank`."""
        return cls(features, ignore)

    @classmethod
    def block_of(cls, patches: int) -> int:
        """Return how many slots of P patches one product takes."""
        return max(1, TILE_ELEMENTS // patches**2)

    @classmethod
    def patch_bytes(cls, channels: int) -> int:
        """Return the bytes of one patch in a bank."""
        return 4 * (channels + 2)

    @property
    def nbytes(self) -> int:
        """Bytes of features, norms and penalties."""
        return int(self.features.nbytes + self._half_norms.nbytes + self._penalty.nbytes)

    def put(self, slot: int, features: Any, ignore: Any) -> None:
        """Write a frame to a slot."""
        query = self.query(features, ignore)
        self.features[slot] = query.features
        self._half_norms[slot], self._penalty[slot] = query.half_norms, query.penalty

    def query(self, features: Any, ignore: Any) -> PlainQuery:
        """Prepare a frame for `minima`."""
        xp = array_namespace(features)
        penalty = xp.where(xp.asarray(ignore), xp.float32(IGNORED), xp.float32(0))
        return PlainQuery(features, _half_norms(features), penalty)

    def minima(self, query: PlainQuery, start: int, stop: int, rows: Any, columns: Any) -> None:
        """Match a frame with some slots; see `FeatureBank.minima`."""
        for first in range(start, stop, self.block):
            last = min(first + self.block, stop)
            tile = self._tile(query, first, last)
            place = slice(first - start, last - start)
            rows[place] = (tile + self._penalty[first:last]).min(axis=2).T
            columns[place] = (tile + query.penalty[:, None, None]).min(axis=0)

    def _tile(self, query: PlainQuery, first: int, last: int) -> Any:
        """Return ½‖x - y‖² (P, slots, P) of all pairs of patches."""
        xp = array_namespace(self.features)
        held = self.features[first:last]
        slots, patches, channels = held.shape
        product = (query.features @ held.reshape(-1, channels).T).reshape(-1, slots, patches)
        tile = query.half_norms[:, None, None] + self._half_norms[first:last] - product
        # ½ + ½ - x·y cancels where rows are near, so these are computed anew
        near = xp.nonzero(tile < NEAR)
        step = max(1, TILE_ELEMENTS // channels)
        for begin in range(0, len(near[0]), step):
            patch, slot, other = (places[begin : begin + step] for places in near)
            difference = query.features[patch] - held[slot, other]
            tile[patch, slot, other] = (difference * difference).sum(axis=1) / xp.float32(2)
        return tile


def _half_norms(features: Any) -> Any:
    xp = array_namespace(features)
    return xp.float32(0.5) * (features * features).sum(axis=1)
