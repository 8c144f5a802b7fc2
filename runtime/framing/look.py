"""What of one picture goes into the network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zeroline.runtime.arrays import Bools
from zeroline.runtime.frames import Frame
from zeroline.runtime.framing.view import View

if TYPE_CHECKING:
    from zeroline.runtime.framing.pose import FoundPose


@dataclass(frozen=True)
class Look:
    """What of one picture goes into the network.

    Attributes
    ----------
    images : tuple of arrays, shape (h, w, 3), uint8
        BGR; the network's own preparation follows. One, or one for each tile that is seen.
    view : View
        Where they lie in the picture.
    absent : array, shape (P,), bool, or None
        Patches whose part lies outside the picture, with those beside them; None: none does.
    pose : FoundPose or None
        Where the part lies, where it was looked for.
    """

    images: tuple[Frame, ...]
    view: View
    absent: Bools | None = None
    pose: FoundPose | None = None

    @property
    def reason(self) -> str | None:
        """Why the part cannot be inspected, by the name of the reason; None where it can."""
        return None if self.pose is None else self.pose.problem

    @property
    def problem(self) -> str:
        """Why the part cannot be inspected, in words; empty where it can."""
        if self.pose is None or self.pose.problem is None:
            return ""
        from zeroline.runtime.framing.pose.quality import FOUND, WHOLE

        if self.pose.problem == "no_part_found":
            return f"no part was found: quality {self.pose.quality:.2f}, {FOUND:g} is needed"
        return f"{self.pose.in_view:.0%} of the part is in the picture, {WHOLE:.0%} is needed"
