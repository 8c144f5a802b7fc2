"""Mutual scoring and LNAMD on one CPU core against the literal forms of MuSc's authors, in torch.

    pip install torch        # only for this script; zeroline itself never needs it
    python benchmarks/mutual_scoring.py [--case 64,196,192 …] [--rounds 5] [--json FILE]

Every figure is process CPU time on one thread; the forms take turns, and the median counts. The
machine's own matrix rate (2048³ with the same BLAS, best of 5) stands in the same table.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from threadpoolctl import threadpool_info, threadpool_limits

from zeroline.runtime import interval_average, lnamd, match_distances
from zeroline.runtime.workers import run_in_threads

CASES = ((64, 196, 192), (128, 196, 384), (64, 784, 384))
LNAMD_CASE = (4, 4, 37 * 37, 1024)  # layers, images, patches, channels


def cpu_seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def features_with_copies(images: int, patches: int, channels: int) -> np.ndarray:
    """Unit rows that match a little across images; two images are near-copies of the first."""
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((patches, channels))
    features = shared + rng.standard_normal((images, patches, channels))
    features[-1] = features[0] + 1e-4 * rng.standard_normal((patches, channels))
    features[-2] = features[0] + 3e-2 * rng.standard_normal((patches, channels))
    features /= np.linalg.norm(features, axis=2, keepdims=True)
    return features.astype(np.float32)


def smallest_mean(distances: torch.Tensor) -> torch.Tensor:
    k = int(distances.shape[1] * 0.3)
    return torch.topk(distances, k, largest=False).values.mean(dim=1)


def literal_one_cdist(features: torch.Tensor, i: int) -> torch.Tensor:
    """All other images in one cdist, then a minimum over it."""
    images, patches, channels = features.shape
    others = torch.cat((features[:i], features[i + 1 :])).reshape(-1, channels)
    distances = torch.cdist(features[i : i + 1], others)
    return smallest_mean(distances.reshape(patches, images - 1, patches).min(dim=-1)[0])


def literal_pairs(features: torch.Tensor, i: int) -> torch.Tensor:
    """One cdist per pair of images."""
    columns = [
        torch.cdist(features[i], features[j]).min(dim=1)[0] for j in range(len(features)) if j != i
    ]
    return smallest_mean(torch.stack(columns, dim=1))


def exact_scores(features: np.ndarray, i: int) -> np.ndarray:
    """Patch scores of image i in float64, as the mean over q of ‖x - y‖ written out."""
    wide = features.astype(np.float64)
    norms = (wide * wide).sum(axis=2)
    columns = []
    for j in range(len(wide)):
        if j == i:
            continue
        square = norms[i][:, None] + norms[j][None, :] - 2 * wide[i] @ wide[j].T
        columns.append(np.sqrt(np.maximum(square.min(axis=1), 0)))
    distances = np.sort(np.stack(columns, axis=1), axis=1)
    return distances[:, : int(distances.shape[1] * 0.3)].mean(axis=1)


def sgemm_rate() -> float:
    """Return the best GFLOP/s of five 2048³ products with NumPy's BLAS."""
    rng = np.random.default_rng(0)
    left, right = rng.random((2, 2048, 2048), dtype=np.float32)
    out = np.empty_like(left)
    seconds = min(cpu_seconds(lambda: np.matmul(left, right, out=out)) for _ in range(5))
    return 2 * 2048**3 / seconds / 1e9


