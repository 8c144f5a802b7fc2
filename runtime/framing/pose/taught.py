"""The taught part: what is kept of the taught picture, and the search for the part in others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from zeroline.runtime.errors import FramingError
from zeroline.runtime.frames import Frame, to_bgr8
from zeroline.runtime.framing.pose import rigid
from zeroline.runtime.framing.pose.coarse import CoarseSearch
from zeroline.runtime.framing.pose.field import direction_field, gradients
from zeroline.runtime.framing.pose.fine import Edges, on_edges, refined
from zeroline.runtime.framing.pose.found import FoundPose
from zeroline.runtime.framing.pose.ground import CLEAR, part_on_ground
from zeroline.runtime.framing.pose.opencv import opencv
from zeroline.runtime.framing.pose.outline import TaughtOutline
from zeroline.runtime.framing.pose.pixels import Bools, Floats, Grey, grey, shrunk, widened
from zeroline.runtime.framing.pose.points import EdgePoints, edge_points
from zeroline.runtime.framing.pose.quality import quality, share_in_view
from zeroline.runtime.framing.pose.reading import Reading, decided, detail, reading_of
from zeroline.runtime.framing.pose.rigid import Matrix, after, enlarged, inverse

By = Literal["pattern", "outline"]

#: About the part's long side in the working picture, and in the coarse one, in pixels.
LONG_SIDE, COARSE_SIDE = 180, 45
#: Round the part in the upright frame: working pixels for the search, share of the long side shown.
RIM, MARGIN = 10, 0.05
#: Edges this near to the part count as its own, in working pixels.
NEAR = 3
#: Coarse candidates that go on, and how far their points look, step by step.
CANDIDATES, FIRST, LAST, FINAL = 3, (6, 5), (4, 3, 2), (2,)
#: A pose in which so much of the part's own field agrees is another reading.
ALIKE = 0.4
#: A part is round if so much of it agrees at half of all turns: each turn is a reading.
ROUND = 0.6


@dataclass(frozen=True, eq=False)
class TaughtPart:
    """A part, taught from one picture; it does not change, so threads may share it.

    Attributes
    ----------
    size : tuple of int
        Height and width of the taught picture. Other pictures must have the same.
    upright : array, shape (2, 3), float64
        Upright frame → taught picture, in pixels of the taught picture; pixel centres at whole
        numbers.
    side : int
        Side of the upright frame in pixels of the taught picture: the smallest upright square
        round the part, and a margin of 5 % on each side.
    contrast : float
        Whether the ground tells the part, see `PartOnGround`: from 5 on it does.
    ground : tuple of float
        The colour round the part, BGR.
    readings : tuple of Reading
        The other poses in which the part looks almost alike: three for a square plate.

    Examples
    --------
    >>> picture = np.full((200, 300, 3), 40, np.uint8)
    >>> picture[60:140, 80:220] = 170
    >>> picture[80:100, 100:130] = 90
    >>> part = TaughtPart.of(picture)
    >>> pose = part.find(np.roll(picture, (10, -20), axis=(0, 1)), by="pattern")
    >>> (pose.matrix - part.upright)[:, 2].round(1).tolist(), pose.problem
    ([-20.0, 10.0], None)
    """

    size: tuple[int, int]
    upright: Matrix
    side: int
    contrast: float
    ground: tuple[float, float, float]
    readings: tuple[Reading, ...]
    _factor: int
    _upright: Matrix
    _grey: Grey
    _level: float
    _search: CoarseSearch
    _points: EdgePoints
    _inner: Floats
    _outline: TaughtOutline
    _rim: EdgePoints
    _outline_readings: tuple[Reading, ...]

    @classmethod
    def of(cls, picture: Frame, /, *, mask: Bools | None = None) -> TaughtPart:
        """Teach a part.

        Parameters
        ----------
        picture : array, shape (H, W, 3), uint8
            BGR; grey is taken too.
        mask : array, shape (H, W), bool, optional
            The part; what differs from the ground where it is not given.

        Raises
        ------
        FramingError
            If the picture shows no part, or the mask does not fit.
        FrameError
            If it is no picture.
        """
        pixels = to_bgr8(picture)
        factor, part, contrast = _part_of(pixels, mask)
        work = shrunk(pixels, factor)
        whole, long = _upright_of(part)
        side = int(np.ceil(long)) + 2 * RIM
        place = after(whole, rigid.turned(0, about=((side - 1) / 2,) * 2, to=(0, 0)))
        laid = _Laid(place, side)
        upright, inside = laid.picture(grey(work)), laid.mask(part)
        seen = laid.mask(np.ones(part.shape, bool))
        near = widened(inside, NEAR) & widened(seen, -2)
        gx, gy = gradients(upright)
        length = np.hypot(gx, gy)
        level = float(np.percentile(length[near], 90)) / 2 if near.any() else 0.0
        points = edge_points(gx, gy, allowed=near, least=max(level, 0.5))
        if len(points.at) < 30:
            raise FramingError(
                f"the taught picture shows no part: {len(points.at)} edge points, 30 are needed"
            )
        outside = work[~widened(part, NEAR)]
        ground = np.median(outside if len(outside) else work.reshape(-1, 3), axis=0)
        coarse = max(1, round(long / COARSE_SIDE))
        search = CoarseSearch(upright, near, factor=coarse, shape=work.shape[:2])
        outline = TaughtOutline(inside)
        rim = on_edges(Edges(gx, gy), outline.points, reach=NEAR, level=level)
        down, right = np.nonzero(inside)
        middle = (side - 1) / 2

        def reading(pose: Matrix) -> Reading:
            return reading_of(upright, inside & seen, pose, level=level)

        square = int(np.ceil(long * factor * (1 + 2 * MARGIN)))
        part_itself = _Itself(upright, near, points, search, level, middle)
        return cls(
            size=pixels.shape[:2],
            upright=_in_picture(place, factor, middle, square),
            side=square,
            contrast=contrast,
            ground=(float(ground[0]), float(ground[1]), float(ground[2])),
            readings=tuple(map(reading, part_itself.poses())),
            _factor=factor,
            _upright=place,
            _grey=upright,
            _level=level,
            _search=search,
            _points=points,
            _inner=np.stack((right, down), axis=1).astype(np.float32)[::7],
            _outline=outline,
            _rim=rim,
            _outline_readings=tuple(map(reading, outline.self_poses())),
        )

    def mask(self, side: int, /) -> Bools:
        """Return the part in the upright frame, shape (side, side)."""
        return self.distance(side) < 0

    def distance(self, side: int, /) -> Floats:
        """Return the distance to the part's outline in the upright frame.

        Parameters
        ----------
        side : int
            Of the array.

        Returns
        -------
        array, shape (side, side), float32
            In shares of the frame's side, negative inside.
        """
        cv2 = opencv()
        back = self._to_working(enlarged(self.side / side))
        plane = cv2.warpAffine(
            self._outline.distance, back, (side, side),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        return np.asarray(plane * np.float32(self._factor / self.side))

    def find(self, picture: Frame, /, *, by: By) -> FoundPose:
        """Find the part in a picture.

        Parameters
        ----------
        picture : array, shape (H, W, 3), uint8
            BGR, of the taught size.
        by : {"pattern", "outline"}
            By the edges on the part, or by its outline on the ground.

        Returns
        -------
        FoundPose
            With the taught pose and quality 0 where nothing was found.

        Raises
        ------
        FramingError
            If the picture has another size.

        Notes
        -----
        Ours; docs/algorithms.md, *Pose*.
        """
        pixels = to_bgr8(picture)
        if pixels.shape[:2] != self.size:
            raise FramingError(
                f"picture has {pixels.shape[1]}×{pixels.shape[0]} pixels, "
                f"the taught one has {self.size[1]}×{self.size[0]}"
            )
        work = shrunk(grey(pixels), self._factor)
        if by == "pattern":
            starts = [c.pose for c in self._search.candidates(work, most=CANDIDATES)]
            points, readings = self._points, self.readings
        else:
            starts = self._by_outline(pixels)
            points, readings = self._rim, self._outline_readings
        if not starts:
            return FoundPose(self.upright, 0.0, 0.0, 0.0, 0.0)
        origin, window = _window(work, starts, len(self._grey))
        there = rigid.turned(0, about=origin, to=(0, 0))
        pose, margin, fit = self._settled(
            window, points, readings, [after(there, s) for s in starts]
        )
        pose = after(inverse(there), pose)
        matrix = _in_picture(pose, self._factor, self._middle, self.side)
        return FoundPose(
            matrix=matrix,
            quality=fit,
            in_view=share_in_view(self._inner, pose, shape=work.shape),
            margin=margin,
            turn=rigid.turn_of(after(matrix, inverse(self.upright))),
        )

    @property
    def _middle(self) -> float:
        return (len(self._grey) - 1) / 2

    def _settled(
        self,
        window: Grey,
        points: EdgePoints,
        readings: Sequence[Reading],
        starts: Sequence[Matrix],
    ) -> tuple[Matrix, float, float]:
        """Refine the starts, keep the best, read it. Returns pose, margin and quality."""
        edges, level = Edges.of(window), self._level

        def finer(pose: Matrix, reaches: Sequence[int]) -> Matrix:
            return refined(edges, points, pose, reaches, level=level, middle=self._middle)

        def fit(pose: Matrix) -> float:
            return quality(edges, points, pose, level=level)

        pose = finer(max((finer(start, FIRST) for start in starts), key=fit), LAST)
        margin = 1.0
        if readings:
            laid = _Laid(pose, len(self._grey))
            seen = detail(laid.picture(window), level=level)
            view = laid.mask(np.ones(window.shape, bool))
            reading, margin = decided(readings, seen, view)
            if reading is not None:
                pose = finer(after(pose, reading.pose), FINAL)
        return pose, margin, fit(pose)

    def _by_outline(self, pixels: Frame) -> list[Matrix]:
        found = part_on_ground(pixels, factor=self._factor)
        if found is None or found.contrast < CLEAR:
            return []
        outline = rigid.moved(found.outline, inverse(enlarged(found.factor)))
        pose = self._outline.fitted(outline, shape=found.mask.shape)
        return [] if pose is None else [pose]

    def _to_working(self, into: Matrix) -> Matrix:
        """Go on from the upright frame in taught pixels to that in working pixels."""
        scale = 1 / self._factor
        shift = self._middle - scale * (self.side - 1) / 2
        return after(np.array(((scale, 0, shift), (0, scale, shift))), into)


@dataclass(frozen=True)
class _Laid:
    """A picture seen in the upright frame."""

    pose: Matrix
    side: int

    def picture(self, pixels: Grey) -> Grey:
        return np.asarray(self._warped(pixels, opencv().BORDER_REPLICATE))

    def mask(self, mask: Bools) -> Bools:
        whole = self._warped(np.where(mask, np.uint8(255), np.uint8(0)), opencv().BORDER_CONSTANT)
        return np.asarray(whole > 127)

    def _warped(self, plane: Any, border: int) -> Any:
        cv2 = opencv()
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        size = (self.side, self.side)
        return cv2.warpAffine(plane, self.pose, size, flags=flags, borderMode=border)


@dataclass(frozen=True)
class _Itself:
    """The search for the part in its own taught picture: its readings."""

    upright: Grey
    near: Bools
    points: EdgePoints
    search: CoarseSearch
    level: float
    middle: float

    def poses(self) -> list[Matrix]:
        """Return the other poses in which the part looks almost alike."""
        height, width = self.upright.shape
        own = CoarseSearch(
            self.upright, self.near, factor=self.search.factor, shape=(height, width)
        )
        best = own.agreements(self.upright).max(axis=(1, 2))
        if (best >= ROUND * best[0]).mean() > 0.5:
            about = (self.middle, self.middle)
            return [
                rigid.turned(360 / len(best) * turn, about=about) for turn in range(1, len(best))
            ]
        candidates = own.candidates(self.upright, most=8)
        edges = Edges.of(self.upright)
        found = []
        for candidate in candidates:
            pose = refined(
                edges, self.points, candidate.pose, (5, 3, 2),
                level=self.level, middle=self.middle,
            )  # fmt: skip
            if rigid.between(rigid.turn_of(pose), 0) > 10 and self._agreement(pose) >= ALIKE:
                found.append(pose)
        return found

    def _agreement(self, pose: Matrix) -> float:
        """Return Σ z·z_laid / Σ |z|² of the part's field z."""
        laid = _Laid(pose, len(self.upright))
        here = direction_field(*gradients(self.upright), level=self.level) * self.near
        there = direction_field(*gradients(laid.picture(self.upright)), level=self.level)
        return float((here * there * laid.mask(self.near)).sum() / max((here**2).sum(), 1e-9))


