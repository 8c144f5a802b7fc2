"""Measure this machine: frames through the window, its matrix rate, and the authors' way."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from zeroline.runtime.arrays import array_namespace
from zeroline.runtime.errors import DeviceError
from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.line.inspector import RollingInspector
from zeroline.runtime.line.room import LineMemory
from zeroline.runtime.line.shape import WindowShape
from zeroline.runtime.line.window import Window
from zeroline.runtime.matching.forms import pick_form
from zeroline.runtime.results import Verdict
from zeroline.runtime.stages.degrees import match_count
from zeroline.runtime.stages.interval import interval_bounds
from zeroline.runtime.workers import WorkerPool, single_threaded_blas

if TYPE_CHECKING:
    from zeroline.runtime.network.model import Bundle

#: Side of the square product that tells the machine's rate, on the CPU and on CUDA.
_SIDES = {False: 2048, True: 8192}
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
    tiles : str
        Rows and columns.
    degrees : str
    form : str
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
        Operations of the exact products, 2·P·W·P·(C + 2) for each tile, for the median match's
        time; a screened match does fewer, and so may lie over the machine's own rate.
    literal : float
        One frame of the window the authors' way, times W: what recomputing the window would take.
    """

    name: str
    window: int
    tiles: str
    degrees: str
    form: str
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


def matrix_rate(*, threads: int, xp: Any = np) -> float:
    """Return GFLOP/s of the machine's own matrix product.

    On the CPU 2048³ in float32 by NumPy's BLAS, one product on each thread; on CUDA 8192³ in
    float16 by CuPy's.
    """
    cuda = xp is not np
    side = _SIDES[cuda]
    rng = np.random.default_rng(0)
    drawn = (rng.standard_normal((side, side), dtype=np.float32) for _ in range(2))
    left, right = (xp.asarray(matrix, dtype=np.float16 if cuda else np.float32) for matrix in drawn)

    def multiply(_: int) -> None:
        xp.matmul(left, right)

    count = 1 if cuda else threads
    with WorkerPool(count) as pool:
        best = 0.0
        for _ in range(5 if cuda else 3):
            began = time.perf_counter()
            pool.run(multiply, range(count))
            wait(xp)
            best = max(best, count * 2e-9 * side**3 / (time.perf_counter() - began))
    return best


def wait(xp: Any) -> None:
    """Wait until the device has done all that is queued; nothing on the CPU."""
    if xp is not np:
        xp.cuda.runtime.deviceSynchronize()


def shape_of(
    case: Case, *, window: int, degrees: Sequence[int] | str, matching: str, xp: Any = np
) -> WindowShape:
    """Return a window for a case's tokens, by the quickest form or the exact one."""
    chosen = degrees if isinstance(degrees, str) else tuple(degrees)
    form = pick_form(matching, patches=case.patches, channels=case.channels, xp=xp)
    return WindowShape(window, case.patches, case.channels, chosen, form.name)


