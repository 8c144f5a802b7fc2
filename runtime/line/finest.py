"""The smallest degree of a window: what the search and the recognition of defects look at.

All distances are means over layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from zeroline.runtime.arrays import Float32, array_namespace, to_host
from zeroline.runtime.line.window import Window


def mean_distances(half_squared: Sequence[Any]) -> Any:
    """Return the mean of distances (P, n) of several ½d² (n, P)."""
    xp = array_namespace(half_squared[0])
    total = sum(xp.sqrt(2 * xp.maximum(part, 0)) for part in half_squared)
    return total.T / np.float32(len(half_squared))


def finest_frame(window: Window, slot: int) -> tuple[list[Any], list[Any]]:
    """Return a held frame's features (P', C_l) and ½d² (W, P').

    Both by layer, on the window's device.
    """
    features = window.features_in(slot)
    return (
        [features[scale] for scale in window.finest],
        [window.half_squared[scale, slot] for scale in window.finest],
    )


def patch_distances(window: Window, slots: Sequence[int], patches: Sequence[int]) -> Float32:
    """Return the distances (n, W) of one patch (of P') of each of n frames to every slot.

    On the host.
    """
    parts = [window.half_squared[scale][slots, :, patches] for scale in window.finest]
    return to_host(mean_distances([part.T for part in parts]))


def finest_table(window: Window, slots: Sequence[int]) -> Float32:
    """Return the distances among some frames as they are held: marked patches match nobody.

    Parameters
    ----------
    window : Window
    slots : sequence of int

    Returns
    -------
    array, shape (n, P', n), float32
        On the host; inf where frames do not match.
    """
    xp = array_namespace(window.half_squared)
    chosen = xp.asarray(list(slots))
    table = xp.empty((len(slots), window.shape.compared, len(slots)), np.float32)

    def write_row(image: int) -> None:
        held = [window.half_squared[scale, slots[image]][chosen] for scale in window.finest]
        table[image] = mean_distances(held)

    window.pool.run(write_row, range(len(slots)))
    return to_host(table)


@dataclass(frozen=True)
class MarkedFrame:
    """A frame of a table whose marked patches match nobody.

    Attributes
    ----------
    image : int
        Its number in the table.
    patches : array of int
        The marked ones.
    held : list of arrays, shape (n, P'), float32
        ½d² of all frames to it without them, by layer.
    """

    image: int
    patches: Any
    held: list[Any]


@dataclass(frozen=True)
class SearchTable:
    """The distances among some frames of a window at one moment; nothing here changes any more.

    Attributes
    ----------
    table : array, shape (n, P', n), float32
        From `finest_table`.
    features : list of arrays, shape (n, P', C_l)
        By layer; empty where no frame is marked.
    marked : list of MarkedFrame
    """

    table: Float32
    features: list[Any]
    marked: list[MarkedFrame]

    @classmethod
    def of(cls, window: Window, slots: Sequence[int]) -> SearchTable:
        """Take the distances among the frames in some slots, and what `whole` needs."""
        xp = array_namespace(window.half_squared)
        marked, features = [], []
        for image, slot in enumerate(slots):
            patches = np.flatnonzero(window.marked(slot))
            if len(patches):
                held = [
                    window.half_squared[scale][xp.asarray(list(slots)), slot]
                    for scale in window.finest
                ]
                marked.append(MarkedFrame(image, xp.asarray(patches), held))
        if marked:
            frames = [window.features_in(slot) for slot in slots]
            features = [xp.stack([frame[scale] for frame in frames]) for scale in window.finest]
        return cls(finest_table(window, slots), features, marked)

    def whole(self) -> Float32:
        """Return the distances (n, P', n) as if no patch were marked; some work."""
        if not self.marked:
            return self.table
        table: Float32 = self.table.copy()
        for frame in self.marked:
            near = [
                _with_patches(held, layer, layer[frame.image][frame.patches])
                for layer, held in zip(self.features, frame.held, strict=True)
            ]
            table[:, :, frame.image] = to_host(mean_distances(near)).T
        return table


def _with_patches(held: Any, features: Any, patches: Any) -> Any:
    """Return ½d² (n, P') to a frame as if some of its patches could be matched as well.

    Parameters
    ----------
    held : array, shape (n, P'), float32
        Without them; inf where frames do not match, as those of one part.
    features : array, shape (n, P', C)
        Of the frames that are matched with it.
    patches : array, shape (m, C)
        Of the frame.
    """
    xp = array_namespace(held)
    nearest = _nearest(features, patches)
    return xp.where(xp.isfinite(held), xp.minimum(held, nearest), held)


def _nearest(features: Any, others: Any) -> Any:
    """Return ½d² (n, P') of features (n, P', C) to the nearest of others (m, C)."""
    xp = array_namespace(features)
    theirs = others.astype(xp.float32, copy=False)
    their_norms = (theirs * theirs).sum(axis=1) / 2
    nearest = []
    for frame in features:
        mine = frame.astype(xp.float32, copy=False)
        products = their_norms - mine @ theirs.T
        nearest.append(products.min(axis=1) + (mine * mine).sum(axis=1) / 2)
    return xp.stack(nearest)


def as_if_matched(
    features: Sequence[Any], half_squared: Sequence[Any], examples: Mapping[int, Sequence[Any]]
) -> list[Any]:
    """Return ½d² of one frame by layer, as if the examples of some slots could still be matched.

    Parameters
    ----------
    features : sequence of arrays, shape (P', C_l)
        Of the frame, by layer.
    half_squared : sequence of arrays, shape (W, P')
        As it is, by layer.
    examples : mapping
        By slot: features (m, C_l) of patches that nobody may match, by layer.
    """
    full = []
    for layer, (frame, held) in enumerate(zip(features, half_squared, strict=True)):
        rows = held.copy()
        for slot, theirs in examples.items():
            rows[slot] = _with_patches(rows[slot][None], frame[None], theirs[layer])[0]
        full.append(rows)
    return full
