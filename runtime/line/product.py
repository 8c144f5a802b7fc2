"""Another product before the camera, or none: the class tokens tell, and nothing else is needed.

A frame of another product differs everywhere, so it scores far over the threshold, and an empty
belt may score under it. Neither says anything about a part. The class token says what the whole
picture shows (docs/algorithms.md, "Rolling window").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from zeroline.runtime.arrays import Float32
from zeroline.runtime.line.slots import Slots

#: The frame that counts is the one at this share of the window's frames, sorted by distance: the
#: part of them that a patch is compared with. So a few strange frames in the window say nothing.
RANK_SHARE = 0.3
#: Another product is farther from the window than its frames, in the median, are from each other
#: by more than this factor. Measured with `tiny`: defective parts up to 3.0, another product from
#: 4.1 on.
FARTHER = 3.5
#: Or it is farther by this share of the way to unrelated unit rows. Where good parts differ much,
#: no row is 3.5 times as far: with MobileNetV2 plates are 1.2 from tiles that are 0.37 apart. It
#: must be twice as far then: class tokens that are all unrelated say nothing.
UNRELATED, WAY, LEAST_FACTOR = 2**0.5, 0.7, 2
#: And it is farther than this distance of unit rows. A defect over a quarter of the picture has
#: 0.4, other products 0.85 and more: a defect must never be taken for another product.
LEAST_DISTANCE = 0.5
#: Frames, the newest, that are looked at: enough, and the work is the same in any window.
MOST_FRAMES = 128
#: In fewer frames nothing is said.
LEAST_FRAMES = 12


def is_other_product(class_token: Float32, class_tokens: Float32, /) -> bool:
    """Tell whether a frame shows another product than some other frames.

    Its distance to them, at a rank, is held against the median of their own distances to each
    other at the same rank.

    Parameters
    ----------
    class_token : array, shape (D,), float
        Of the frame, of any length.
    class_tokens : array, shape (n, D), float
        Of the frames that it is compared with.

    Returns
    -------
    bool
        False where there are fewer than `LEAST_FRAMES`.
    """
    count = len(class_tokens)
    if count < LEAST_FRAMES:
        return False
    rows = _unit_rows(class_tokens)
    distance = np.partition(_distances(rows @ _unit_rows(class_token[None])[0]), _rank(count))
    far = float(distance[_rank(count)])
    if far <= LEAST_DISTANCE:
        return False
    among = _distances(rows @ rows.T)
    np.fill_diagonal(among, np.inf)
    rank = _rank(count - 1)
    typical = float(np.median(np.partition(among, rank, axis=1)[:, rank]))
    most_of_the_way = max(typical + WAY * (UNRELATED - typical), LEAST_FACTOR * typical)
    return far > min(FARTHER * typical, most_of_the_way)


def _rank(count: int) -> int:
    """Return the place, from 0, of the distance that counts among so many sorted ones."""
    return max(int(RANK_SHARE * count), 1) - 1


def _unit_rows(class_tokens: Float32) -> Float32:
    rows = class_tokens.astype(np.float32, copy=False)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(length > 0, length, 1), np.float32)


def _distances(products: Any) -> Any:
    return np.sqrt(np.maximum(2 - 2 * products, 0))


@dataclass(frozen=True)
class Product:
    """What a new frame shows.

    Attributes
    ----------
    other : bool
        Another product than the window.
    in_a_row : int
        How many such frames have come one after the other, this one included.
    begun_anew : bool
        The line makes another product now: the window has to be begun anew, with this frame.
    """

    other: bool
    in_a_row: int
    begun_anew: bool = False


class ProductWatch:
    """Counts frames of another product, and knows when the line has changed its product.

    Parameters
    ----------
    slots : Slots
        What is in the window.
    least : int
        Frames in the window before anything is said.
    """

    def __init__(self, slots: Slots, *, least: int) -> None:
        self._slots, self._least = slots, least
        self._in_a_row = 0

    def look(self, class_token: Float32) -> Product:
        """Look at a new frame, and count it.

        The window is begun anew after as many frames of another product in a row as it has slots:
        it would have forgotten the old product by then. A pinned frame is a person's word for what
        the product is, and no number of frames changes it.
        """
        warm = len(self._slots) >= self._least
        if not (warm and is_other_product(class_token, self._held_class_tokens())):
            self._in_a_row = 0
            return Product(other=False, in_a_row=0)
        self._in_a_row += 1
        count = self._in_a_row
        if count < len(self._slots.filled) or self._slots.pinned:
            return Product(other=True, in_a_row=count)
        self._in_a_row = 0
        return Product(other=False, in_a_row=count, begun_anew=True)

    def _held_class_tokens(self) -> Float32:
        places = self._slots.newest(MOST_FRAMES)
        return np.concatenate([self._slots[place].tokens.class_tokens for place in places])
