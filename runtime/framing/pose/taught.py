"""The taught part: what is kept of the taught picture, and the search for the part in others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from zeroline.runtime.errors import FramingError
from zeroline.runtime.frames import Frame, to_bgr8
from zeroline.runtime.framing.pose.coarse import TURNS, CoarseSearch
from zeroline.runtime.framing.pose.field import gradients
from zeroline.runtime.framing.pose.fine import Edges, on_edges
from zeroline.runtime.framing.pose.found import FoundPose
from zeroline.runtime.framing.pose.ground import CLEAR, part_on_ground
from zeroline.runtime.framing.pose.method import Method
from zeroline.runtime.framing.pose.nearest import NearestEdges
from zeroline.runtime.framing.pose.opencv import opencv
from zeroline.runtime.framing.pose.outline import TaughtOutline
from zeroline.runtime.framing.pose.pixels import Bools, Floats, grey, median, shrunk, widened
from zeroline.runtime.framing.pose.points import EdgePoints, edge_points
from zeroline.runtime.framing.pose.quality import share_in_view
from zeroline.runtime.framing.pose.reading import Readings, reading_of
from zeroline.runtime.framing.pose.rigid import (
    Matrix,
    after,
    enlarged,
    inverse,
    moved,
    turn_of,
    turned,
)
from zeroline.runtime.framing.pose.teaching import part_of, self_poses
from zeroline.runtime.framing.pose.upright import Scales, Upright, upright_of

By = Literal["pattern", "outline"]

#: About the part's long side in the coarse picture, in pixels.
COARSE_SIDE = 45
#: Round the part in the upright frame: working pixels for the search, share of the long side shown.
RIM, MARGIN = 10, 0.02
#: Edges this near to the part count as its own, in working pixels.
NEAR = 3
#: Fewest edge points of a part.
FEWEST = 30
#: Coarse candidates that go on.
CANDIDATES = 4


@dataclass(frozen=True, eq=False)
class TaughtPart:
    """A part, taught from one picture. It does not change, so threads may share it.

    Attributes
    ----------
    size : tuple of int
        Height and width of the taught picture. Other pictures must have the same.
    upright : array, shape (2, 3), float64
        Upright frame → taught picture, in pixels of the taught picture; pixel centres at whole
        numbers.
    side : int
        Side of the upright frame in pixels of the taught picture: the smallest upright square
        round the part, and a margin of 2 % of it on each side.
    contrast : float
        Whether the ground tells the part, see `PartOnGround`: from 5 on it does.
    ground : tuple of float
        The colour round the part, BGR, 0 to 255.
    tone : tuple of float
        The colour of the part: the median of its pixels.

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
    tone: tuple[float, float, float]
    _scales: Scales
    _search: CoarseSearch
    _outline: TaughtOutline
    _inner: Floats
    _methods: dict[By, Method]

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
        factor, part, contrast = part_of(pixels, mask)
        colour = shrunk(pixels, factor)
        lying, long = upright_of(part)
        side = 2 * int(np.ceil(long / 2)) + 2 * RIM
        square = int(np.ceil(long * factor * (1 + 2 * MARGIN)))
        scales = Scales(square, side, factor, max(1, factor // 2))
        place = after(lying, turned(0, about=(scales.middle,) * 2, to=(0, 0)))
        laid = Upright(place, side)
        inside, seen = laid.mask(part), laid.mask(np.ones(part.shape, bool))
        near = widened(inside, NEAR) & widened(seen, -2)
        upright = laid.picture(grey(colour))
        edges = Edges(*gradients(upright))
        length = np.hypot(edges.gx, edges.gy)
        level = float(np.percentile(length[near], 90)) / 2 if near.any() else 0.0
        points = edge_points(edges.gx, edges.gy, allowed=near, least=max(level, 0.5))
        if len(points.at) < FEWEST:
            raise FramingError(
                f"the taught picture shows no part: {len(points.at)} edge points, "
                f"{FEWEST} are needed"
            )
        coarse = max(1, round(long / COARSE_SIDE))
        search = CoarseSearch(upright, near, factor=coarse, shape=part.shape)
        outline = TaughtOutline(inside)
        rim = on_edges(edges, outline.points, reach=NEAR, level=level)
        plane = grey(shrunk(pixels, scales.fine)).astype(np.float32)
        nothing = EdgePoints(rim.at[:0], rim.normals[:0])

        finer = scales.finer
        rigid = after(finer, after(place, inverse(finer)))

        def method(chosen: EdgePoints, pattern: EdgePoints, poses: Iterable[Matrix]) -> Method:
            compared = [reading_of(upright, inside & seen, pose, level=level) for pose in poses]
            every = 360 / TURNS if len(compared) == TURNS - 1 else None
            edges = NearestEdges.taught(plane, finer_points(pattern), finer_points(rim), rigid)
            return Method(chosen, Readings(tuple(compared), every), edges, level, side)

        def finer_points(points: EdgePoints) -> EdgePoints:
            return EdgePoints(moved(points.at, finer), points.normals)

        poses = self_poses(upright, near, points, level=level, factor=coarse)
        outside = colour[~widened(part, NEAR)]
        ground = median(outside if len(outside) else colour.reshape(-1, 3))
        down, right = np.nonzero(inside)
        return cls(
            size=(pixels.shape[0], pixels.shape[1]),
            upright=scales.in_picture(place),
            side=square,
            contrast=contrast,
            ground=ground,
            tone=median(colour[part]),
            _scales=scales,
            _search=search,
            _outline=outline,
            _inner=np.stack((right, down), axis=1).astype(np.float32)[::7],
            _methods={
                "pattern": method(points, points, poses),
                "outline": method(rim, nothing, outline.self_poses()),
            },
        )

    @property
    def readings(self) -> int:
        """In how many poses the pattern looks almost alike: 4 for a square plate, 72 if round."""
        return 1 + len(self._methods["pattern"].readings.others)

    def mask(self, side: int, /) -> Bools:
        """Return the part in the upright frame, shape (side, side)."""
        return np.asarray(self.distance(side) < 0)

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
        into = after(self._scales.to_working(), enlarged(self.side / side))
        plane = cv2.warpAffine(
            self._outline.distance, into, (side, side),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip
        return np.asarray(plane * np.float32(self._scales.factor / self.side))

    def find(self, picture: Frame, /, *, by: By) -> FoundPose:
        """Find the part in a picture.

        Parameters
        ----------
        picture : array, shape (H, W, 3), uint8
            BGR, of the taught size; grey is taken too.
        by : {"pattern", "outline"}
            By the edges on the part, or by its outline on the ground.

        Returns
        -------
        FoundPose
            With the taught pose and quality 0 where nothing was found.

        Raises
        ------
        FramingError
            If the picture has another size, or there is no such method.
        FrameError
            If it is no picture.

        Notes
        -----
        Ours; docs/algorithms.md, *Pose*.
        """
        if by not in get_args(By):
            raise FramingError(f'pose by "{by}", {" or ".join(get_args(By))} is expected')
        pixels = to_bgr8(picture)
        if pixels.shape[:2] != self.size:
            raise FramingError(
                f"picture has {pixels.shape[1]}×{pixels.shape[0]} pixels, "
                f"the taught one has {self.size[1]}×{self.size[0]}"
            )
        scales = self._scales
        colour = shrunk(pixels, scales.fine)
        fine, again = grey(colour), scales.factor // scales.fine
        work = shrunk(fine, again)
        if by == "pattern":
            found = self._search.candidates(work, most=CANDIDATES)
            starts = [candidate.pose for candidate in found]
        else:
            starts = self._by_outline(shrunk(colour, again))
        if not starts:
            return FoundPose(self.upright, 0.0, 0.0, 0.0, 0.0)
        pose, quality, margin = self._methods[by].settled(work, fine, starts, scales.finer)
        matrix = scales.in_picture(pose)
        return FoundPose(
            matrix=matrix,
            quality=quality,
            in_view=share_in_view(self._inner, pose, shape=work.shape),
            margin=margin,
            turn=turn_of(after(matrix, inverse(self.upright))),
        )

    def _by_outline(self, work: Frame) -> list[Matrix]:
        found = part_on_ground(work, factor=1)
        if found is None or found.contrast < CLEAR:
            return []
        pose = self._outline.fitted(found.outline, shape=found.mask.shape)
        return [] if pose is None else [pose]
