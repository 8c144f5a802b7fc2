"""Parts in processes of their own."""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu_check.findings import Findings, Outcome, Row
from benchmarks.gpu_check.parts import PARTS, Part
from benchmarks.gpu_check.sizes import FULL, SMALL, Sizes

ROOT = Path(__file__).parents[2]
#: Stands for small packages that only tests and thread limits need, where they are missing.
BARE = ROOT / "tests" / "support" / "stand_ins" / "bare"


def environment() -> dict[str, str]:
    """Return the environment of a part: this source tree first, one thread of BLAS."""
    bare = [str(BARE)] if importlib.util.find_spec("threadpoolctl") is None else []
    paths = [str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", ""), *bare]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "OPENBLAS_NUM_THREADS": "1",
    }


def command(*arguments: str) -> list[str]:
    """Return the command line of a process of this package."""
    return [sys.executable, "-m", "benchmarks.gpu_check", *arguments]


def run_here(part: Part, sizes: Sizes, cupy: Any) -> Findings:
    """Run a part in this process."""
    module = importlib.import_module(f"benchmarks.gpu_check.{part.where}")
    found = Findings()
    getattr(module, part.name.replace("-", "_"))(cupy, sizes, found)
    return found


def answer(name: str, *, small: bool, result: Path) -> None:
    """Run a part and write what it found: what a process of its own does."""
    from zeroline.runtime.cuda import working_cupy

    part = next(part for part in PARTS if part.name == name)
    found = run_here(part, SMALL if small else FULL, working_cupy())
    rows = [vars(row) for row in found.rows]
    told = {"rows": rows, "failures": found.failures, "data": found.data}
    result.write_text(json.dumps(told), encoding="utf-8")


def run_part(part: Part, *, small: bool) -> Outcome:
    """Run a part in a process of its own. Whatever ends it is told as a failure."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        result = Path(folder) / "result.json"
        options = ["--small"] if small else []
        told, trouble = {}, ""
        try:
            done = run([*command("--part", part.name, "--result", str(result)), *options],
                       seconds=part.seconds)  # fmt: skip
            trouble = "" if done.returncode == 0 else ending(done)
        except subprocess.TimeoutExpired:
            trouble = f"not finished after {part.seconds} s"
        if not trouble:
            try:
                told = json.loads(result.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                trouble = "it ended without a result"
    return Outcome(
        part.name,
        part.says,
        ran=not trouble,
        failures=(trouble,) if trouble else tuple(told["failures"]),
        rows=() if trouble else tuple(Row(**row) for row in told["rows"]),
        seconds=round(time.monotonic() - began, 1),
        data={} if trouble else told["data"],
    )


def run(words: Sequence[str], *, seconds: float) -> subprocess.CompletedProcess[str]:
    """Run a command in the source tree, with the environment of a part.

    Raises
    ------
    subprocess.TimeoutExpired
        After so many seconds; it is killed, with all that it has started.
    """
    with subprocess.Popen(  # noqa: S603 - our own words
        words, cwd=ROOT, env=environment(), text=True, encoding="utf-8", errors="replace",
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    ) as process:  # fmt: skip
        try:
            out, errors = process.communicate(timeout=seconds)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    return subprocess.CompletedProcess(words, process.returncode, out, errors)


def ending(done: subprocess.CompletedProcess[str]) -> str:
    """Say in one line how a process ended that did not end well."""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    last = lines[-1] if lines else "it says nothing"
    if done.returncode < 0:
        return f"ended by {signal.Signals(-done.returncode).name}: {last}"
    return f"exit code {done.returncode}: {last}"
