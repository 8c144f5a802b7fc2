"""The smallest degree of a window: what the search and the recognition of defects look at.

All distances are means over layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from zeroline.runtime.arrays import Float32, array_namespace, to_host
from zeroline.runtime.line.window import Window

Indices = npt.NDArray[np.intp]


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


def finest_features(window: Window, slots: Sequence[int]) -> list[Any]:
    """Return the features (n, P', C_l) of some frames by layer, copied one frame at a time."""
    xp = array_namespace(window.half_squared)
    rooms: list[Any] = []
    for image, slot in enumerate(slots):
        held = window.features_in(slot)
        frame = [held[scale] for scale in window.finest]
        if not rooms:
            rooms = [xp.empty((len(slots), *part.shape), part.dtype) for part in frame]
        for room, part in zip(rooms, frame, strict=True):
            room[image] = part
    return rooms


@dataclass(frozen=True)
class MarkedFrame:
    """A frame of a table whose marked patches match nobody.

    Attributes
    ----------
    image : int
        Its number in the table.
    patches : array of int
        The marked ones, of P'.
    held : list of arrays, shape (n, P'), float32
        ½d² of all frames to it without them, by layer.
    """

    image: int
    patches: Indices
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
    tiles : tuple of slice
        Where each tile's patches stand among the P'.
    """

    table: Float32
    features: list[Any]
    marked: list[MarkedFrame]
    tiles: tuple[slice, ...]

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
                marked.append(MarkedFrame(image, patches, held))
        if marked:
            features = finest_features(window, slots)
        return cls(finest_table(window, slots), features, marked, window.tiles)

    def whole(self) -> Float32:
        """Return the distances (n, P', n) as if no patch were marked; some work."""
        if not self.marked:
            return self.table
        table: Float32 = self.table.copy()
        for frame in self.marked:
            near = [
                _with_patches(
                    held,
                    layer,
                    layer[frame.image][array_namespace(layer).asarray(frame.patches)],
                    frame.patches,
                    self.tiles,
                )
                for layer, held in zip(self.features, frame.held, strict=True)
            ]
            table[:, :, frame.image] = to_host(mean_distances(near)).T
        return table


def _with_patches(
    held: Any, features: Any, others: Any, places: Indices, tiles: Sequence[slice]
) -> Any:
    """Return ½d² (n, P') to a frame as if some of its patches could be matched as well.

    In each tile by those of the same tile.

    Parameters
    ----------
    held : array, shape (n, P'), float32
        Without them; inf where frames do not match, as those of one part.
    features : array, shape (n, P', C)
        Of the frames that are matched with it.
    others : array, shape (m, C)
        Patches of the frame.
    places : array, shape (m,), int
        Where they stand among its P'.
    tiles : sequence of slice
        Where each tile's patches stand among the P'.
    """
    xp = array_namespace(held)
    matched = xp.isfinite(held).any(axis=1, keepdims=True)  # all patches of a tile may be marked
    parts = []
    for tile in tiles:
        rows = held[:, tile]
        own = (places >= tile.start) & (places < tile.stop)
        if own.any():
            theirs = others if own.all() else others[xp.asarray(np.flatnonzero(own))]
            nearest = _nearest(features[:, tile], theirs)
            rows = xp.where(matched, xp.minimum(rows, nearest), rows)
        parts.append(rows)
    return parts[0] if len(parts) == 1 else xp.concatenate(parts, axis=1)


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


@dataclass(frozen=True)
class Examples:
    """Patches of a frame that nobody may match, but known defects are recognised by them.

    Attributes
    ----------
    features : tuple of arrays, shape (m, C_l)
        By layer, of the finest degree.
    places : array, shape (m,), int
        Where they stand among the frame's P'.
    """

    features: tuple[Any, ...]
    places: Indices


def as_if_matched(
    features: Sequence[Any],
    half_squared: Sequence[Any],
    examples: Mapping[int, Examples],
    tiles: Sequence[slice],
) -> list[Any]:
    """Return ½d² of one frame by layer, as if the examples of some slots could still be matched.

    Parameters
    ----------
    features : sequence of arrays, shape (P', C_l)
        Of the frame, by layer.
    half_squared : sequence of arrays, shape (W, P')
        As it is, by layer.
    examples : mapping
        By slot.
    tiles : sequence of slice
        Where each tile's patches stand among the P'.
    """
    full = []
    for layer, (frame, held) in enumerate(zip(features, half_squared, strict=True)):
        rows = held.copy()
        for slot, own in examples.items():
            near = rows[slot][None], frame[None], own.features[layer], own.places, tiles
            rows[slot] = _with_patches(*near)[0]
        full.append(rows)
    return full
