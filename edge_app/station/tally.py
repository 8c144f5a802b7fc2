"""What has passed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from zeroline.edge_app.parts import JudgedPart
from zeroline.runtime.results import Verdict


@dataclass
class Tally:
    """Counts parts.

    Attributes
    ----------
    verdicts : Counter
        Parts by verdict.
    dropped : int
        Frames of live sources that were not taken.
    late : int
        Verdicts that came after their deadline; their parts are counted already.
    missed : Counter
        By output, messages that it did not take.
    """

    verdicts: Counter[str] = field(default_factory=Counter)
    dropped: int = 0
    late: int = 0
    missed: Counter[str] = field(default_factory=Counter)

    @property
    def frames(self) -> int:
        """All parts that have a verdict."""
        return sum(self.verdicts.values())

    def count(self, part: JudgedPart) -> None:
        """Count a part."""
        if part.late:
            self.late += 1
        else:
            self.verdicts[part.verdict.value] += 1

    def __str__(self) -> str:
        """Return one line."""
        parts = ", ".join(f"{self.verdicts[v.value]} {v.value}" for v in Verdict)
        late = f"; {self.late} late" if self.late else ""
        missed = "".join(f"; {count} missed by {name}" for name, count in self.missed.items())
        return f"{self.frames} frames: {parts}; {self.dropped} dropped{late}{missed}"
