"""A frame against a rolling window, by form of matching, beside the authors' way; cost against W.

    python benchmarks/window.py [--plot docs/pictures/window.png]

One layer and degree, one core, process time, the median of five frames; drawn features.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from zeroline.edge_app.bench import literal_seconds, matrix_rate
from zeroline.runtime.line.shape import WindowShape
from zeroline.runtime.line.window import Window
from zeroline.runtime.workers import WorkerPool

FORMS = ("float32", "pca", "int8")
SHAPES = ((128, 196, 384), (128, 784, 384), (64, 784, 384), (64, 400, 96))
SIZES = (32, 64, 128, 192, 256, 384, 512)


def frames(patches: int, channels: int) -> Iterator[np.ndarray]:
    """Yield tokens of frames that share half of what they show."""
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((patches, channels), dtype=np.float32)
    while True:
        yield shared + rng.standard_normal((patches, channels), dtype=np.float32)


def frame_seconds(
    form: str, window: int, patches: int, channels: int
) -> tuple[float, list[tuple[np.ndarray, ...]]]:
    """Return the time of a frame's match, score and admission, and some features."""
    source = frames(patches, channels)
    laps = []
    with WorkerPool(1) as pool:
        held = Window(WindowShape(window, patches, (channels,), (1,), form), pool)
        filled = np.zeros(window, bool)
        for slot in range(window):
            features = held.features_of([next(source)])
            held.admit(slot, held.match(features, reachable=filled))
            filled[slot] = True
        for slot in range(5):
            features = held.features_of([next(source)])
            began = time.process_time()
            matches = held.match(features, reachable=filled)
            held.score(matches, without=slot)
            held.admit(slot, matches)
            laps.append(time.process_time() - began)
        some = [held.features_in(slot) for slot in range(min(window, 17))]
    return float(np.median(laps)), some


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plot", type=Path, help="draw cost against W to this file")
    plot = parser.parse_args().plot
    print(f"sgemm, 2048³, one thread: {matrix_rate(threads=1):.0f} GFLOP/s")
    for window, patches, channels in SHAPES:
        literal = 0.0
        for form in FORMS:
            seconds, some = frame_seconds(form, window, patches, channels)
            if not literal:
                literal = float(np.median([literal_seconds(some, window) for _ in range(3)]))
            rate = 2e-9 * patches**2 * window * (channels + 2) / seconds
            print(
                f"W {window}, P {patches}, C {channels}, {form}: {1e3 * seconds:.1f} ms, "
                f"recomputing {literal:.2f} s ({literal / seconds:.0f}×), one image "
                f"{1e3 * literal / window:.0f} ms ({literal / window / seconds:.2f}×); "
                f"{rate:.0f} GFLOP/s of the exact product",
                flush=True,
            )
    lines = {}
    for form in FORMS:
        lines[form] = [1e3 * frame_seconds(form, w, 196, 384)[0] for w in SIZES]
        per_slot = ", ".join(f"{t / w:.3f}" for t, w in zip(lines[form], SIZES, strict=True))
        print(f"P 196, C 384, W {SIZES}, {form}: ms a slot {per_slot}", flush=True)
    if plot is not None:
        import matplotlib.pyplot as plt

        figure, axes = plt.subplots(figsize=(5, 3.2), layout="constrained")
        for form, values in lines.items():
            axes.plot(SIZES, values, "o-", label=form)
        axes.set(xlabel="frames in the window", ylabel="ms for a frame", ylim=(0, None))
        axes.legend()
        figure.savefig(plot, dpi=120)


if __name__ == "__main__":
    main()
