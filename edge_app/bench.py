"""Measure this machine: frames through the window, its matrix rate, and the authors' way."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from zeroline.runtime.bundle import Bundle
from zeroline.runtime.degrees import match_count
from zeroline.runtime.interval import interval_bounds
from zeroline.runtime.precision_choice import chosen_precision
from zeroline.runtime.rolling import RollingInspector
from zeroline.runtime.window import Shape, Window
from zeroline.runtime.workers import WorkerPool, single_threaded_blas

_SIDE = 2048
_STAGES = ("lnamd", "match", "score", "admit")

Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Case:
    """Tokens of a backbone, drawn at random.

    Attributes
    ----------
    name : str
    patches : int
    channels : tuple of int
    """

    name: str
    patches: int
    channels: tuple[int, ...]


CASES = (
    Case("ViT-B/16@224", 196, (768,) * 4),
    Case("DINOv2-S@448", 1024, (384,) * 4),
    Case("ViT-L@518", 1369, (1024,) * 4),
)


@dataclass(frozen=True)
class Measured:
    """What one case takes; seconds and bytes.

    Attributes
    ----------
    name : str
    window : int
    degrees : str
    precision : str
        How neighbours were found.
    frames : int
        Frames that were measured, the window full.
    p50, p95, p99 : float
        Of a frame's whole way.
    stages : dict
        Median by stage.
    memory : int
        Of the window.
    gigaflops : float
        Operations of the exact products, 2·P·W·P·(C + 2) each, for the median match's time; a
        screened match does fewer, and so may lie over the machine's own rate.
    literal : float
        One frame of the window the authors' way, times W: what recomputing the window would take.
    """

    name: str
    window: int
    degrees: str
    precision: str
    frames: int
    p50: float
    p95: float
    p99: float
    stages: dict[str, float]
    memory: int
    gigaflops: float
    literal: float

    def as_dict(self) -> dict[str, Any]:
        """Return all figures, the derived ones too."""
        return {
            **asdict(self),
            "frames_per_second": 1 / self.p50,
            "ratio_to_recomputing": self.literal / self.p50,
        }


def matrix_rate(*, threads: int) -> float:
    """Return GFLOP/s of a 2048³ float32 product by NumPy's BLAS, one product on each thread."""
    rng = np.random.default_rng(0)
    left, right = (rng.standard_normal((_SIDE, _SIDE), dtype=np.float32) for _ in range(2))

    def multiply(_: int) -> None:
        np.matmul(left, right)

    with WorkerPool(threads) as pool:
        best = 0.0
        for _ in range(3):
            began = time.perf_counter()
            pool.run(multiply, range(threads))
            best = max(best, threads * 2e-9 * _SIDE**3 / (time.perf_counter() - began))
    return best


def measure_tokens(
    case: Case,
    *,
    window: int,
    degrees: Sequence[int] | str,
    frames: int,
    threads: int,
    precision: str = "fp32",
) -> Measured:
    """Measure a window of random tokens: LNAMD, match, score, admission."""
    chosen = degrees if isinstance(degrees, str) else tuple(degrees)
    found = chosen_precision(precision, patches=case.patches, channels=case.channels)
    shape = Shape(window, case.patches, case.channels, chosen, found)
    rng = np.random.default_rng(0)
    shared = [rng.standard_normal((case.patches, c), dtype=np.float32) for c in case.channels]

    def tokens() -> list[Float32]:
        return [layer + rng.standard_normal(layer.shape, dtype=np.float32) for layer in shared]

    laps: list[dict[str, float]] = []
    with WorkerPool(threads) as pool:
        held = Window(shape, pool)
        for number in range(window + frames):
            layers = tokens()
            clock = [time.perf_counter()]
            features = held.features_of(layers)
            clock.append(time.perf_counter())
            matches = held.match(features)
            clock.append(time.perf_counter())
            held.score(matches, without=number % window)
            clock.append(time.perf_counter())
            held.admit(number % window, matches)
            clock.append(time.perf_counter())
            laps.append(
                dict(zip(("lnamd", "match", "score", "admit"), np.diff(clock), strict=True))
            )
        literal = literal_seconds(
            [held.features_in(slot) for slot in range(min(window, 8))], window
        )
    return _summary(case.name, shape, laps[window:], literal)


def measure_bundle(
    bundle: Bundle,
    frames: Sequence[Any],
    *,
    window: int,
    degrees: Any,
    threads: int,
    precision: str = "fp32",
) -> Measured:
    """Measure the whole way of frames through an inspector; the first `window` only fill it."""
    with RollingInspector(
        bundle,
        window=window,
        min_window=min(16, window),
        degrees=degrees,
        admit_copies=True,
        precision=precision,
        threads=threads,
    ) as inspector:
        laps = [dict(inspector.push(frame).latency) for frame in frames]
        shape = inspector.shape
        held = [inspector.window.features_in(slot) for slot in range(min(window, 8))]
    return _summary(bundle.name, shape, laps[window:], literal_seconds(held, window))


def literal_seconds(frames: Sequence[Sequence[Float32]], window: int) -> float:
    """Time the authors' way on one frame, and return what a whole window takes.

    Each frame is compared with every other one by a full table of distances, then the least of
    each row, then the mean of the smallest 30 %. `frames` may be fewer than the window: the time
    grows with their number.
    """
    with single_threaded_blas():
        began = time.perf_counter()
        first = interval_bounds(window - 1, low=0.0, high=0.3)[1]
        for unit, mine in enumerate(frames[0]):
            rows = []
            for other in frames[1:]:
                theirs = other[unit]
                squares = (mine**2).sum(1)[:, None] + (theirs**2).sum(1)[None]
                distances = np.sqrt(np.maximum(squares - 2 * (mine @ theirs.T), 0))
                rows.append(distances.min(axis=1))
            np.sort(np.stack(rows), axis=0)[:first].mean(axis=0)
        one = (time.perf_counter() - began) * (window - 1) / max(len(frames) - 1, 1)
    return one * window


def _summary(name: str, shape: Shape, laps: Sequence[dict[str, float]], literal: float) -> Measured:
    whole = np.array([sum(lap.values()) for lap in laps])
    stages = {stage: float(np.median([lap[stage] for lap in laps])) for stage in laps[0]}
    matches = match_count(shape.degrees)
    work = sum(matches * 2.0 * shape.capacity * shape.patches**2 * (c + 2) for c in shape.channels)
    p50, p95, p99 = (float(np.percentile(whole, share)) for share in (50, 95, 99))
    degrees = shape.degrees if isinstance(shape.degrees, str) else ",".join(map(str, shape.degrees))
    return Measured(
        name=name,
        window=shape.capacity,
        degrees=degrees,
        precision=shape.precision,
        frames=len(laps),
        p50=p50,
        p95=p95,
        p99=p99,
        stages=stages,
        memory=shape.memory,
        gigaflops=1e-9 * work / stages["match"],
        literal=literal,
    )


def machine() -> dict[str, str]:
    """Describe the machine and what computes on it."""
    import numba
    import onnxruntime

    return {
        "processor": _processor(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "onnxruntime": onnxruntime.__version__,
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - no file of ours
            names = [line.partition(":")[2].strip() for line in file if "model name" in line]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