def measure_tokens(
    case: Case,
    *,
    window: int,
    degrees: Sequence[int] | str,
    frames: int,
    threads: int,
    matching: str = "exact",
    xp: Any = np,
) -> Measured:
    """Measure a window of random tokens: LNAMD, match, score, admission.

    `xp`: CuPy for a window on CUDA; tokens lie there beforehand, as a network leaves them.
    """
    shape = shape_of(case, window=window, degrees=degrees, matching=matching, xp=xp)
    rng = np.random.default_rng(0)
    shared = [rng.standard_normal((shape.patches, c), dtype=np.float32) for c in shape.channels]

    def tokens() -> list[Float32]:
        return [layer + rng.standard_normal(layer.shape, dtype=np.float32) for layer in shared]

    laps: list[dict[str, float]] = []
    with WorkerPool(threads if xp is np else 1) as pool:
        held = Window(shape, pool, xp=xp)
        filled = np.zeros(window, bool)

        def now() -> float:
            wait(xp)
            return time.perf_counter()

        for number in range(window + frames):
            layers = [xp.asarray(layer) for layer in tokens()]
            clock = [now()]
            features = held.features_of(layers)
            clock.append(now())
            matches = held.match(features, reachable=filled)
            clock.append(now())
            held.score(matches, without=[number % window])
            clock.append(now())
            held.admit(number % window, matches)
            filled[number % window] = True
            clock.append(now())
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
    matching: str = "exact",
    tiles: tuple[int, int] = (1, 1),
    tell_memory: Callable[[LineMemory], None] | None = None,
) -> Measured:
    """Measure the whole way of frames through an inspector; the first `window` only fill it."""
    height, width = frames[0].shape[:2]
    with RollingInspector(
        bundle,
        window=window,
        min_window=min(16, window),
        degrees=degrees,
        framing=Framing(size=(height, width), tiles=tiles),
        admit_copies=True,
        matching=matching,
        threads=threads,
        tell_memory=tell_memory,
    ) as inspector:
        laps = []
        for frame in frames:
            inspection = inspector.push(frame)
            if inspection.verdict is Verdict.FAULT:
                raise DeviceError(f"nothing is measured: {inspection.fault}")
            laps.append(dict(inspection.latency))
        shape = inspector.shape
        held = [inspector.window.features_in(slot) for slot in range(min(window, 8))]
    count = tiles[0] * tiles[1]
    first = [[part[: bundle.patches] for part in frame] for frame in held]
    return _summary(bundle.name, shape, laps[window:], count * literal_seconds(first, window))


def literal_seconds(frames: Sequence[Sequence[Any]], window: int) -> float:
    """Time the authors' way on one frame, and return what a whole window takes.

    Each frame is compared with every other one by a full table of float32 distances, then the
    least of each row, then the mean of the smallest 30 %. `frames` may be fewer than the window:
    the time grows with their number. On the device of the features.
    """
    xp = array_namespace(frames[0][0])
    wide = [[part.astype(np.float32) for part in frame] for frame in frames]
    first = interval_bounds(window - 1, low=0.0, high=0.3)[1]
    laps = []
    for _ in range(1 if xp is np else 2):  # CuPy compiles what it meets for the first time
        with single_threaded_blas():
            wait(xp)
            began = time.perf_counter()
            for scale, mine in enumerate(wide[0]):
                rows = []
                for other in wide[1:]:
                    theirs = other[scale]
                    squares = (mine**2).sum(1)[:, None] + (theirs**2).sum(1)[None]
                    distances = xp.sqrt(xp.maximum(squares - 2 * (mine @ theirs.T), 0))
                    rows.append(distances.min(axis=1))
                xp.sort(xp.stack(rows), axis=0)[:first].mean(axis=0)
            wait(xp)
            laps.append(time.perf_counter() - began)
    return window * laps[-1] * (window - 1) / max(len(frames) - 1, 1)


def _summary(
    name: str, shape: WindowShape, laps: Sequence[dict[str, float]], literal: float
) -> Measured:
    whole = np.array([sum(lap.values()) for lap in laps])
    stages = {stage: float(np.median([lap[stage] for lap in laps])) for stage in laps[0]}
    matches = match_count(shape.degrees)
    count = shape.tiles[0] * shape.tiles[1]
    pairs = shape.capacity * shape.patches**2 / count  # a tile meets the same tile of other frames
    work = sum(matches * 2.0 * pairs * (c + 2) for c in shape.channels)
    p50, p95, p99 = (float(np.percentile(whole, share)) for share in (50, 95, 99))
    degrees = shape.degrees if isinstance(shape.degrees, str) else ",".join(map(str, shape.degrees))
    return Measured(
        name=name,
        window=shape.capacity,
        tiles="{}x{}".format(*shape.tiles),
        degrees=degrees,
        form=shape.form,
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
