"""Assertion 6: the same work gives the same bits, also while another process uses the device."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from typing import Any

import numpy as np
from benchmarks.gpu_check.drawn import tokens
from benchmarks.gpu_check.findings import Findings
from benchmarks.gpu_check.forms import FORM
from benchmarks.gpu_check.processes import ROOT, command, environment
from benchmarks.gpu_check.sizes import Sizes


def repeats(cupy: Any, sizes: Sizes, found: Findings) -> None:
    """Repeat a frame's work, first alone, then beside a busy process."""
    digests = {"alone": _digests(cupy, sizes)}
    with subprocess.Popen(  # noqa: S603 - our own words
        command("--busy"), cwd=ROOT, env=environment(), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as other:  # fmt: skip
        assert other.stdout is not None  # noqa: S101 - it was asked for
        began = other.stdout.readline().strip()
        found.hold(began == "busy", f"the other process is not busy, it says {began!r}")
        digests["beside a busy process"] = _digests(cupy, sizes)
        found.hold(other.poll() is None, "the other process ended meanwhile")
        other.kill()
    for where, seen in digests.items():
        found.row(f"{sizes.repeats} runs {where}", f"{len(set(seen))} result")
        found.hold(len(set(seen)) == 1, f"{where}: {len(set(seen))} different results")
    firsts = {seen[0] for seen in digests.values()}
    found.hold(len(firsts) == 1, "busy and alone differ")


def busy() -> None:
    """Use the device until it is killed: what the other process does."""
    from zeroline.runtime.cuda import working_cupy

    cupy = working_cupy()
    rows = cupy.zeros((1024, 1024), dtype=cupy.float32)
    (rows @ rows).get()
    sys.stdout.write("busy\n")
    sys.stdout.flush()
    while True:
        for _ in range(20):
            product = rows @ rows
        product.get()


def _digests(cupy: Any, sizes: Sizes) -> list[str]:
    """Return a digest of all that a frame's work leaves, of each of some runs."""
    from zeroline.runtime.line.shape import WindowShape
    from zeroline.runtime.line.window import Window
    from zeroline.runtime.workers import WorkerPool

    shape = sizes.shapes[0]
    draw = tokens(np.random.default_rng(0), shape.patches, shape.channels, shape.layers)
    drawn = [draw() for _ in range(sizes.window + 1)]
    seen = []
    with WorkerPool(1) as pool:
        of = WindowShape(
            sizes.window, shape.patches, (shape.channels,) * shape.layers, (1, 3, 5), FORM
        )
        window = Window(of, pool, xp=cupy)
        filled = np.zeros(sizes.window, bool)
        for slot in range(sizes.window):
            matches = window.match(
                window.features_of([cupy.asarray(layer) for layer in drawn[slot]]), reachable=filled
            )
            window.admit(slot, matches)
            filled[slot] = True
        for _ in range(sizes.repeats):
            features = window.features_of([cupy.asarray(layer) for layer in drawn[-1]])
            matches = window.match(features, reachable=filled)
            window.look_ahead(matches, recent=[0, 1], place=2)
            scores = window.score(matches, without=[2])
            digest = hashlib.sha256(b"" if scores is None else scores.tobytes())
            for part in (*features, matches.to_slots, matches.from_slots):
                digest.update(np.ascontiguousarray(part.get()).tobytes())
            seen.append(digest.hexdigest())
    return seen
