"""From a start to a pose: refined, read, settled. The same for both methods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zeroline.runtime.framing.pose.fine import Edges, refined
from zeroline.runtime.framing.pose.nearest import NearestEdges
from zeroline.runtime.framing.pose.pixels import Grey
from zeroline.runtime.framing.pose.points import EdgePoints
from zeroline.runtime.framing.pose.quality import quality
from zeroline.runtime.framing.pose.reading import Readings, detail
from zeroline.runtime.framing.pose.rigid import Matrix, after, inverse, turned
from zeroline.runtime.framing.pose.upright import Upright, window

#: How far points look: from the starts, from the best of them, after a reading. Working pixels.
FIRST, LAST, READ = (6,), (5, 4, 3, 2), (5, 3, 2)


@dataclass(frozen=True)
class Method:
    """What a method compares with a picture.

    Attributes
    ----------
    points : EdgePoints
        In the upright frame, in working pixels.
    readings : Readings
    nearest : NearestEdges
    level : float
        The field's level.
    side : int
        Of the upright frame, in working pixels.
    """

    points: EdgePoints
    readings: Readings
    nearest: NearestEdges
    level: float
    side: int

    def settled(
        self, work: Grey, fine: Grey, starts: Sequence[Matrix], finer: Matrix, /
    ) -> tuple[Matrix, float, float]:
        """Refine the starts, keep the best, read it, and settle on the nearest edges.

        Parameters
        ----------
        work, fine : array, uint8
            Grey values of the working and of the fine picture.
        starts : sequence of array, shape (2, 3), float64
            Upright frame → working picture; at least one.
        finer : array, shape (2, 3), float64
            Working pixels → fine pixels.

        Returns
        -------
        pose : array, shape (2, 3), float64
            Upright frame → working picture.
        quality, margin : float
            See `FoundPose`.
        """
        rows, columns = window(work.shape, starts, self.side)
        part, edges = work[rows, columns], Edges.of(work[rows, columns])
        cut = turned(0, about=(columns.start, rows.start), to=(0, 0))

        def fit(pose: Matrix) -> float:
            return quality(edges, self.points, pose, level=self.level)

        tried = [self._refined(edges, after(cut, start), FIRST) for start in starts]
        pose = self._refined(edges, max(tried, key=fit), LAST)
        margin = 1.0
        if self.readings.others:
            laid = Upright(pose, self.side)
            seen = detail(laid.picture(part), level=self.level)
            view = laid.mask(np.ones(part.shape, bool))[1::2, 1::2]
            reading, margin = self.readings.decided(seen, view)
            if reading is not None:
                near = [after(pose, after(reading, turn)) for turn in self._turns()]
                pose = self._refined(edges, max(near, key=fit), READ)
        back = inverse(cut)
        pose = self._nearest(fine, after(back, pose), finer)
        return pose, fit(after(cut, pose)), margin

    def _turns(self) -> list[Matrix]:
        """Return small turns about the middle: detail says where a round part is to 5 degrees."""
        every, middle = self.readings.every, (self.side - 1) / 2
        turns = [0.0] if every is None else np.arange(-every, every + 1)
        return [turned(float(turn), about=(middle, middle)) for turn in turns]

    def _refined(self, edges: Edges, pose: Matrix, reaches: Sequence[int]) -> Matrix:
        middle = (self.side - 1) / 2
        return refined(edges, self.points, pose, reaches, level=self.level, middle=middle)

    def _nearest(self, fine: Grey, pose: Matrix, finer: Matrix) -> Matrix:
        rigid = after(finer, after(pose, inverse(finer)))
        rows, columns = window(fine.shape, [rigid], round(self.side * finer[0, 0]))
        cut = turned(0, about=(columns.start, rows.start), to=(0, 0))
        plane = fine[rows, columns].astype(np.float32)
        rigid = after(inverse(cut), self.nearest.settled(plane, after(cut, rigid)))
        return after(inverse(finer), after(rigid, finer))
