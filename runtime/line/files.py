"""Files of a line: reference sets that it starts with and writes, and its window over restarts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zeroline.runtime.cuda import cupy_errors
from zeroline.runtime.line.parts import LineParts
from zeroline.runtime.line.restarts import StateReport, WindowSnapshot
from zeroline.runtime.reference.sets import ReferenceFrame, ReferenceReport
from zeroline.runtime.stages.threshold import ThresholdRule
from zeroline.runtime.tokens import Tokens


@dataclass(frozen=True)
class HeldPart:
    """A frame of the window.

    Attributes
    ----------
    tokens : Tokens
        Of this one frame, on the host.
    frame : ReferenceFrame
        What a reference set keeps of it.
    """

    tokens: Tokens
    frame: ReferenceFrame


class LineFiles:
    """What a rolling inspector reads and writes; it sets these attributes.

    Attributes
    ----------
    rule : ThresholdRule
        How thresholds are found; may be changed while it runs.
    """

    _parts: LineParts
    _count: int
    rule: ThresholdRule

    @cupy_errors()
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
        return self._parts.references.save(path, false_alarm_rate=rate, source=source)

    @cupy_errors()
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
        report = self._parts.references.load(path, pinned=pinned)
        self._parts.judge.score_everyone()  # the first threshold rests on all of them
        return report

    @cupy_errors()
    def snapshot(self) -> WindowSnapshot:
        """Return the frames of the window as they are now, for the next start of this line.

        Its `write` may be called by another thread. Frames of a reference set, and those with a
        recurring defect, are left out.
        """
        return self._parts.state.snapshot(count=self._count)

    @cupy_errors()
    def load_state(self, path: Path) -> StateReport:
        """Fill the window from a file of `snapshot`, and go on with its count of frames.

        The frames are searched for recurring defects first; those that share one do not enter. A
        `StateFileError` says that the file is damaged, or of another bundle or framing.
        """
        report, count = self._parts.state.load(path)
        self._count = max(self._count, count)
        self._parts.judge.score_everyone()
        return report

    def confirm(self, part_id: str) -> bool:
        """Take note that a person has called a part good; tell whether the window holds it."""
        found = [slot for _, slot in self._parts.slots.in_order() if slot.part_id == part_id]
        for slot in found:
            slot.confirmed = True
        return bool(found)

    @cupy_errors()
    def held(self, part_id: str) -> HeldPart | None:
        """Return the newest frame of a part that is in the window, for a reference set.

        None where the window does not hold it, or it is not whole in its frame.
        """
        slots = [slot for _, slot in self._parts.slots.in_order() if slot.part_id == part_id]
        if not slots or slots[-1].absent is not None:
            return None
        slot = slots[-1]
        (tokens,) = self._parts.contents.tokens_of([slot])
        score = slot.raw_score if slot.scored else 0.0
        frame = ReferenceFrame(slot.label, slot.time, score, score, confirmed=True, turn=slot.turn)
        return HeldPart(tokens, frame)
