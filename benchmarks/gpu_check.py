"""One go on a machine with a GPU: numerical tests with CuPy, kernels, benchmark; one table.

    make gpu-check                     # or: PYTHONPATH=src python benchmarks/gpu_check.py

Needs CuPy and pytest, and from a source tree nothing else: where torch, onnxruntime or others are
missing, what needs them is left out and named. Under 8 minutes on a data-centre GPU. `--small`
takes small shapes, to try the script itself. The exit code is 0 only if every part ran and held.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # what threadpoolctl would do
ROOT = Path(__file__).parent.parent
BARE = ROOT / "tests" / "support" / "stand_ins" / "bare"
for missing in ("hypothesis", "threadpoolctl"):
    if importlib.util.find_spec(missing) is None:
        sys.path.append(str(BARE))
sys.path.insert(0, str(ROOT / "src"))

import numpy as np  # noqa: E402

TESTS = ("stages", "matching", "line/test_window.py", "line/test_cuda_window.py", "test_batch.py")
#: Name, patches, channels, layers: as `zeroline bench --tokens`.
SHAPES = (
    ("ViT-B/16@224", 196, 768, 4),
    ("DINOv2-S@448", 1024, 384, 4),
    ("ViT-L@518", 1369, 1024, 4),
)
SMALL = (("small", 49, 40, 1),)
DEGREES = 3
FORMS = ("fp16-fused", "fp16-tiled")

#: Mean and largest error of distances, relative where they are over 1e-3, and of a copy's.
LIMITS = (1e-3, 1e-2, 1e-4)
#: Why tests with CuPy are skipped: then they have shown nothing (tests/conftest.py).
NO_GPU = "CuPy with a working GPU is not here"

#: What was measured, the figure (it begins with "failed" where it did), and what belongs to it.
Row = tuple[str, str, str]


def run_tests(seconds: float) -> list[Row]:
    """Run the numerical tests; CuPy takes part where it works."""
    files = [str(ROOT / "tests" / "runtime" / name) for name in TESTS]
    paths = [str(ROOT / "src"), *(p for p in sys.path if p == str(BARE))]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])
    }
    command = [sys.executable, "-m", "pytest", "-q", "-rs", "-W", "default"]
    began = time.monotonic()
    try:
        done = subprocess.run(  # noqa: S603 - our own tests
            [*command, "-p", "no:cacheprovider", "--continue-on-collection-errors", *files],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=seconds,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return [("tests", "failed: not finished", f"{seconds:.0f} s")]
    lines = done.stdout.splitlines()
    for line in lines:
        if line.startswith(("FAILED", "ERROR", "E  ")):
            print(line)
    last = (lines[-1] if lines else done.stderr[-300:]).strip("= \n")
    if done.returncode != 0:
        last = f"failed: {last}"
    elif NO_GPU in done.stdout:
        last = f"failed: tests with CuPy were skipped; {last}"
    return [("tests", last, f"{time.monotonic() - began:.0f} s")]


def unit_rows(cupy: Any, images: int, patches: int, channels: int) -> Any:
    """Draw features: what images share, and what each has of its own."""
    rng = cupy.random.default_rng(0)
    rows = rng.standard_normal((images, patches, channels), dtype=cupy.float32)
    rows += rng.standard_normal((1, patches, channels), dtype=cupy.float32)
    rows /= cupy.sqrt(cupy.square(rows).sum(axis=2, keepdims=True))
    return rows


def median_seconds(cupy: Any, work: Any, *, laps: int = 5) -> float:
    """Time some work that is queued on the device."""
    taken = []
    for _ in range(laps + 1):
        cupy.cuda.runtime.deviceSynchronize()
        began = time.perf_counter()
        work()
        cupy.cuda.runtime.deviceSynchronize()
        taken.append(time.perf_counter() - began)
    return float(np.median(taken[1:]))


def errors(cupy: Any, patches: int, channels: int) -> list[Row]:
    """Compare each form with the exact one on drawn features."""
    from zeroline.runtime import match_distances

    features = unit_rows(cupy, 6, patches, channels)
    features[4] = features[0][::-1]  # a copy, elsewhere in the frame
    exact = match_distances(features)
    there = cupy.isfinite(exact)
    rows = []
    for form in FORMS:
        found = matched_by(form, features)
        off = cupy.abs(found[there] - exact[there]) / cupy.maximum(exact[there], 1e-3)
        copies = float(cupy.abs(found[0, :, 4]).max())
        figures = float(off.mean()), float(off.max()), copies
        held = all(figure <= limit for figure, limit in zip(figures, LIMITS, strict=True))
        rows.append(
            (
                f"P {patches}, C {channels}: {form} against exact",
                f"{'' if held else 'failed: '}mean {figures[0]:.1e}, largest {figures[1]:.1e}",
                f"copies {copies:.0e}",
            )
        )
    return rows


def matched_by(form: str, features: Any) -> Any:
    """Return match distances by a form of a given name."""
    from zeroline.runtime.matching.distances import distances_by
    from zeroline.runtime.matching.forms import FORMS as TABLE

    return distances_by(TABLE[form], features, ignore=None, groups=None, threads=1, progress=None)


def bank_rates(cupy: Any, patches: int, channels: int, slots: int, peak: float) -> list[Row]:
    """Time one frame against a bank, one layer and degree."""
    from zeroline.runtime.matching.forms import FORMS as TABLE

    features = unit_rows(cupy, 5, patches, channels)
    nothing = np.zeros(patches, bool)
    rows, columns = (cupy.empty((slots, patches), cupy.float32) for _ in range(2))
    made = []
    for form in FORMS:
        bank = TABLE[form].bank.empty(slots, patches, channels, turn=0, xp=cupy)
        for slot in range(slots):
            bank.put(slot, features[slot % 4], nothing)
        query = bank.query(features[4], nothing)

        def match(bank: Any = bank, query: Any = query) -> None:
            bank.minima(query, 0, slots, rows, columns)

        seconds = median_seconds(cupy, match)
        rate = 2.0 * slots * patches**2 * channels / seconds
        made.append(
            (
                f"P {patches}, C {channels}, W {slots}: {form}",
                f"{1e3 * seconds:.3f} ms a layer and degree",
                f"{rate / 1e12:.1f} TFLOP/s, {rate / peak:.0%} of the matrix rate",
            )
        )
        del bank
    return made


def literal_seconds(torch: Any, features: Any) -> float:
    """Time the authors' way in torch for one image: full tables, least, mean of the lowest 30 %."""
    images = len(features)
    lowest = int((images - 1) * 0.3)
    cuda = features.device.type == "cuda"
    laps = []
    for _ in range(3):
        if cuda:
            torch.cuda.synchronize()
        began = time.perf_counter()
        least = [torch.cdist(features[0], features[j]).min(dim=1)[0] for j in range(1, images)]
        torch.topk(torch.stack(least), lowest, dim=0, largest=False)[0].mean(dim=0)
        if cuda:
            torch.cuda.synchronize()
        laps.append(time.perf_counter() - began)
    return min(laps[1:])


