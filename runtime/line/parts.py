"""The parts of a line, made from its options and put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from zeroline.runtime.arrays import Bools
from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.grid import both, counted_patches
from zeroline.runtime.line.contents import Contents
from zeroline.runtime.line.known_good import WindowReferences
from zeroline.runtime.line.product import ProductWatch
from zeroline.runtime.line.restarts import WindowState
from zeroline.runtime.line.room import LineMemory, placed_shape
from zeroline.runtime.line.scorer import WindowScorer
from zeroline.runtime.line.seen import FrameReader
from zeroline.runtime.line.slots import Slots
from zeroline.runtime.line.tracker import DefectTracker
from zeroline.runtime.line.verdicts import LineJudge
from zeroline.runtime.line.window import Window
from zeroline.runtime.reference.selection import Scoring
from zeroline.runtime.stages.degrees import Degrees
from zeroline.runtime.workers import WorkerPool

if TYPE_CHECKING:
    from zeroline.runtime.network.model import Bundle


class LineParts:
    """What frames pass through on a line; `RollingInspector` has the options.

    Attributes
    ----------
    reader : FrameReader
        From frames to tokens.
    roi : array, shape (P,), bool
        Patches that count.
    shape : WindowShape
    memory : LineMemory
    xp : module
        NumPy or CuPy: where the window lies.
    window : Window
        Distances.
    slots : Slots
        The frames in the window.
    tracker : DefectTracker or None
        Recurring defects, where they are searched for.
    contents : Contents
        Window and slots, changed together.
    judge : LineJudge
        Verdicts.
    products : ProductWatch
        Whether the line makes another product.
    references : WindowReferences
        Reference sets.
    state : WindowState
        The window over restarts.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        window: int,
        least: int,
        degrees: Degrees | None,
        rscin: Sequence[int] | None,
        interval: tuple[float, float] | None,
        band: float,
        exclusion: int,
        settle: int | None,
        roi: Bools | None,
        framing: Framing | None,
        codegraph: bool,
        wait_for_search: bool,
        matching: str,
        threads: int | None,
        tell_memory: Callable[[LineMemory], None] | None,
    ) -> None:
        defaults = bundle.manifest.defaults
        framing = framing or Framing()
        neighbours = tuple(defaults.rscin if rscin is None else rscin)
        interval = defaults.interval if interval is None else interval

        self.reader = FrameReader(bundle, framing)
        grid = self.reader.framer.grid
        self.roi = counted_patches(both(roi, self.reader.framer.roi), grid.patches)
        self.shape, self.xp = placed_shape(
            bundle.session,
            window,
            grid,
            self.roi,
            bundle.channels,
            degrees or framing.degrees(defaults.degrees),
            matching=matching,
            searches=codegraph,
        )
        self.memory = LineMemory.of(self.shape, on_device=self.on_device, searches=codegraph)
        if tell_memory is not None:
            tell_memory(self.memory)

        self._pool = WorkerPool(1 if self.on_device else threads)
        self.window = Window(self.shape, self._pool, interval=interval, roi=self.roi, xp=self.xp)
        self.slots = Slots(window, exclusion=exclusion)
        self.tracker: DefectTracker | None = None
        if codegraph:
            self.tracker = DefectTracker(
                self.window, self.slots, roi=self.roi, wait=wait_for_search
            )
        self.contents = Contents(self.window, self.slots, self.tracker, xp=self.xp)
        scorer = WindowScorer(
            self.window,
            self.slots,
            size=bundle.size,
            neighbours=neighbours,
            levels_from=least if self.reader.finds_parts else None,
        )
        self.judge = LineJudge(
            scorer, self.slots, self.contents, self.tracker, least=least, settle=settle, band=band
        )
        self.products = ProductWatch(self.slots, least=least)
        scoring = Scoring(bundle.size, self.shape.degrees, neighbours, interval, threads, self.roi)
        kept = self.contents, self.slots, scoring, bundle.manifest, framing
        self.references = WindowReferences(*kept, xp=self.xp)
        self.state = WindowState(*kept, searches=codegraph, xp=self.xp)

    @property
    def on_device(self) -> bool:
        """Whether the window lies on a CUDA device."""
        return self.xp is not np

    def close(self) -> None:
        """End the threads; more than once does no harm."""
        if self.tracker is not None:
            self.tracker.close()
        self._pool.close()
