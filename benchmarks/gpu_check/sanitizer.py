"""Assertion 7: compute-sanitizer finds nothing in the kernels, with each of its tools."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.gpu_check.drawn import tokens
from benchmarks.gpu_check.findings import Findings
from benchmarks.gpu_check.forms import FORM
from benchmarks.gpu_check.processes import command, ending, run
from benchmarks.gpu_check.sizes import Shape, Sizes

TOOLS = ("memcheck", "racecheck", "initcheck", "synccheck")
_FOUND_ERRORS = 9
_SHAPE, _WINDOW = Shape("watched", 196, 96, 1), 3
_END = "watched to the end"
_HINT = "it is part of CUDA's toolkit (pip: nvidia-cuda-sanitizer-api)"


def program() -> str | None:
    """Return where compute-sanitizer is; None where it is not found."""
    folders = [Path(os.environ[name]) / "bin" for name in ("CUDA_HOME", "CUDA_PATH")
               if os.environ.get(name)]  # fmt: skip
    folders.append(Path("/usr/local/cuda/bin"))
    for entry in filter(None, sys.path):
        folders += Path(entry).glob("nvidia/*/bin")
    path = os.pathsep.join([os.environ.get("PATH", ""), *map(str, folders)])
    return shutil.which("compute-sanitizer", path=path)


def sanitizer(cupy: Any, sizes: Sizes, found: Findings) -> None:  # noqa: ARG001
    """Run a frame's kernels under each tool."""
    where = program()
    if where is None:
        found.failures.append(f"compute-sanitizer is not found: {_HINT}")
        return
    for tool in TOOLS:
        words = [
            where,
            "--tool",
            tool,
            "--error-exitcode",
            str(_FOUND_ERRORS),
            "--print-limit",
            "5",
        ]
        try:
            done = run([*words, *command("--watched")], seconds=140)
        except subprocess.TimeoutExpired:
            found.failures.append(f"{tool}: not finished after 140 s")
            continue
        told = [line for line in done.stdout.splitlines() if "=========" in line]
        found.data[tool] = told[:40]
        found.row(tool, f"exit code {done.returncode}", told[-1].strip("= ") if told else "")
        if done.returncode == _FOUND_ERRORS:
            found.failures.append(f"{tool}: {told[-1].strip('= ') if told else 'errors'}")
        elif done.returncode != 0:
            found.failures.append(f"{tool}: {ending(done)}")
        elif _END not in done.stdout:
            found.failures.append(f"{tool}: the kernels did not run")


def watched() -> None:
    """Run all kernels of a frame: what the tools watch."""
    from zeroline.runtime.cuda import working_cupy
    from zeroline.runtime.line.shape import WindowShape
    from zeroline.runtime.line.window import Window
    from zeroline.runtime.workers import WorkerPool

    cupy = working_cupy()
    cupy.cuda.set_allocator(None)  # each array ends where its memory does, and is new
    draw = tokens(np.random.default_rng(0), _SHAPE.patches, _SHAPE.channels, _SHAPE.layers)
    for degrees in ((1, 3, 5), "fused"):
        of = WindowShape(_WINDOW, _SHAPE.patches, (_SHAPE.channels,), degrees, FORM)
        with WorkerPool(1) as pool:
            window = Window(of, pool, xp=cupy)
            filled = np.zeros(_WINDOW, bool)
            for number in range(_WINDOW + 1):
                slot = number % _WINDOW
                features = window.features_of([cupy.asarray(layer) for layer in draw()])
                matches = window.match(features, reachable=filled)
                if number >= 2:
                    window.look_ahead(matches, recent=[0, 1], place=slot)
                    window.score(matches, without=[slot])
                window.admit(slot, matches)
                filled[slot] = True
            window.look_ahead_held([0, 1])
            window.ignore_patches(0, np.arange(_SHAPE.patches) < 9, reachable=filled)
    sys.stdout.write(f"{_END}\n")
