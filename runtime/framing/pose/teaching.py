"""Teaching: where the part is in the taught picture, and how it lies on itself."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from zeroline.runtime.errors import FramingError
from zeroline.runtime.frames import Frame
from zeroline.runtime.framing.pose.coarse import TURNS, CoarseSearch
from zeroline.runtime.framing.pose.field import direction_field, gradients
from zeroline.runtime.framing.pose.fine import Edges, refined
from zeroline.runtime.framing.pose.ground import CLEAR, part_on_ground
from zeroline.runtime.framing.pose.method import READ
from zeroline.runtime.framing.pose.opencv import opencv
from zeroline.runtime.framing.pose.pixels import Bools, Floats, Grey, shrunk
from zeroline.runtime.framing.pose.points import EdgePoints
from zeroline.runtime.framing.pose.rigid import Matrix, between, turn_of, turned
from zeroline.runtime.framing.pose.upright import Upright

#: About the part's long side in the fine picture, in pixels. The working one is half as large.
FINE_SIDE = 360
#: Coarse candidates that may be readings, and how much of the part's own field agrees in one.
CANDIDATES, ALIKE = 8, 0.4
#: A part is round if so much of its field agrees with itself at half of all turns.
ROUND = 0.6


def part_of(pixels: Frame, mask: Bools | None, /) -> tuple[int, Bools, float]:
    """Find the part in the taught picture.

    Parameters
    ----------
    pixels : array, shape (H, W, 3), uint8
        BGR.
    mask : array, shape (H, W), bool, or None
        The part, if it was drawn.

    Returns
    -------
    factor : int
        By which pictures are to be shrunk: 1, or an even number.
    part : array, shape (H // factor, W // factor), bool
    contrast : float
        See `PartOnGround`; 0 where the picture has one colour.

    Raises
    ------
    FramingError
    """
    found = part_on_ground(pixels)
    contrast = 0.0 if found is None else found.contrast
    if mask is not None:
        if mask.shape != pixels.shape[:2]:
            raise FramingError(
                f"mask has {mask.shape[1]}×{mask.shape[0]} pixels, "
                f"the taught picture has {pixels.shape[1]}×{pixels.shape[0]}"
            )
        down, right = np.nonzero(mask)
        if len(down) == 0:
            raise FramingError("the mask of the taught part is empty")
        factor = _factor(np.stack((right, down), axis=1).astype(np.float32))
        return factor, shrunk(np.where(mask, np.uint8(255), np.uint8(0)), factor) > 127, contrast
    if found is None or found.contrast < CLEAR:
        raise FramingError(
            f"the taught picture shows no part on its ground: contrast {contrast:.1f}, "
            f"{CLEAR:g} is needed (or a drawn mask)"
        )
    factor = _factor(found.outline)
    return factor, (part_on_ground(pixels, factor=factor) or found).mask, contrast


def _factor(points: Floats) -> int:
    long = float(max(opencv().minAreaRect(points)[1]))
    return 2 * round(long / FINE_SIDE) if long >= 0.75 * FINE_SIDE else 1


def self_poses(
    upright: Grey, near: Bools, points: EdgePoints, /, *, level: float, factor: int
) -> list[Matrix]:
    """Return the other poses at which the part lies on itself; 71 turns where it is round.

    Parameters
    ----------
    upright : array, shape (n, n), uint8
        The taught part, grey, in the upright frame.
    near : array, shape (n, n), bool
        The pixels that count.
    points : EdgePoints
        Of the part.
    level : float
        The field's level.
    factor : int
        Working pixels of a coarse pixel.
    """
    search = CoarseSearch(upright, near, factor=factor, shape=upright.shape)
    best = search.agreements(upright).max(axis=(1, 2))
    if (best >= ROUND * best[0]).mean() > 0.5:
        middle = ((len(upright) - 1) / 2,) * 2
        return [turned(360 / TURNS * turn, about=middle) for turn in range(1, TURNS)]
    starts = [found.pose for found in search.candidates(upright, most=CANDIDATES)]
    return _alike(upright, near, points, starts, level=level)


def _alike(
    upright: Grey, near: Bools, points: EdgePoints, poses: Sequence[Matrix], /, *, level: float
) -> list[Matrix]:
    """Refine poses of the part on itself. Those stay in which its field agrees."""
    edges, middle = Edges.of(upright), (len(upright) - 1) / 2
    here = direction_field(edges.gx, edges.gy, level=level) * near
    found = []
    for start in poses:
        pose = refined(edges, points, start, READ, level=level, middle=middle)
        laid = Upright(pose, len(upright))
        there = direction_field(*gradients(laid.picture(upright)), level=level)
        agreement = (here * there * laid.mask(near)).sum() / max(float((here**2).sum()), 1e-9)
        if between(turn_of(pose), 0) > 10 and agreement >= ALIKE:
            found.append(pose)
    return found