def _part_of(pixels: Frame, mask: Bools | None) -> tuple[int, Bools, float]:
    """Return the working factor, the part's mask in the working picture, and the contrast."""
    found = part_on_ground(pixels)
    contrast = 0.0 if found is None else found.contrast
    if mask is not None:
        if mask.shape != pixels.shape[:2]:
            raise FramingError(f"mask has shape {mask.shape}, the picture has {pixels.shape[:2]}")
        if not mask.any():
            raise FramingError("the mask of the taught part is empty")
        down, right = np.nonzero(mask)
        factor = _factor(np.stack((right, down), axis=1).astype(np.float32))
        return factor, shrunk(np.where(mask, np.uint8(255), np.uint8(0)), factor) > 127, contrast
    if found is None or found.contrast < CLEAR:
        raise FramingError(
            f"the taught picture shows no part on its ground: contrast {contrast:.1f}, "
            f"{CLEAR:g} is needed (or a drawn mask)"
        )
    factor = _factor(found.outline)
    again = part_on_ground(pixels, factor=factor)
    return factor, (again or found).mask, contrast


def _factor(points: Floats) -> int:
    """Return by how much to shrink, so that the part's long side is about 180 pixels."""
    return max(1, round(float(max(opencv().minAreaRect(points)[1])) / LONG_SIDE))


