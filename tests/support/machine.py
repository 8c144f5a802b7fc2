"""Where things are, and what this machine has."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).parents[2]
SUPPORT = Path(__file__).parent
STAND_INS = SUPPORT / "stand_ins"


def missing(what: str) -> NoReturn:
    """Skip a test for a package of tests/debian.txt that is not here; in CI that is a failure."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} (tests/debian.txt)")
    pytest.skip(what)


def has_gpu() -> bool:
    try:
        import cupy

        return bool((cupy.arange(3) + 1).sum() == 6)  # a kernel must really run
    except Exception:  # noqa: BLE001 - that of a missing header is CuPy's own, and no RuntimeError
        return False
