"""From a frame to what the network gives for it, or why it gives nothing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from zeroline.runtime.arrays import Bools
from zeroline.runtime.errors import FrameError, ZerolineError
from zeroline.runtime.frames import CaptureTime, Clock, Frame
from zeroline.runtime.framing.framer import Framer
from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.framing.view import View
from zeroline.runtime.results import Inspection, Reason, Verdict
from zeroline.runtime.tokens import Tokens

if TYPE_CHECKING:
    from zeroline.runtime.framing.pose import FoundPose
    from zeroline.runtime.network.model import Bundle


@dataclass(frozen=True)
class Seen:
    """A frame, as the line goes on with it.

    Attributes
    ----------
    tokens : Tokens or None
        Of this one frame; None where there is a reason.
    view : View
        Where in the frame the network's square lies.
    absent : array, shape (P,), bool, or None
        Patches whose part lies outside the frame; None: none does.
    pose : FoundPose or None
        Where the part lies, where it was looked for.
    verdict : Verdict
        FAULT where the machine does not work, UNCERTAIN where the frame shows no whole part.
    reason : Reason or None
        Why there are no tokens.
    text : str
        The same in words.
    in_a_row : int
        Frames without a whole part one after the other, this one included.
    """

    tokens: Tokens | None = None
    view: View = field(default_factory=lambda: View.whole((1, 1)))
    absent: Bools | None = None
    pose: FoundPose | None = None
    verdict: Verdict = Verdict.FAULT
    reason: Reason = Reason.MODEL
    text: str = ""
    in_a_row: int = 0

    @property
    def turn(self) -> float:
        """Degrees by which the part is turned from the taught one; 0 where that is not known."""
        return 0.0 if self.pose is None else self.pose.turn

    def unscored(
        self, number: int, part_id: str | None, captured: CaptureTime, clock: Clock
    ) -> Inspection:
        """Return the verdict on a frame without tokens."""
        return Inspection(
            number, part_id, self.verdict, self.reason, captured.wall, captured.monotonic,
            unplaced_in_a_row=self.in_a_row, fault=self.text, pose=self.pose,
            view=None if self.pose is None else self.view,
            latency=clock.seconds,
        )  # fmt: skip


class FrameReader:
    """Takes frames to tokens.

    Parameters
    ----------
    bundle : Bundle
    framing : Framing
        What of a frame is looked at.

    Attributes
    ----------
    framer : Framer
    square : Seen
        The network's own input, or all tiles in its pixels.
    """

    def __init__(self, bundle: Bundle, framing: Framing) -> None:
        self._bundle = bundle
        self._unplaced = 0
        self.framer = Framer(framing, bundle.manifest.input, patches=bundle.patches)
        self.square = Seen(view=View.whole((bundle.size, bundle.size), tiles=framing.tiles))

    @property
    def finds_parts(self) -> bool:
        """Whether the part is found in each frame."""
        return self.framer.framing.taught is not None

    def see(self, frame: Frame, clock: Clock) -> Seen:
        """Take a frame to its tokens, and time the stages."""
        try:
            with clock.stage("prepare"):
                look = self.framer.look(frame)
                self._unplaced = 0 if look.reason is None else self._unplaced + 1
                if look.reason is not None:
                    return Seen(
                        view=look.view,
                        pose=look.pose,
                        verdict=Verdict.UNCERTAIN,
                        reason=Reason(look.reason),
                        text=look.problem,
                        in_a_row=self._unplaced,
                    )
                images = np.stack([self._bundle.prepare(image) for image in look.images])
            with clock.stage("network"):
                tokens = self.framer.joined(self._bundle.embed(images))
                return Seen(tokens, look.view, look.absent, look.pose)
        except ZerolineError as error:
            damaged = isinstance(error, FrameError)
            return Seen(reason=Reason.DAMAGED_FRAME if damaged else Reason.MODEL, text=str(error))
