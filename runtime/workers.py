"""Own worker threads for CPU work, with the threads of BLAS out of the way.

BLAS threads lose on small tiles: a (400, 96) product with its minima takes 0.23 ms with one
BLAS thread and 3 to 8 ms with two (ALGORITHMS §6). So the work is cut into larger pieces here
and BLAS is held to one thread while they run.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from threadpoolctl import ThreadpoolController

from .errors import ScoringError

Item = TypeVar("Item")

_blas_lock = threading.Lock()
_blas_users = 0
_blas_limit = None


def thread_count(threads: int | None) -> int:
    """Return the number of worker threads: `threads`, or the cores this process may use."""
    if threads is None:
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1
    if threads < 1:
        raise ScoringError(f"threads is {threads}, at least 1 is expected")
    return threads


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Hold BLAS to one thread while at least one caller is inside.

    The number of BLAS threads belongs to the process, not to a caller. So the first one in
    sets it and the last one out restores it; two scorers at once cannot leave it at one.
    """
    global _blas_users, _blas_limit  # noqa: PLW0603 - the setting itself is the process's
    with _blas_lock:
        if _blas_users == 0:
            _blas_limit = ThreadpoolController().limit(limits=1, user_api="blas")
        _blas_users += 1
    try:
        yield
    finally:
        with _blas_lock:
            _blas_users -= 1
            if _blas_users == 0 and _blas_limit is not None:
                _blas_limit.restore_original_limits()
                _blas_limit = None


def run_in_threads(
    work: Callable[[Item], None], items: Iterable[Item], /, *, threads: int | None
) -> None:
    """Call `work` on every item, on `threads` threads; the first exception ends it all.

    Items are handed out in order, one at a time, so put the large ones first.
    """
    workers = thread_count(threads)
    if workers == 1:
        for item in items:
            work(item)
        return
    pending = iter(items)
    hand_out = threading.Lock()
    stop = threading.Event()

    def drain() -> None:
        while not stop.is_set():
            with hand_out:
                try:
                    item = next(pending)
                except StopIteration:
                    return
            try:
                work(item)
            except BaseException:
                stop.set()
                raise

    with ThreadPoolExecutor(workers, thread_name_prefix="zeroline") as pool:
        futures = [pool.submit(drain) for _ in range(workers)]
        try:
            for future in futures:
                future.result()
        finally:
            stop.set()
