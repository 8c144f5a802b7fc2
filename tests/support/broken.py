"""Broken set-ups for the doctor: a process of its own, with something wrong about it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.machine import ROOT, SUPPORT


def doctor(
    *arguments: Path | str, before: Path | None = None, user: int | None = None
) -> dict[str, dict[str, Any]]:
    """Run ``zeroline doctor --json``; return its lines by their names.

    Parameters
    ----------
    arguments : path or str
    before : Path, optional
        Folder whose modules go before those that are installed.
    user : int, optional
        Runs it as this user.
    """
    done = run(*arguments, "--json", before=before, user=user)
    assert done.returncode in (0, 1), done.stderr
    assert "Traceback" not in done.stderr
    lines: list[dict[str, Any]] = json.loads(done.stdout)
    failed = [line for line in lines if line["state"] == "fail"]
    assert done.returncode == bool(failed)
    for line in lines:
        assert bool(line["cure"]) == (line["state"] != "ok"), line
    return {line["name"]: line for line in lines}


def run(
    *arguments: Path | str,
    before: Path | None = None,
    user: int | None = None,
    command: str = "doctor",
) -> subprocess.CompletedProcess[str]:
    """Run ``zeroline doctor``, or another command."""
    paths = [*([str(before)] if before else []), str(ROOT / "src")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    words = [sys.executable, "-m", "zeroline.edge_app", command, *map(str, arguments)]
    return subprocess.run(
        words, capture_output=True, text=True, check=False, env=environment, timeout=120,
        user=user,
    )  # fmt: skip


def failing(lines: dict[str, dict[str, Any]]) -> set[str]:
    """Return the names of the lines that fail, but for the clock: no test's machine needs one."""
    return {name for name, line in lines.items() if line["state"] == "fail"} - {"clock"}


def missing(folder: Path, name: str) -> Path:
    """Make a package look as if it were not installed; return the folder to go before."""
    text = f"raise ModuleNotFoundError(\"No module named '{name}'\", name='{name}')\n"
    return module(folder, name, text)


def module(folder: Path, name: str, text: str) -> Path:
    """Write a module that goes before an installed one; return its folder."""
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return folder


def stand_in(folder: Path, name: str, *, more: str = "") -> Path:
    """Put a stand-in of a CUDA package before what is installed."""
    text = (SUPPORT / "stand_ins" / f"{name}.py").read_text(encoding="utf-8")
    return module(folder, name, text + more)