def _upright_of(part: Bools) -> tuple[Matrix, float]:
    """Return the map from the upright part, its middle at 0, and its long side."""
    down, right = np.nonzero(part)
    points = np.stack((right, down), axis=1).astype(np.float32)
    middle, sides, angle = opencv().minAreaRect(points)
    turn = -((angle + 45) % 90 - 45)
    box = np.ptp(points, axis=0)
    if np.prod(box) <= 1.02 * np.prod(sides):
        middle, sides, turn = points.min(axis=0) + box / 2, box, 0.0
    place = rigid.turned(turn, about=(0, 0), to=(float(middle[0]), float(middle[1])))
    return place, float(max(sides)) + 1


def _in_picture(pose: Matrix, factor: int, middle: float, side: int) -> Matrix:
    """Turn a pose in working pixels into one in pixels of the picture."""
    scale = 1 / factor
    shift = middle - scale * (side - 1) / 2
    into = np.array(((scale, 0, shift), (0, scale, shift)))
    return after(enlarged(factor), after(pose, into))


def _window(work: Grey, poses: Sequence[Matrix], side: int) -> tuple[tuple[float, float], Grey]:
    """Cut out what the poses cover. Returns the (x, y) of the first pixel, and the pixels."""
    ends = np.array(((0, 0), (0, side), (side, 0), (side, side)), np.float32)
    corners = np.concatenate([rigid.moved(ends, pose) for pose in poses])
    limit = np.array(work.shape[::-1])
    left, top = np.clip(corners.min(axis=0), 0, limit - 1).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(axis=0)) + 1, 1, limit).astype(int)
    return (float(left), float(top)), work[top:bottom, left:right]