def bench_matching(case: tuple[int, int, int], rounds: int) -> dict[str, float]:
    images, patches, channels = case
    features = features_with_copies(*case)
    tensor = torch.from_numpy(features)
    forms: dict[str, Callable[[], object]] = {
        "ours": lambda: interval_average(match_distances(features)),
        "one_cdist": lambda: [literal_one_cdist(tensor, i) for i in range(images)],
        "pairs": lambda: [literal_pairs(tensor, i) for i in range(images)],
    }
    match_distances(features[:3])  # compile
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    rates = []
    for _ in range(rounds):
        rates.append(sgemm_rate())
        for name, call in forms.items():
            seconds[name].append(cpu_seconds(call))
    median = {name: statistics.median(values) for name, values in seconds.items()}
    scores = interval_average(match_distances(features))
    sample = sorted({0, 1, images // 2, images - 2, images - 1})
    error = max(float(np.abs(scores[i] - exact_scores(features, i)).max()) for i in sample)
    rate = images * (images - 1) * patches**2 * channels / median["ours"] / 1e9
    return {
        **{f"{name}_s": value for name, value in median.items()},
        "ratio": min(median["one_cdist"], median["pairs"]) / median["ours"],
        "gflops": rate,
        "sgemm_gflops": max(rates),
        "of_sgemm": rate / max(rates),
        "max_error": error,
    }


def literal_lnamd(layers: list[torch.Tensor], degree: int) -> torch.Tensor:
    """Unfold and adaptive pooling, as published."""
    pooled = []
    for tokens in layers:
        images, patches, channels = tokens.shape
        side = int(patches**0.5)
        grid = tokens.reshape(images, side, side, channels).permute(0, 3, 1, 2)
        grid = torch.nn.LayerNorm([channels, side, side])(grid)
        unfolded = torch.nn.functional.unfold(grid, degree, padding=degree // 2)
        unfolded = unfolded.reshape(images, channels, degree, degree, -1).permute(0, 4, 1, 2, 3)
        flat = unfolded.reshape(images * patches, 1, -1)
        pooled.append(torch.nn.functional.adaptive_avg_pool1d(flat, channels).squeeze(1))
    features = torch.stack(pooled, dim=1).reshape(images, patches, len(layers), channels)
    return features / features.norm(dim=-1, keepdim=True)


def bench_lnamd(rounds: int) -> dict[str, float]:
    layers, images, patches, channels = LNAMD_CASE
    rng = np.random.default_rng(0)
    tokens = rng.standard_normal((layers, images, patches, channels), dtype=np.float32)
    tensors = [torch.from_numpy(layer) for layer in tokens]
    seconds: dict[str, list[float]] = {"ours": [], "literal": []}
    lnamd(tokens[0, :1], degree=3)  # compile
    for _ in range(rounds):
        seconds["ours"].append(
            cpu_seconds(lambda: [lnamd(x, degree=r) for x in tokens for r in (1, 3, 5)])
        )
        with torch.no_grad():
            seconds["literal"].append(
                cpu_seconds(lambda: [literal_lnamd(tensors, r) for r in (1, 3, 5)])
            )
    median = {f"{name}_s": statistics.median(values) for name, values in seconds.items()}
    return {**median, "ratio": median["literal_s"] / median["ours_s"]}


def bench_threads(case: tuple[int, int, int], rounds: int) -> dict[str, float]:
    """Wall time of one and two worker threads, BLAS left as the process found it."""
    features = features_with_copies(*case)
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(rounds):
        for threads in (1, 2):
            start = time.perf_counter()
            match_distances(features, threads=threads)
            seconds[threads].append(time.perf_counter() - start)
    # what the machine itself gives: the same independent products on one and two threads
    spin = np.ones((512, 512), dtype=np.float32)
    ideal = []
    for _ in range(rounds):
        pair = []
        for threads in (1, 2):
            start = time.perf_counter()
            with threadpool_limits(1):
                run_in_threads(lambda _: np.matmul(spin, spin), range(400), threads=threads)
            pair.append(time.perf_counter() - start)
        ideal.append(pair[0] / pair[1])
    one, two = (statistics.median(seconds[threads]) for threads in (1, 2))
    return {"one_s": one, "two_s": two, "ratio": one / two, "machine": statistics.median(ideal)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--case", action="append", help="N,P,C; may be given several times")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    options = parser.parse_args()
    cases = [tuple(map(int, case.split(","))) for case in options.case or []] or list(CASES)

    figures: dict[str, object] = {
        "blas": [
            f"{lib['internal_api']} {lib['version']} {lib.get('architecture', '')}"
            for lib in threadpool_info()
            if lib["user_api"] == "blas"
        ],
        "threads": bench_threads((64, 400, 96), options.rounds),
    }
    print(figures, flush=True)
    torch.set_num_threads(1)
    with threadpool_limits(1):
        for case in cases:
            figures[f"matching {case}"] = bench_matching(case, options.rounds)  # type: ignore[arg-type]
            print(case, figures[f"matching {case}"], flush=True)
        figures["lnamd"] = bench_lnamd(options.rounds)
        print("lnamd", figures["lnamd"], flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
