"""What a run by options has beside its station."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Extras:
    """Options that a station's file has not."""

    frames: int | None = None
    video: Path | None = None
    show: bool = False
    save_reference: Path | None = None
