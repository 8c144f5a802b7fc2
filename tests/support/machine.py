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


def forget_device() -> None:
    """Forget what was compiled, tried and measured by another test's CuPy."""
    from zeroline.runtime.matching.forms import form_trouble, match_seconds
    from zeroline.runtime.matching.launches import _compiled

    _compiled.clear()
    form_trouble.cache_clear()
    match_seconds.cache_clear()
