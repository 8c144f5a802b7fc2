"""Assertion 8: the order of work holds where copies are late, and on other streams."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from benchmarks.gpu_check.drawn import frames, line_bundle
from benchmarks.gpu_check.findings import Findings
from benchmarks.gpu_check.sizes import Sizes

#: Scores that may be apart: the network's own sums need no fixed order.
APART = 1e-5
_SPIN = """extern "C" __global__ void spin(long long cycles) {
  long long began = clock64();
  while (clock64() - began < cycles) {}
}"""


@dataclass(frozen=True)
class _Line:
    """A line that is run again and again."""

    cupy: Any
    bundle: str
    window: int
    drawn: list[Any]

    def scores(
        self, step: Callable[[], object], stream: AbstractContextManager[Any]
    ) -> list[float]:
        """Return its scores where `step` is done before each copy and round the network."""
        from zeroline.runtime import RollingInspector, load_bundle

        bundle = load_bundle(self.bundle, device="cuda")
        scores = []
        with stream, _stepping(self.cupy, bundle.session, step):
            options: dict[str, Any] = {"window": self.window, "min_window": 2, "codegraph": False}
            with RollingInspector(bundle, **options) as line:
                for frame in self.drawn:
                    inspection = line.push(frame)
                    if inspection.scores is not None:
                        scores += [inspection.scores.score, inspection.scores.raw_score]
        return scores


def streams(cupy: Any, sizes: Sizes, found: Findings) -> None:
    """Compare lines whose copies are held back with one that waits after each step."""
    drawn = frames(sizes.late_frames, seed=8)
    spin = _spinner(cupy, sizes.spin_ms)
    with line_bundle(sizes) as bundle:
        line = _Line(cupy, bundle, sizes.line_window, drawn)
        wanted = line.scores(cupy.cuda.runtime.deviceSynchronize, nullcontext())
        found.hold(len(wanted) >= len(drawn), f"{len(wanted)} scores of {len(drawn)} frames")
        for name, stream in (
            ("CuPy's usual stream", nullcontext()),
            ("a stream that does not block", cupy.cuda.Stream(non_blocking=True)),
            ("the thread's own stream", cupy.cuda.Stream.ptds),
        ):
            scores = line.scores(spin, stream)
            if len(scores) != len(wanted):
                found.failures.append(f"{name}: {len(scores)} scores, not {len(wanted)}")
                continue
            off = float(np.abs(np.array(scores) - np.array(wanted)).max(initial=0))
            found.at_most(f"{name}: scores apart", off, APART, f"{len(drawn)} frames")


def _spinner(cupy: Any, ms: float) -> Callable[[], None]:
    """Return what holds the current stream back for some time."""
    kernel = cupy.RawKernel(_SPIN, "spin")
    device = cupy.cuda.runtime.getDevice()
    khz = int(cupy.cuda.runtime.getDeviceProperties(device).get("clockRate", 0)) or 1_500_000
    cycles = np.int64(ms * khz)

    def spin() -> None:
        kernel((1,), (1,), (cycles,))

    return spin


@contextmanager
def _stepping(cupy: Any, session: Any, step: Callable[[], object]) -> Iterator[None]:
    asarray, run = cupy.asarray, session.run

    def late_asarray(values: Any, *arguments: Any, **options: Any) -> Any:
        if isinstance(values, np.ndarray):
            step()
        return asarray(values, *arguments, **options)

    def late_run(*arguments: Any) -> Any:
        step()
        outputs = run(*arguments)
        step()
        return outputs

    cupy.asarray, session.run = late_asarray, late_run
    try:
        yield
    finally:
        cupy.asarray, session.run = asarray, run
