"""The rolling inspector: each frame is scored when it comes, against the window of frames before.

docs/algorithms.md, "Rolling window", has the rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zeroline.runtime.arrays import Bools
from zeroline.runtime.frames import CaptureTime, Clock, Frame
from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.grid import both, counted_patches
from zeroline.runtime.line.contents import Contents
from zeroline.runtime.line.known_good import WindowReferences
from zeroline.runtime.line.product import ProductWatch
from zeroline.runtime.line.rehearsal import rehearse
from zeroline.runtime.line.scorer import WindowScorer
from zeroline.runtime.line.seen import FrameReader, Seen
from zeroline.runtime.line.shape import WindowShape
from zeroline.runtime.line.slots import Slot, Slots
from zeroline.runtime.line.tracker import DefectTracker
from zeroline.runtime.line.verdicts import LineJudge, ng_regions
from zeroline.runtime.line.window import Window
from zeroline.runtime.reference.selection import Scoring
from zeroline.runtime.reference.sets import ReferenceReport
from zeroline.runtime.results import Inspection, Reason, RecurringDefect, ScoreResult
from zeroline.runtime.stages.degrees import Degrees
from zeroline.runtime.stages.threshold import ThresholdRule
from zeroline.runtime.tokens import Tokens
from zeroline.runtime.workers import WorkerPool

if TYPE_CHECKING:
    from zeroline.runtime.network.model import Bundle


class RollingInspector:
    """Scores frames as they come, against the last frames of the line.

    Parameters
    ----------
    bundle : Bundle
        From `load_bundle`; its manifest has the defaults of what is not given here.
    window : int
        W, the number of frames compared with.
    min_window : int
        Frames before the first verdict; UNCERTAIN until then.
    degrees, rscin, interval
        See `score_tokens`.
    threshold : ThresholdRule
        For the image score; on the raw scores it gives the map's threshold.
    band : float
        Scores nearer to the threshold than this are UNCERTAIN.
    exclusion : int
        Frames of so many last pushes do not match each other: one part seen several times.
    settle : int or None
        After so many later frames a frame is judged once more; None: never.
    roi : array, shape (P,), bool, optional
        Patches that count, of all tiles. The others neither score nor match, and cost nothing.
    framing : Framing, optional
        What of a frame is looked at. Frames must have its size. With tiles, `fused` degrees.
    admit_copies : bool
        Let near-duplicates of recent frames into the window as well.
    codegraph : bool
        Search for recurring defects (`zeroline.runtime.line.tracker`).
    wait_for_search : bool
        True: wait for a search that is not ready when its result is due, so that the verdicts on
        files repeat. False, for live cameras: ask again with the next frame.
    matching : {"exact", "fast"}
        "fast": the quickest form here, as measured; two runs may differ. `shape.form` names it.
    threads : int or None
        Worker threads; None takes all cores.
    warm_up : bool
        On a device: push drawn frames through a small window first, which compiles the kernels.

    Raises
    ------
    ScoringError
        For options out of range.
    DeviceError
        If a device that was asked for by name has no room for the window.

    Attributes
    ----------
    shape : WindowShape
        Sizes of the window, and its form of matching.
    window : Window
        The distances, to be looked at.
    rule : ThresholdRule
        How thresholds are found; may be changed while it runs.

    Notes
    -----
    A context manager; one inspector for each line, used by one thread at a time. It takes
    `shape.memory` bytes at its start, and W frames' tokens. The window lies where the network runs.

    Examples
    --------
    >>> import numpy as np
    >>> from zeroline.runtime import RollingInspector, load_bundle
    >>> frame = np.zeros((64, 64, 3), np.uint8)
    >>> with load_bundle("tiny") as bundle, RollingInspector(bundle, window=16) as inspector:
    ...     inspection = inspector.push(frame)
    >>> inspection.verdict.value, inspection.reason.value
    ('UNCERTAIN', 'warming_up')
    """

    def __init__(
        self,
        bundle: Bundle,
        /,
        *,
        window: int = 64,
        min_window: int = 16,
        degrees: Degrees | None = None,
        rscin: Sequence[int] | None = None,
        interval: tuple[float, float] | None = None,
        threshold: ThresholdRule | None = None,
        band: float = 0.0,
        exclusion: int = 0,
        settle: int | None = None,
        roi: Bools | None = None,
        framing: Framing | None = None,
        admit_copies: bool = False,
        codegraph: bool = True,
        wait_for_search: bool = True,
        matching: str = "fast",
        threads: int | None = None,
        warm_up: bool = True,
    ) -> None:
        defaults, framing = bundle.manifest.defaults, framing or Framing()
        self._reader = FrameReader(bundle, framing)
        grid = self._reader.framer.grid
        self._roi = counted_patches(both(roi, self._reader.framer.roi), grid.patches)
        degrees = degrees or framing.degrees(defaults.degrees)
        sizes = window, grid, self._roi, bundle.channels, degrees
        self.shape, self._xp = WindowShape.placed(bundle.session, *sizes, matching=matching)
        self.rule = threshold or ThresholdRule()
        self._admit_copies = admit_copies
        neighbours = tuple(defaults.rscin if rscin is None else rscin)
        interval = defaults.interval if interval is None else interval
        self._pool = WorkerPool(threads if self._xp is np else 1)
        self.window = Window(self.shape, self._pool, interval=interval, roi=self._roi, xp=self._xp)
        self._slots = Slots(window, exclusion=exclusion)
        both_of, self._tracker = (self.window, self._slots), None
        if codegraph:
            self._tracker = DefectTracker(*both_of, roi=self._roi, wait=wait_for_search)
        self._contents = Contents(*both_of, self._tracker, xp=self._xp)
        self._judge = LineJudge(
            WindowScorer(
                self.window, self._slots, size=bundle.size, neighbours=neighbours,
                levels_from=min_window if self._reader.finds_parts else None,
            ),
            self._slots, self._contents, self._tracker,
            least=min_window, settle=settle, band=band,
        )  # fmt: skip
        self._products = ProductWatch(self._slots, least=min_window)
        scoring = Scoring(bundle.size, self.shape.degrees, neighbours, interval, threads, self._roi)
        self._references = WindowReferences(
            self._contents, self._slots, scoring, bundle.manifest, framing, xp=self._xp
        )
        self._count = 0
        if warm_up and self._xp is not np:
            rehearse(
                RollingInspector, bundle, degrees=degrees, rscin=rscin, interval=interval, roi=roi,
                framing=framing, codegraph=codegraph, matching=matching,
            )  # fmt: skip

    @property
    def frame_ids(self) -> list[int]:
        """The frames in the window, the oldest first."""
        return [slot.frame_id for _, slot in self._slots.in_order()]

    @property
    def recurring(self) -> tuple[RecurringDefect, ...]:
        """Recurring defects that frames of the window have."""
        return self._judge.recurring

    def push(
        self,
        frame: Frame,
        *,
        part_id: str | None = None,
        ignore: Bools | None = None,
        captured: CaptureTime | None = None,
    ) -> Inspection:
        """Score a frame, and let it into the window.

        Parameters
        ----------
        frame : array, shape (H, W, 3), uint8
            BGR; sizes may differ.
        part_id : str, optional
            Name of the part. Frames of one part do not match each other.
        ignore : array, shape (P,), bool, optional
            Patches of this frame that nobody may match.
        captured : CaptureTime, optional
            When the frame was taken; now, when not given.

        Returns
        -------
        Inspection
            FAULT where the frame is none, the model fails, or gives NaN: the window is then as
            it was.
        """
        captured, clock = captured or CaptureTime.now(), Clock()
        seen = self._reader.see(frame, clock)
        if seen.tokens is None:
            return self._unscored(seen, part_id, captured, clock)
        about = {"part_id": part_id, "ignore": ignore, "captured": captured, "clock": clock}
        return self.push_tokens(seen.tokens, seen=seen, **about)  # type: ignore[arg-type]

    def push_tokens(
        self,
        tokens: Tokens,
        *,
        seen: Seen | None = None,
        part_id: str | None = None,
        ignore: Bools | None = None,
        captured: CaptureTime | None = None,
        clock: Clock | None = None,
    ) -> Inspection:
        """Score a frame whose tokens are known; see `push`.

        Parameters
        ----------
        tokens : Tokens
            Of one frame.
        seen : Seen, optional
            Where in the frame the network's square lies, and the part; the network's own input,
            when not given.
        part_id, ignore, captured
            See `push`.
        clock : Clock, optional
            Times of the stages before.

        Raises
        ------
        ScoringError
            If `ignore` has another shape.
        """
        captured, clock = captured or CaptureTime.now(), clock or Clock()
        seen = seen or self._reader.square
        finite, tokens = tokens.checked()
        if not finite.all():
            text = "the model gives NaN or inf for this frame"
            return self.fault(Reason.MODEL, text, part_id=part_id, captured=captured, clock=clock)
        number = self._count
        slot = Slot(
            number, part_id, self._contents.placed(tokens), time=captured.wall,
            absent=seen.absent, turn=seen.turn,
        )  # fmt: skip
        with clock.stage("match"):
            product = self._products.look(slot.tokens.class_tokens[0])
            if product.begun_anew:
                self._contents.clear()
            matches = self._contents.matched(slot, ignore=ignore)
        self._count += 1
        with clock.stage("score"):
            compared = self._contents.compared(
                matches, roi=self._roi, copies=self._admit_copies, other=product.other
            )
            known = None
            if not product.other:
                known = self._judge.recognise(matches, compared, self.rule)
            slot.recurring = known is not None
        if compared.admitted:
            with clock.stage("admit"):
                self._contents.admit(compared.place, slot, matches, known)
        with clock.stage("verdict"):
            scores = self._judge.judge(slot, compared, self.rule)
            settled = self._judge.settle(number, self.rule)
        inspection = Inspection(
            number, part_id, slot.verdict, slot.reason, captured.wall, captured.monotonic, scores,
            ng_regions(slot.verdict, scores, seen.view),
            recurring=slot.recurring,
            near_duplicate=compared.near_duplicate,
            admitted=compared.admitted,
            compared_with=compared.count,
            other_in_a_row=product.in_a_row,
            view=seen.view,
            pose=seen.pose,
            latency=clock.seconds,
        )  # fmt: skip
        with clock.stage("recurring"):
            news = self._judge.search(slot, compared, scores, self.rule)
        return replace(
            inspection,
            revisions=settled + news.revisions,
            alarms=news.alarms,
            withdrawn=news.withdrawn,
            two_groups=self._judge.take_groups(),
            search_failed=news.failure,
        )

    def fault(
        self,
        reason: Reason,
        text: str,
        *,
        part_id: str | None = None,
        captured: CaptureTime | None = None,
        clock: Clock | None = None,
    ) -> Inspection:
        """Give a frame that never came, or cannot be scored, its number and its verdict.

        `reason` is one of FAULT's, `text` the same in words; see `push_tokens` for the others.
        """
        seen = Seen(reason=reason, text=text)
        return self._unscored(seen, part_id, captured or CaptureTime.now(), clock or Clock())

    def _unscored(
        self, seen: Seen, part_id: str | None, captured: CaptureTime, clock: Clock
    ) -> Inspection:
        self._count += 1
        return seen.unscored(self._count - 1, part_id, captured, clock)

    def scores(self) -> tuple[list[int], ScoreResult]:
        """Score all frames of the window anew, each against all others.

        Returns
        -------
        frame_ids : list of int
            The oldest first.
        ScoreResult
            As `score_images` on exactly these frames; patches outside the region of interest
            are 0 and do not count.

        Raises
        ------
        ScoringError
            If the window holds fewer than two frames that match.
        """
        return self.frame_ids, self._judge.everyone()

    def save_reference(self, path: Path, *, source: str = "") -> ReferenceReport:
        """Write the good frames of the window to a file, for another start.

        The frames are scored against each other, with a search for recurring defects. Those that
        were NG, have a recurring defect, or are unusual are left out.

        Parameters
        ----------
        path : Path
            The file.
        source : str
            Where the frames come from, to be kept in the file.

        Raises
        ------
        ScoringError
            If the window holds fewer than two parts, or no good one.
        ReferenceFileError
            If the file cannot be written.
        """
        rate = self.rule.false_alarm_rate
        return self._references.save(path, false_alarm_rate=rate, source=source)

    def load_reference(self, path: Path, *, pinned: bool = True) -> ReferenceReport:
        """Fill the window from a file: with the newest of its good frames that there is room for.

        The frames are scored against each other, with a search for recurring defects. Those that
        have one, or are clearly not good, do not enter. The report has a warning, if need be.

        Parameters
        ----------
        path : Path
            A reference set, from `save_reference` or `zeroline reference build`.
        pinned : bool
            Keep these frames, and a quarter of the slots free for the line; else they leave as
            others do.

        Raises
        ------
        ReferenceFileError
            If the file is damaged, of another version, or of another bundle.
        ScoringError
            If pinned frames leave no room for more.
        """
        report = self._references.load(path, pinned=pinned)
        self._judge.score_everyone()  # the first threshold rests on all of them
        return report

    def close(self) -> None:
        """End the threads; more than once does no harm."""
        if self._tracker is not None:
            self._tracker.close()
        self._pool.close()

    def __enter__(self) -> RollingInspector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
