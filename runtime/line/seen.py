"""From a frame to what the network gives for it, or why it gives nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from zeroline.runtime.errors import FrameError, ZerolineError
from zeroline.runtime.frames import Clock, Frame
from zeroline.runtime.framing.framer import Framer
from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.framing.view import View
from zeroline.runtime.results import Reason
from zeroline.runtime.tokens import Tokens

if TYPE_CHECKING:
    from zeroline.runtime.network.model import Bundle


@dataclass(frozen=True)
class Seen:
    """A frame, as the line goes on with it.

    Attributes
    ----------
    tokens : Tokens or None
        Of this one frame; None where there is a reason.
    view : View or None
        Where in the frame the network's square lies.
    reason : Reason or None
        Why there are no tokens.
    text : str
        The same in words.
    """

    tokens: Tokens | None = None
    view: View | None = None
    reason: Reason | None = None
    text: str = ""


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
    square : View
        The network's own input, or all tiles in its pixels.
    """

    def __init__(self, bundle: Bundle, framing: Framing) -> None:
        self._bundle = bundle
        self.framer = Framer(framing, bundle.manifest.input, patches=bundle.patches)
        self.square = View.whole((bundle.size, bundle.size), tiles=framing.tiles)

    def see(self, frame: Frame, clock: Clock) -> Seen:
        """Take a frame to its tokens, and time the stages."""
        try:
            with clock.stage("prepare"):
                look = self.framer.look(frame)
                images = np.stack([self._bundle.prepare(image) for image in look.images])
            with clock.stage("network"):
                return Seen(self.framer.joined(self._bundle.embed(images)), look.view)
        except ZerolineError as error:
            damaged = isinstance(error, FrameError)
            return Seen(reason=Reason.DAMAGED_FRAME if damaged else Reason.MODEL, text=str(error))