def against_torch(cupy: Any, images: int, patches: int, channels: int) -> list[Row]:
    """Score a set by one layer and degree, beside the authors' way in torch on the same device."""
    if importlib.util.find_spec("torch") is None:
        return [("authors' way in torch", "torch is not here", "")]
    import torch

    features = unit_rows(cupy, images, patches, channels)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    theirs = torch.from_numpy(np.asarray(features.get())).to(device)
    rows = []
    taken = {}
    for name, allowed in (("float32", False), ("TF32", True)):
        torch.backends.cuda.matmul.allow_tf32 = allowed
        with torch.inference_mode():
            taken[name] = images * literal_seconds(torch, theirs)
        rows.append(
            (
                f"N {images}, P {patches}, C {channels}: authors' way in torch, {name}",
                f"{taken[name]:.2f} s a layer and degree",
                device,
            )
        )
    del theirs
    for form in FORMS:
        seconds = median_seconds(cupy, lambda f=form: matched_by(f, features), laps=2)
        rows.append(
            (
                f"N {images}, P {patches}, C {channels}: {form}",
                f"{seconds:.3f} s a layer and degree",
                ", ".join(f"{t / seconds:.0f}× {name}" for name, t in taken.items()),
            )
        )
    return rows


def frames(cupy: Any, name: str, patches: int, channels: int, layers: int, window: int) -> Row:
    """Time whole frames through a window: LNAMD, match, score, admission."""
    from zeroline.edge_app import bench

    case = bench.Case(name, patches, (channels,) * layers)
    made = bench.measure_tokens(
        case, window=window, degrees=(1, 3, 5)[:DEGREES], frames=8, threads=1, matching="fast",
        xp=cupy,
    )  # fmt: skip
    stages = ", ".join(f"{stage} {1e3 * s:.2f}" for stage, s in made.stages.items())
    return (
        f"{name}, W {window}: a frame ({made.form})",
        f"{1e3 * made.p50:.1f} ms: {stages}",
        f"{made.memory / 2**30:.2f} GiB, {made.literal / made.p50:.0f}× recomputing",
    )


def main() -> int:
    """Run all parts, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="small shapes, no tests")
    small = parser.parse_args().small

    from zeroline.edge_app.bench import matrix_rate
    from zeroline.runtime.cuda import current_gpu, working_cupy
    from zeroline.runtime.errors import ZerolineError

    try:
        cupy = working_cupy()
    except ZerolineError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    gpu = current_gpu(cupy)
    table: list[Row] = [
        (
            "device",
            f"{gpu.name}, compute capability {gpu.capability}",
            f"CuPy {cupy.__version__}, Python {platform.python_version()}",
        )
    ]
    began = time.monotonic()

    def attempt(what: str, work: Any, *arguments: Any) -> None:
        try:
            made = work(*arguments)
        except Exception as error:  # noqa: BLE001 - the rest of the table shall come
            made = [(what, f"failed: {type(error).__name__}", str(error).split("\n", 1)[0])]
        table.extend(made if isinstance(made, list) else [made])
        print(f"{time.monotonic() - began:6.0f} s  {what}", flush=True)
        if not small:
            cupy.get_default_memory_pool().free_all_blocks()

    shapes = SMALL if small else SHAPES
    window = 4 if small else 64
    for _, patches, channels, _ in shapes:
        attempt(f"errors at P {patches}", errors, cupy, patches, channels)
    peak = 1e9 if small else 1e9 * matrix_rate(threads=1, xp=cupy)
    table.append(("matrix rate, float16, 8192³", f"{peak / 1e12:.0f} TFLOP/s", ""))
    for _, patches, channels, _ in shapes:
        attempt(f"bank at P {patches}", bank_rates, cupy, patches, channels, window, peak)
    *_, (_, patches, channels, _) = shapes
    images = 5 if small else 100
    attempt("authors' way", against_torch, cupy, images, patches, channels)
    for name, patches, channels, layers in shapes:
        attempt(f"frames of {name}", frames, cupy, name, patches, channels, layers, window)
    if not small:
        attempt("tests", run_tests, max(60.0, 460 - (time.monotonic() - began)))

    widths = [max(len(row[i]) for row in table) for i in range(2)]
    print()
    for first, second, third in table:
        print(f"{first:<{widths[0]}}  {second:<{widths[1]}}  {third}")
    return int(any(row[1].startswith("failed") for row in table))


if __name__ == "__main__":
    sys.exit(main())
