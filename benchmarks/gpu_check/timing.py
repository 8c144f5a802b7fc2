"""Time on the device, by events, and the machine's own rates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


class Stopwatch:
    """Milliseconds from one point of the current stream to another."""

    def __init__(self, cupy: Any) -> None:
        self._cupy = cupy
        self._began, self._ended = (cupy.cuda.Event() for _ in range(2))

    def lap(self, work: Callable[[], object]) -> float:
        """Queue some work, wait for it, and return what it took."""
        self._began.record()
        work()
        self._ended.record()
        self._ended.synchronize()
        return float(self._cupy.cuda.get_elapsed_time(self._began, self._ended))


def median_ms(cupy: Any, work: Callable[[], object], *, laps: int = 9) -> float:
    """Return the median time of some work; the first two laps do not count."""
    watch = Stopwatch(cupy)
    return float(np.median([watch.lap(work) for _ in range(laps + 2)][2:]))


def product_rate(cupy: Any, side: int) -> float:
    """Return operations a second of cuBLAS: side³, float16 in, sums in float32."""
    rng = np.random.default_rng(0)
    left, right = (
        cupy.asarray(rng.standard_normal((side, side), dtype=np.float32)).astype(cupy.float16)
        for _ in range(2)
    )
    return 2e3 * side**3 / median_ms(cupy, lambda: cupy.matmul(left, right), laps=5)


def copy_rate(cupy: Any, size: int) -> float:
    """Return bytes a second, read and written, of a copy of so many bytes on the device."""
    held = cupy.zeros(size // 4, dtype=cupy.float32)
    return 2e3 * float(held.nbytes) / median_ms(cupy, held.copy, laps=5)
