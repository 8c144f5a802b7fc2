"""Assertion 10: a quick product, even frames, a quick second start."""

from __future__ import annotations

import json
import os
import tempfile
import time
from functools import partial
from typing import Any

import numpy as np
from benchmarks.gpu_check.drawn import frames, line_bundle
from benchmarks.gpu_check.figures import Bench
from benchmarks.gpu_check.findings import Findings
from benchmarks.gpu_check.processes import command, ending, run
from benchmarks.gpu_check.sizes import Sizes
from benchmarks.gpu_check.timing import Stopwatch, product_rate

#: Part of cuBLAS's rate that fused_keys reaches; GeForce's tensor cores sum in float32 at half
#: their rate, so cuBLAS is slower there.
LEAST_RATE = {"GeForce": 0.7, "": 0.4}
#: The slowest frame in twenty, in parts of the median.
MOST_UNEVEN = 2.0
#: Seconds of a start with compiled kernels at hand.
MOST_START = 5.0


def rates(cupy: Any, sizes: Sizes, found: Findings) -> None:
    """Measure the three."""
    from zeroline.runtime import RollingInspector, load_bundle
    from zeroline.runtime.cuda import current_gpu

    name = current_gpu(cupy).name
    least = next(part for word, part in LEAST_RATE.items() if word in name)
    machine = product_rate(cupy, sizes.product_side)
    bench = Bench(cupy, sizes.rated, window=sizes.window)
    fused = bench.operations / (1e-3 * bench.fused_ms())
    found.data["rates"] = {"cublas": machine, "fused": fused}
    found.at_least(
        f"fused_keys at P {sizes.rated.patches}, of cuBLAS's rate", fused / machine, least,
        f"{fused / 1e12:.1f} of {machine / 1e12:.1f} TFLOP/s",
    )  # fmt: skip

    window = sizes.line_window
    with line_bundle(sizes) as where:
        bundle = load_bundle(where, device="cuda")
    watch, drawn = Stopwatch(cupy), frames(window + sizes.frames, seed=10)
    with RollingInspector(bundle, window=window, min_window=2, codegraph=False) as line:
        laps = [watch.lap(partial(line.push, frame)) for frame in drawn][window:]
    p50, p95 = (float(np.percentile(laps, share)) for share in (50, 95))
    found.row(f"a frame of {bundle.name}", f"p50 {p50:.2f} ms, p95 {p95:.2f} ms", f"W {window}")
    found.hold(p95 < MOST_UNEVEN * p50, f"frames are uneven: p50 {p50:.2f} ms, p95 {p95:.2f} ms")

    seconds = {}
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        os.environ |= {"XDG_CACHE_HOME": folder, "CUPY_CACHE_DIR": f"{folder}/kernels"}
        for which in ("first", "second"):
            done = run(command("--start"), seconds=240)
            if done.returncode != 0:
                found.failures.append(f"the {which} start failed: {ending(done)}")
                return
            seconds[which] = float(json.loads(done.stdout.splitlines()[-1])["seconds"])
    found.data["start_seconds"] = seconds
    found.row("first start, nothing kept", f"{seconds['first']:.1f} s")
    found.at_most("second start, seconds", seconds["second"], MOST_START)


def start() -> float:
    """Return the seconds of a line's start in this process."""
    from zeroline.runtime import RollingInspector, load_bundle

    began = time.perf_counter()
    with RollingInspector(load_bundle("tiny", device="cuda"), window=16) as line:
        taken = time.perf_counter() - began
        if line.frame_ids:
            raise AssertionError
    return taken
