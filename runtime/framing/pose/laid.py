"""The part laid upright and flat: what the network sees."""

from __future__ import annotations

import numpy as np

from zeroline.runtime.frames import Frame, to_bgr8
from zeroline.runtime.framing.pose.found import FoundPose
from zeroline.runtime.framing.pose.opencv import opencv
from zeroline.runtime.framing.pose.pixels import Bools, Floats, shrunk
from zeroline.runtime.framing.pose.rigid import Matrix, after, enlarged, inverse, turned
from zeroline.runtime.framing.pose.taught import MARGIN, By, TaughtPart

#: How much wider than the part its mask is, as a share of the frame's side. Found by its pattern,
#: the part shows its rim, and chips and burrs on it. Found by its outline, it has no pattern in
#: common with others: the step from its own tone to the ground would be the strongest edge in view.
WIDER: dict[By, float] = {"pattern": MARGIN, "outline": -0.006}
#: The mask's edge is so soft.
SOFT = 0.01


def laid_flat(
    taught: TaughtPart,
    picture: Frame,
    pose: FoundPose,
    side: int,
    /,
    *,
    by: By,
) -> tuple[Frame, Bools]:
    """Lay a found part upright; what lies round it becomes one flat colour.

    By its pattern the part is shown with its rim, and the colour is that of the taught ground. By
    its outline it is shown a little less than whole, and the colour is that of the taught part.

    Parameters
    ----------
    taught : TaughtPart
    picture : array, shape (H, W, 3), uint8
        BGR, the picture in which the part was found.
    pose : FoundPose
    side : int
        Side of the result in pixels.
    by : {"pattern", "outline"}
        How the part was found.

    Returns
    -------
    laid : array, shape (side, side, 3), uint8
        The upright frame. What lies round the part, or outside the picture, has the flat colour.
    missing : array, shape (side, side), bool
        Where the part lies outside the picture.

    Notes
    -----
    Ours. Reflected borders instead of one colour look like defects.
    """
    cv2 = opencv()
    pixels = to_bgr8(picture)
    into = after(pose.matrix, enlarged(taught.side / side))
    colour = taught.ground if by == "pattern" else taught.tone
    laid = _warped(pixels, into, side, colour=colour)
    distance = taught.distance(side)
    cover = np.clip(0.5 + (np.float32(WIDER[by]) - distance) / np.float32(SOFT), 0, 1)
    flat = np.full_like(laid, np.rint(colour).astype(np.uint8))
    laid = cv2.blendLinear(laid, flat, cover, 1 - cover)
    return np.asarray(laid), (distance < 0) & ~_inside(into, side, pixels.shape)


def _inside(into: Matrix, side: int, shape: tuple[int, ...]) -> Bools:
    """Tell which pixels of the upright frame lie in the picture."""
    line = np.arange(side)
    x, y = (row[0] * line + row[1] * line[:, None] + row[2] for row in into)
    height, width = shape[:2]
    return np.asarray((x >= -0.5) & (x <= width - 0.5) & (y >= -0.5) & (y <= height - 0.5))


def _warped(pixels: Frame, into: Matrix, side: int, *, colour: tuple[float, float, float]) -> Frame:
    """Resample a picture without aliasing.

    The picture is shrunk to two to four pixels for each pixel of the result. It is laid so that
    there is at least one pixel for each of its own, and shrunk again.
    """
    cv2 = opencv()
    scale = float(np.hypot(into[0, 0], into[1, 0]))
    before = max(1, int(scale / 2))
    behind = max(1, int(np.ceil(scale / before - 1e-6)))
    origin, window = _cut(pixels, into, side, whole=before)
    there = after(inverse(enlarged(before)), turned(0, about=origin, to=(0, 0)))
    fine = after(after(there, into), inverse(enlarged(behind)))
    laid = cv2.warpAffine(
        shrunk(window, before), fine, (side * behind,) * 2,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT, borderValue=colour,
    )  # fmt: skip
    return shrunk(np.asarray(laid), behind)


def _cut(
    pixels: Frame, into: Matrix, side: int, *, whole: int
) -> tuple[tuple[float, float], Frame]:
    """Cut out what the frame covers, in whole squares of pixels."""
    ends: Floats = np.array(((0, 0), (0, side), (side, 0), (side, side)), np.float32)
    corners = ends @ into[:, :2].T + into[:, 2]
    limit = np.array(pixels.shape[1::-1])
    first = np.clip(corners.min(axis=0) - whole, 0, np.maximum(limit - whole, 0))
    left, top = (first // whole * whole).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(axis=0)) + 2 * whole, whole, limit).astype(int)
    return (float(left), float(top)), pixels[top:bottom, left:right]
