"""What a backbone gives for a set of images: patch tokens by layer, and class tokens."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from zeroline.runtime.arrays import Bools, array_namespace, to_host
from zeroline.runtime.grid import Grid

#: The largest float16.
_MOST_HALF = 65504.0


@dataclass(frozen=True)
class Tokens:
    """Outputs of the backbone for N images.

    Attributes
    ----------
    layers : tuple of arrays, each of shape (N, P, C_l), float32
        Patch tokens, without a class token, in the order of the layers.
    class_tokens : array, shape (N, D), float
        Rows of unit length, unless the bundle's manifest says that they are not.
    tiles : (int, int)
        Rows and columns of tiles, each with a square grid of patches: P counts those of all tiles.

    Examples
    --------
    >>> import numpy as np
    >>> tokens = Tokens((np.zeros((2, 9, 4), np.float32),), np.eye(2, dtype=np.float32))
    >>> len(tokens), tokens.finite().tolist()
    (2, [True, True])
    """

    layers: tuple[Any, ...]
    class_tokens: Any
    tiles: tuple[int, int] = (1, 1)

    def __len__(self) -> int:
        return len(self.class_tokens)

    @property
    def grid(self) -> Grid:
        """The grid of an image's patches."""
        return Grid.of(self.layers[0].shape[1], self.tiles)

    def finite(self) -> Bools:
        """Return, for each image, whether all its tokens are finite; shape (N,), on the host."""
        xp = array_namespace(self.class_tokens)
        good = xp.isfinite(self.class_tokens).all(axis=1)
        for layer in self.layers:
            good &= xp.isfinite(layer).all(axis=(1, 2))
        return np.asarray(good.get() if xp is not np else good)

    def checked(self) -> tuple[Bools, Tokens]:
        """Return `finite`, and the tokens with class tokens on the host: one copy from a device.

        Where an image has NaN or inf, its class token may be anything.
        """
        xp = array_namespace(self.class_tokens)
        if xp is np:
            return self.finite(), self
        # a sum is finite only where all are; in double none of them leaves the range
        total = self.class_tokens.sum(axis=1, dtype=xp.float64)
        for layer in self.layers:
            total += layer.sum(axis=(1, 2), dtype=xp.float64)
        good = xp.isfinite(total).astype(self.class_tokens.dtype)
        sent = to_host(xp.concatenate([self.class_tokens, good[:, None]], axis=1))
        return sent[:, -1] == 1, Tokens(self.layers, sent[:, :-1], self.tiles)

    def on_host(self) -> Tokens:
        """Return the tokens as NumPy arrays."""
        layers = tuple(to_host(layer) for layer in self.layers)
        return Tokens(layers, to_host(self.class_tokens), self.tiles)

    def sent_home(self) -> Tokens:
        """Return a copy with float16 layers on the host, on its way there from a CUDA device.

        Nothing waits for it: it may be read after the device has been waited for. What float16
        does not hold becomes its largest number. Tokens on the host are returned as they are.
        """
        xp = array_namespace(self.layers[0])
        if xp is np:
            return self
        layers = []
        for layer in self.layers:
            small = xp.clip(layer, -_MOST_HALF, _MOST_HALF).astype(xp.float16)
            pinned = xp.cuda.alloc_pinned_memory(small.nbytes)
            room = np.frombuffer(pinned, np.float16, small.size).reshape(small.shape)
            layers.append(small.get(out=room, blocking=False))
        return Tokens(tuple(layers), to_host(self.class_tokens), self.tiles)

    def select(self, which: Any) -> Tokens:
        """Return the tokens of some images; `which` is a slice, a mask or indices."""
        layers = tuple(layer[which] for layer in self.layers)
        return Tokens(layers, self.class_tokens[which], self.tiles)


def joined(parts: Iterable[Tokens]) -> Tokens:
    """Return the tokens of several sets as one set, in their order; at least one set."""
    sets = list(parts)
    if len(sets) == 1:
        return sets[0]
    xp = array_namespace(sets[0].class_tokens)
    layers = zip(*(part.layers for part in sets), strict=True)
    return Tokens(
        tuple(xp.concatenate(same) for same in layers),
        xp.concatenate([part.class_tokens for part in sets]),
        sets[0].tiles,
    )


class TokenBuffer:
    """Collects the tokens of up to `capacity` images without a second copy of them.

    Room is taken when the first batch shows shapes and library, and only what is filled is
    ever touched.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._filled = 0
        self._room: Tokens | None = None

    def append(self, batch: Tokens) -> None:
        """Add a batch's images behind those already here."""
        if self._room is None:
            xp = array_namespace(batch.class_tokens)
            self._room = Tokens(
                tuple(
                    xp.empty((self._capacity, *layer.shape[1:]), dtype=xp.float32)
                    for layer in batch.layers
                ),
                xp.empty((self._capacity, batch.class_tokens.shape[1]), dtype=xp.float32),
                batch.tiles,
            )
        place = slice(self._filled, self._filled + len(batch))
        for room, layer in zip(self._room.layers, batch.layers, strict=True):
            room[place] = layer
        self._room.class_tokens[place] = batch.class_tokens
        self._filled += len(batch)

    def __len__(self) -> int:
        return self._filled

    def tokens(self) -> Tokens | None:
        """Return what was collected, as views; None where nothing was."""
        return None if self._room is None else self._room.select(slice(0, self._filled))
