"""Simulated pictures as a framing sees them: found, embedded once, scored in several ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from zeroline.edge_app.sim.line import GOOD, SimFrame, SimulatedLine
from zeroline.edge_app.sim.settings import settings_from
from zeroline.runtime import Bundle, ScoreResult, Tokens
from zeroline.runtime.batch import score_tokens
from zeroline.runtime.frames import Frame
from zeroline.runtime.framing.framer import Framer
from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.framing.look import Look
from zeroline.runtime.stages.levels import in_one_pose, less_level, place_levels
from zeroline.runtime.stages.maps import map_maximum
from zeroline.runtime.tokens import joined

Bools = npt.NDArray[np.bool_]


def frames_of(address: str, *, parts: int) -> list[SimFrame]:
    """Return the first frames of a simulated line."""
    line = SimulatedLine(settings_from(f"{address}&parts={parts}"))
    return [line.part(number) for number in range(parts)]


def good_picture(address: str, *, number: int) -> Frame:
    """Return a good part of a line, as its guide rail leaves it: to teach from."""
    return SimulatedLine(settings_from(f"{address}&defects=0")).part(number).image


def framer_of(bundle: Bundle, framing: Framing) -> Framer:
    """Return who looks at pictures for a network."""
    return Framer(framing, bundle.manifest.input, patches=bundle.patches)


def embedded(bundle: Bundle, framer: Framer, look: Look) -> Tokens:
    """Return the tokens of what is looked at."""
    return framer.joined(bundle.embed(np.stack([bundle.prepare(i) for i in look.images])))


class FramedSet:
    """A set of simulated pictures, looked at by a framing.

    Attributes
    ----------
    framer : Framer
    placed : list of SimFrame
        The pictures with a whole part.
    looks : list of Look
        Of these.
    refused : list of bool
        Of each picture without one: whether the part is good.
    in_one_pose : bool
        Whether places may have a level of their own.
    """

    def __init__(self, bundle: Bundle, framing: Framing, frames: Sequence[SimFrame]) -> None:
        self._bundle, self.framer = bundle, framer_of(bundle, framing)
        looks = [(frame, self.framer.look(frame.image)) for frame in frames]
        placed = [(frame, look) for frame, look in looks if not look.problem]
        self.placed, self.looks = [f for f, _ in placed], [look for _, look in placed]
        self.refused = [frame.kind == GOOD for frame, look in looks if look.problem]
        self._tokens = joined(embedded(bundle, self.framer, look) for look in self.looks)
        self.in_one_pose = in_one_pose([look.pose.turn for look in self.looks if look.pose])

    @property
    def bad(self) -> Bools:
        """Which pictures show a defect: those with a whole part, then the others."""
        seen = [frame.kind != GOOD for frame in self.placed]
        return np.array(seen + [not good for good in self.refused])

    def scored(self) -> ScoreResult:
        """Score the pictures with a whole part."""
        return score_tokens(
            self._tokens,
            size=self._bundle.size,
            degrees=self.framer.framing.degrees(self._bundle.manifest.defaults.degrees),
            rscin=(),
            roi=self.framer.roi,
            absent=self._absent,
            threads=1,
        )

    def less_the_level(self, scored: ScoreResult) -> ScoreResult:
        """Return the same scores less each place's own level, without matching anew."""
        level = place_levels(scored.patch_scores, absent=self._absent)
        patch_scores = less_level(scored.patch_scores, level, absent=self._absent)
        raw = map_maximum(patch_scores, size=self._bundle.size, tiles=self.framer.framing.tiles)
        return replace(scored, patch_scores=patch_scores, raw_scores=raw, scores=raw, level=level)

    @property
    def _absent(self) -> Bools:
        nowhere = np.zeros(self.framer.grid.patches, bool)
        return np.array([nowhere if k.absent is None else k.absent for k in self.looks])

    def scores(self, scored: ScoreResult) -> npt.NDArray[np.float32]:
        """Return image scores before RsCIN; a picture without a whole part is above all others."""
        return np.append(scored.raw_scores, np.full(len(self.refused), np.float32(1e6)))

    def at_defect(self, scored: ScoreResult) -> Bools:
        """Tell for each picture whether its worst patch, or one beside it, shows the defect."""
        shown = [
            _shows(frame, look, int(scores.argmax()), self.framer)
            for frame, look, scores in zip(
                self.placed, self.looks, scored.patch_scores, strict=True
            )
        ]
        return np.array(shown + [False] * len(self.refused))


def _shows(frame: SimFrame, look: Look, patch: int, framer: Framer) -> bool:
    """Tell whether a patch, or one beside it in its tile, shows the frame's defect."""
    side = framer.grid.side
    marked = look.view.touched(frame.mask > 0, side=side).reshape(-1, side, side)
    tile, place = divmod(patch, side * side)
    row, column = divmod(place, side)
    around = marked[tile, max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
    return bool(around.any())


def auroc(bad: Bools, scores: npt.NDArray[np.float32]) -> float:
    """Return the area under the curve."""
    good, defective = scores[~bad], scores[bad]
    higher = (defective[:, None] > good).mean() + (defective[:, None] == good).mean() / 2
    return float(higher)
