"""The numerical tests of the runtime, with CuPy's arrays on the device."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any

from benchmarks.gpu_check.findings import Findings
from benchmarks.gpu_check.processes import ROOT, run
from benchmarks.gpu_check.sizes import Sizes

FILES = ("stages", "matching", "line/test_window.py", "line/test_cuda_window.py", "test_batch.py")
#: Why tests with CuPy are skipped: then they have shown nothing (tests/conftest.py).
NO_GPU = "CuPy with a working GPU is not here"
SECONDS = 560.0


def tests(cupy: Any, sizes: Sizes, found: Findings) -> None:  # noqa: ARG001
    """Run them; CuPy takes part where it works."""
    if importlib.util.find_spec("pytest") is None:
        found.failures.append("pytest is not here")
        return
    files = [str(ROOT / "tests" / "runtime" / name) for name in FILES]
    options = ["-q", "-rs", "-W", "default", "-p", "no:cacheprovider"]
    words = [sys.executable, "-m", "pytest", *options, "--continue-on-collection-errors", *files]
    try:
        done = run(words, seconds=SECONDS)
    except subprocess.TimeoutExpired:
        found.failures.append(f"not finished after {SECONDS:.0f} s")
        return
    lines = done.stdout.splitlines()
    last = (lines[-1] if lines else done.stderr[-300:]).strip("= \n")
    found.row("numerical tests", last)
    marks = ("FAILED", "ERROR", "E  ")
    found.data["failed"] = [line for line in lines if line.startswith(marks)][:200]
    found.hold(done.returncode == 0, last)
    found.hold(NO_GPU not in done.stdout, f"tests with CuPy were skipped; {last}")
