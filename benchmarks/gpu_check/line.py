"""Assertion 9: a line on CUDA says what the CPU says, and its memory does not grow."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu_check.drawn import frames, line_bundle
from benchmarks.gpu_check.findings import Findings
from benchmarks.gpu_check.sizes import Sizes

#: Scores that may be apart.
APART = 2e-3
#: Frames after which memory is compared with its end: the window is full.
EARLY = 20


def line(cupy: Any, sizes: Sizes, found: Findings) -> None:
    """Push drawn frames through both lines."""
    from zeroline.runtime import RollingInspector, load_bundle

    drawn = frames(sizes.frames, seed=9)
    seen: dict[str, list[Any]] = {}
    memory: list[int] = []
    pool = cupy.get_default_memory_pool()
    with line_bundle(sizes) as where:
        bundles = {device: load_bundle(where, device=device) for device in ("cpu", "cuda")}
    for device, matching in (("cpu", "exact"), ("cuda", "fast")):
        bundle = bundles[device]
        options: dict[str, Any] = {
            "window": sizes.line_window,
            "min_window": 3,
            "matching": matching,
        }
        with RollingInspector(bundle, **options) as made:
            seen[device] = []
            for frame in drawn:
                seen[device].append(made.push(frame))
                if device == "cuda":
                    cupy.cuda.runtime.deviceSynchronize()
                    memory.append(int(pool.used_bytes()))
            if device == "cuda":
                found.row("form of matching", made.shape.form)
                found.hold(made.shape.form.startswith("fp16"), f"it matches by {made.shape.form}")
                found.row("arrays", f"{pool.total_bytes() / 2**20:.0f} MiB held by CuPy's pool")
    differing, worst, close = [], 0.0, 0
    for host, device in zip(seen["cpu"], seen["cuda"], strict=True):
        if (host.scores is None) != (device.scores is None):
            differing.append(host.frame_id)
            continue
        if host.scores is not None:
            worst = max(worst, abs(host.scores.score - device.scores.score))
        if host.verdict != device.verdict:
            threshold = None if host.scores is None else host.scores.threshold
            near = threshold is not None and abs(host.scores.score - threshold) <= APART
            close += near
            if not near:
                differing.append(host.frame_id)
    found.at_most("scores off the CPU's", worst, APART, f"{len(drawn)} frames")
    words = [inspection.verdict.value for inspection in seen["cuda"]]
    counts = ", ".join(f"{words.count(word)} {word}" for word in dict.fromkeys(words))
    found.row("verdicts", counts, f"{close} differ within {APART:g} of the threshold")
    found.hold(not differing, f"other verdicts than the CPU's on frames {differing[:9]}")
    found.hold("NG" in words and "OK" in words, f"verdicts of one kind: {counts}")
    found.row("bytes in use", f"{memory[EARLY - 1]} after {EARLY} frames, {memory[-1]} at the end")
    found.hold(
        memory[-1] == memory[EARLY - 1],
        f"bytes in use grow from {memory[EARLY - 1]} after {EARLY} frames to {memory[-1]}",
    )
