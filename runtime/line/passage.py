"""The way of one frame's tokens through the parts of a line: all of it, or none."""

from __future__ import annotations

from dataclasses import replace

from zeroline.runtime.arrays import Bools
from zeroline.runtime.cuda import from_cupy
from zeroline.runtime.frames import CaptureTime, Clock
from zeroline.runtime.line.parts import LineParts
from zeroline.runtime.line.seen import Seen
from zeroline.runtime.line.slots import Slot
from zeroline.runtime.line.verdicts import ng_regions
from zeroline.runtime.results import Inspection
from zeroline.runtime.stages.threshold import ThresholdRule
from zeroline.runtime.tokens import Tokens


class Passage:
    """One frame on its way.

    Parameters
    ----------
    parts : LineParts
    number : int
        Of the frame.

    Attributes
    ----------
    begun_anew : int
        Where the window has begun anew with this frame, how many of the new product came in a row;
        0 else.
    """

    def __init__(self, parts: LineParts, number: int) -> None:
        self._parts, self._number = parts, number
        self._place: int | None = None  # that it has begun to take
        self.begun_anew = 0

    def inspected(
        self,
        tokens: Tokens,
        seen: Seen,
        rule: ThresholdRule,
        *,
        part_id: str | None,
        ignore: Bools | None,
        copies: bool,
        captured: CaptureTime,
        clock: Clock,
    ) -> Inspection:
        """Match, admit and judge the frame.

        Parameters
        ----------
        tokens : Tokens
            Of this one frame, all finite.
        seen : Seen
            Where in the frame they lie.
        rule : ThresholdRule
        part_id, ignore, captured, clock
            See `RollingInspector.push_tokens`.
        copies : bool
            Whether copies of recent frames may enter.

        Raises
        ------
        ScoringError
            If `ignore` has another shape.
        Exception
            Of CuPy, where the device fails: then `undo` is to be called.
        """
        contents, judge, number = self._parts.contents, self._parts.judge, self._number
        slot = Slot(
            number, part_id, contents.placed(tokens), time=captured.wall,
            absent=seen.absent, turn=seen.turn,
        )  # fmt: skip
        with clock.stage("match"):
            product = self._parts.products.look(slot.tokens.class_tokens[0])
            if product.begun_anew:
                self.begun_anew = product.in_a_row
                contents.clear()
            matches = contents.matched(slot, ignore=ignore)
        with clock.stage("score"):
            compared = contents.compared(
                matches, roi=self._parts.roi, copies=copies, other=product.other
            )
            known = None
            if not product.other:
                known = judge.recognise(matches, compared, rule)
            slot.recurring = known is not None
        if compared.admitted:
            with clock.stage("admit"):
                self._place = compared.place
                contents.admit(compared.place, slot, matches, known)
        with clock.stage("verdict"):
            scores = judge.judge(slot, compared, rule)
            settled = judge.settle(number, rule)
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
            news = judge.search(slot, compared, scores, rule)
        return replace(
            inspection,
            revisions=settled + news.revisions,
            alarms=news.alarms,
            withdrawn=news.withdrawn,
            two_groups=judge.take_groups(),
            search_failed=news.failure,
        )

    def undo(self) -> bool:
        """Take the frame out of the window again; False where the device fails in that too.

        The frame in whose place it was has left already: that place is then empty.
        """
        if self._place is not None:
            try:
                self._parts.contents.withdraw(self._place)
            except Exception as error:
                if not from_cupy(error):
                    raise
                return False
        return True
