"""The line: parts one after the other, empty places, stops of the belt; every frame by its number.

A part and its pictures depend on the seed and its number alone: two runs, or two settings that
differ in the rate, in stops or in empty frames, show the same parts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from zeroline.edge_app.sim import camera
from zeroline.edge_app.sim.defects import damage
from zeroline.edge_app.sim.parts import PARTS
from zeroline.edge_app.sim.settings import TOOL_MARK, LineSettings
from zeroline.edge_app.sim.surface import Plane, Surface
from zeroline.runtime.frames import Frame

GOOD, EMPTY = "good", "empty"


@dataclass(frozen=True)
class SimFrame:
    """One frame and the truth about it.

    Attributes
    ----------
    number : int
        Of the frame, from 0.
    part : int or None
        Number of the part, None where the belt is empty. A stopped belt repeats it.
    kind : str
        ``good``, a kind of defect, ``tool_mark``, or ``empty``.
    image : array, shape (H, W, 3), uint8
        BGR.
    mask : array, shape (H, W), bool
        Where the defect is seen. It is empty if the defect is out of view.
    part_area : int
        Pixels of the part in the picture, 0 where the belt is empty.
    in_view : float
        Share of the part that is in the picture: 1 if all of it is, 0 where the belt is empty.
    pose : Pose or None
        Where the part lies, None where the belt is empty.
    """

    number: int
    part: int | None
    kind: str
    image: Frame
    mask: npt.NDArray[np.bool_]
    part_area: int
    in_view: float
    pose: camera.Pose | None

    @property
    def to_picture(self) -> npt.NDArray[np.float64]:
        """The way of a point from the part's upright drawing to this picture.

        Shape (2, 3): ``to_picture @ (x, y, 1)`` is the place of what is drawn at ``(x, y)``. The
        drawing is a square of the picture's shorter side S, with the part's middle at
        ``(S - 1) / 2``, in x and in y. Places are in pixels: x to the right, y down, the middles
        of pixels at whole numbers. A positive turn is counter-clockwise as seen in the picture.
        So ``b.to_picture`` after the inverse of ``a.to_picture`` leads from frame a to frame b.

        Raises
        ------
        ValueError
            If the belt is empty.
        """
        if self.pose is None:
            raise ValueError(f"frame {self.number} shows an empty belt: it has no pose")
        shape = (self.image.shape[0], self.image.shape[1])
        return self.pose.matrix(min(shape), shape)

    @property
    def defective(self) -> bool:
        """Whether the part should be NG."""
        return self.kind not in (GOOD, EMPTY)


class SimulatedLine:
    """A line that can be watched any number of times; iterate over it for `SimFrame`.

    Parameters
    ----------
    settings : LineSettings
    """

    def __init__(self, settings: LineSettings) -> None:
        self.settings = settings
        self._drawn = PARTS[settings.part]

    def __iter__(self) -> Iterator[SimFrame]:
        """Yield the frames, at the rate of the settings if there is one."""
        began = time.monotonic()
        for number, (part, look, empty) in enumerate(self._schedule()):
            if self.settings.rate is not None:
                due = began + number / self.settings.rate
                time.sleep(max(0.0, due - time.monotonic()))
            yield self._empty(number, part, look) if empty else self._frame(number, part, look)

    def frame_count(self) -> int:
        """Count the frames of a line that ends; an endless one never returns."""
        return sum(1 for _ in self._schedule())

    def part(self, number: int) -> SimFrame:
        """Show one part alone, as the line shows it first."""
        return self._frame(number, number, 0)

    def kind_of(self, part: int) -> str:
        """Say what is wrong with a part, without drawing it."""
        return self._fate(part)[0]

    def _schedule(self) -> Iterator[tuple[int, int, bool]]:
        """Yield for each frame its part, which look at it this is, and whether it has yet to come.

        An empty frame counts the looks at the belt before the part.
        """
        settings = self.settings
        part = 0
        while settings.parts is None or part < settings.parts:
            rng = np.random.default_rng((settings.seed, 2, part))
            waits = 0
            while rng.random() < settings.empty:
                yield part, waits, True
                waits += 1
            stops = settings.stop_every and (part + 1) % settings.stop_every == 0
            for look in range(settings.stop_frames if stops else 1):
                yield part, look, False
            part += 1

    def _fate(self, part: int) -> tuple[str, Generator]:
        """Decide what happens to a part; the generator goes on to the defect itself."""
        settings = self.settings
        rng = np.random.default_rng((settings.seed, 3, part))
        struck, marked = rng.random(2)
        kind = settings.kinds[rng.integers(len(settings.kinds))]
        if part >= settings.tool_marks_from and marked < settings.tool_marks:
            return TOOL_MARK, rng
        return (kind if struck < settings.defects else GOOD), rng

    def _empty(self, number: int, part: int, look: int) -> SimFrame:
        """Show the belt before a part, in that part's light."""
        settings = self.settings
        shape, variation = settings.shape, settings.variation
        sensor = np.random.default_rng((settings.seed, 6, part, look))
        light = camera.Light.at(part, seed=settings.seed, variation=variation)
        ground = camera.belt(shape, sensor, variation=variation)
        scene = camera.lit(None, camera.Pose(0, 0, 0), ground, light)
        image = camera.exposed(scene, sensor, variation=variation)
        return SimFrame(number, None, EMPTY, image, np.zeros(shape, bool), 0, 0.0, None)

    def _frame(self, number: int, part: int, look: int) -> SimFrame:
        settings = self.settings
        shape, variation = settings.shape, settings.variation
        size = min(shape)
        sensor = np.random.default_rng((settings.seed, 4, part, look))
        kind, fate = self._fate(part)
        rng = np.random.default_rng((settings.seed, 5, part))
        missing = int(fate.integers(self._drawn.features)) if kind == "missing" else None
        surface = self._drawn.make(
            size,
            rng,
            variation=variation,
            second_lot=bool(rng.random() < settings.second_lot),
            missing=missing,
        )
        pose = camera.Pose.drawn(rng, size=size, variation=variation).moved(
            np.random.default_rng((settings.seed, 7, part)),
            right=settings.place * size,
            down=settings.place * size,
            turn=settings.turn,
        )
        ground = camera.belt(shape, rng, variation=variation)
        footprint: Plane | None = None
        if missing is not None:
            footprint = self._drawn.feature(size, missing)
        elif kind != GOOD:
            footprint = damage(
                self._drawn,
                surface,
                kind,
                fate,
                largest=settings.defect_area,
                strength=settings.strength,
            )
        light = camera.Light.at(part, seed=settings.seed, variation=variation)
        image = camera.exposed(
            camera.lit(surface, pose, ground, light), sensor, variation=variation
        )
        mask = np.zeros(shape, bool)
        if footprint is not None:  # the soft rim of a thin line is part of what is seen
            seen = camera.placed(footprint, pose, shape)
            mask = seen > min(0.2, 0.5 * float(seen.max()))
        cover = camera.placed(surface.cover, pose, shape)
        area = int((cover > 0.5).sum())
        return SimFrame(number, part, kind, image, mask, area, _in_view(cover, surface), pose)


def _in_view(cover: Plane, surface: Surface) -> float:
    """Return the share of a part that a picture shows; exactly 1 if it is clear of the border."""
    border = (cover[0], cover[-1], cover[:, 0], cover[:, -1])
    if not any(line.any() for line in border):
        return 1.0
    return min(1.0, float(cover.sum()) / surface.area)
