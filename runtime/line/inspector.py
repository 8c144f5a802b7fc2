"""The rolling inspector: each frame is scored when it comes, against the window of frames before.

docs/algorithms.md, "Rolling window", has the rules.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from zeroline.runtime.arrays import Bools
from zeroline.runtime.cuda import cupy_errors, from_cupy
from zeroline.runtime.frames import CaptureTime, Clock, Frame
from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.line.files import LineFiles
from zeroline.runtime.line.health import DeviceHealth
from zeroline.runtime.line.parts import LineParts
from zeroline.runtime.line.passage import Passage
from zeroline.runtime.line.rehearsal import rehearse
from zeroline.runtime.line.room import LineMemory
from zeroline.runtime.line.seen import Seen
from zeroline.runtime.results import Inspection, Reason, RecurringDefect, ScoreResult
from zeroline.runtime.stages.degrees import Degrees
from zeroline.runtime.stages.threshold import ThresholdRule
from zeroline.runtime.tokens import Tokens

if TYPE_CHECKING:
    from zeroline.runtime.network.model import Bundle


class RollingInspector(LineFiles):
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
    tell_memory : callable, optional
        Is told what memory the line will take, before it does.

    Raises
    ------
    ScoringError
        For options out of range.
    DeviceError
        If a device that was asked for by name has no room for the window, or fails.

    Attributes
    ----------
    shape : WindowShape
        Sizes of the window, and its form of matching.
    memory : LineMemory
        Bytes that the line takes, and where.
    window : Window
        The distances, to be looked at.
    rule : ThresholdRule
        How thresholds are found; may be changed while it runs.

    Notes
    -----
    A context manager; one inspector for each line, used by one thread at a time. The window lies
    where the network runs.

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

    @cupy_errors("a line cannot start on the CUDA device")
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
        tell_memory: Callable[[LineMemory], None] | None = None,
    ) -> None:
        parts = self._parts = LineParts(
            bundle,
            window=window,
            least=min_window,
            degrees=degrees,
            rscin=rscin,
            interval=interval,
            band=band,
            exclusion=exclusion,
            settle=settle,
            roi=roi,
            framing=framing,
            codegraph=codegraph,
            wait_for_search=wait_for_search,
            matching=matching,
            threads=threads,
            tell_memory=tell_memory,
        )
        self.shape, self.memory, self.window = parts.shape, parts.memory, parts.window
        self._reader, self._slots, self._judge = parts.reader, parts.slots, parts.judge
        self._health = DeviceHealth(bundle.session.arrays)
        self.rule = threshold or ThresholdRule()
        self._admit_copies = admit_copies
        self._count = 0
        if warm_up and parts.on_device:
            rehearse(
                RollingInspector,
                bundle,
                degrees=self.shape.degrees,
                rscin=rscin,
                interval=interval,
                roi=roi,
                framing=framing,
                codegraph=codegraph,
                matching=matching,
            )

    @property
    def frame_ids(self) -> list[int]:
        """The frames in the window, the oldest first."""
        return [slot.frame_id for _, slot in self._slots.in_order()]

    @property
    def device_lost(self) -> str:
        """Why this process can use its CUDA device no more; empty while it can.

        Every further frame is FAULT.
        """
        return self._health.lost

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
            FAULT where the frame is none, or the model fails, or gives NaN: the window is then as
            it was. FAULT also where a CUDA device fails: the frame does not enter the window, and
            the oldest one may have left it.
        """
        captured, clock = captured or CaptureTime.now(), Clock()
        about: dict[str, Any] = {"part_id": part_id, "captured": captured, "clock": clock}
        if self._health.lost:
            return self._device_fault(self._health.lost, **about)
        try:
            seen = self._reader.see(frame, clock)
        except Exception as error:
            if not from_cupy(error):
                raise
            return self._device_fault(self._health.failed(error), **about)
        if seen.tokens is not None:
            return self.push_tokens(seen.tokens, seen=seen, ignore=ignore, **about)
        if seen.reason is Reason.MODEL and self._health.look():
            return self._device_fault(self._health.lost, **about)
        return self._unscored(seen, part_id, captured, clock)

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
        about: dict[str, Any] = {"part_id": part_id, "captured": captured, "clock": clock}
        if self._health.lost:
            return self._device_fault(self._health.lost, **about)
        passage = Passage(self._parts, self._count)
        try:
            finite, tokens = tokens.checked()
            if not finite.all():
                return self.fault(
                    Reason.MODEL, "the model gives NaN or inf for this frame", **about
                )
            inspection = passage.inspected(
                tokens, seen or self._reader.square, self.rule,
                ignore=ignore, copies=self._admit_copies, **about,
            )  # fmt: skip
        except Exception as error:
            if not from_cupy(error):
                raise
            text = self._health.failed(error, lost=not passage.undo())
            return replace(self._device_fault(text, **about), other_in_a_row=passage.begun_anew)
        self._count += 1
        self._health.works()
        return inspection

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

    def _device_fault(self, text: str, **about: Any) -> Inspection:
        inspection = self.fault(Reason.STATION, text, **about)
        return replace(inspection, device_failed=self._health.take_news())

    def _unscored(
        self, seen: Seen, part_id: str | None, captured: CaptureTime, clock: Clock
    ) -> Inspection:
        self._count += 1
        return seen.unscored(self._count - 1, part_id, captured, clock)

    @cupy_errors()
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

    def close(self) -> None:
        """End the threads; more than once does no harm."""
        self._parts.close()

    def __enter__(self) -> RollingInspector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
