"""Where things are, and what this machine has."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
SUPPORT = Path(__file__).parent
STAND_INS = SUPPORT / "stand_ins"


def has_gpu() -> bool:
    try:
        import cupy

        return bool((cupy.arange(3) + 1).sum() == 6)  # a kernel must really run
    except (ImportError, RuntimeError):
        return False
