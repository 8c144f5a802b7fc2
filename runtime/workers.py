"""Own worker threads for CPU work, with the threads of BLAS out of the way.

BLAS threads lose on small tiles: a (400, 96) product with its minima takes 0.23 ms with one
BLAS thread and 3 to 8 ms with two. So the work is cut into larger pieces here
and BLAS is held to one thread while they run.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

from threadpoolctl import ThreadpoolController

from zeroline.runtime.errors import ScoringError

Item = TypeVar("Item")


def thread_count(threads: int | None) -> int:
    """Return the number of worker threads: `threads`, or the cores this process may use."""
    if threads is None:
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1
    if threads < 1:
        raise ScoringError(f"threads is {threads}, at least 1 is expected")
    return threads


class _BlasHold:
    """Holds BLAS to one thread in the whole process while anybody wants it.

    With the pthreads build of OpenBLAS, the one in NumPy's wheels, the number belongs to the
    process, and threadpoolctl lets only the thread that set it change it again. So one thread of
    our own sets it for the first caller and restores it after the last, and then ends.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._left: deque[None] = deque()  # those that have left, and are not counted yet
        self._owner: ThreadPoolExecutor | None = None
        self._limit: Any = None

    def enter(self) -> None:
        """Set the limit for the first one in. An interrupt leaves nothing changed."""
        try:
            with self._lock:
                if self._owner is None:
                    owner = ThreadPoolExecutor(1, thread_name_prefix="zeroline-blas")
                    setting = owner.submit(_limit_blas)
                    try:
                        self._limit = setting.result()
                        self._owner = owner
                    except BaseException:  # the owner still finishes, then undoes it
                        self._owner = None
                        owner.submit(lambda: setting.result().restore_original_limits())
                        owner.shutdown(wait=False)
                        raise
                self._users += 1
        finally:
            self._settle()

    def leave(self) -> None:
        """Restore it after the last one out.

        It waits for no lock: the garbage collector may close a pool that nobody closed, in the
        midst of `enter`, or in the owner's thread while `enter` waits for it. Whoever holds the
        lock then counts it.
        """
        self._left.append(None)
        self._settle()

    def _settle(self) -> None:
        while self._left and self._lock.acquire(blocking=False):
            try:
                while self._left:
                    self._left.pop()
                    self._users = max(0, self._users - 1)
                if self._users == 0:
                    self._restore()
            finally:
                self._lock.release()

    def _restore(self) -> None:
        owner, self._owner = self._owner, None
        if owner is None:
            return
        try:
            restoring = owner.submit(self._limit.restore_original_limits)
        except RuntimeError:  # the interpreter ends, and nobody is left to restore it for
            return
        owner.shutdown(wait=False)
        restoring.result()


_blas_hold = _BlasHold()


def _limit_blas() -> Any:
    return ThreadpoolController().limit(limits=1, user_api="blas")


@contextmanager
def single_threaded_blas() -> Iterator[None]:
    """Hold BLAS to one thread, for the process and for this thread, while inside.

    Two scorers at once do not restore it under each other. This thread's own limit is for BLAS
    builds on OpenMP, where the number belongs to a thread; `WorkerPool` does the same for its
    threads.
    """
    _blas_hold.enter()
    try:
        with _limit_blas():
            yield
    finally:
        _blas_hold.leave()


class WorkerPool:
    """Threads that stay, with BLAS held to one thread as long as the pool is open.

    Setting BLAS's threads takes milliseconds, more than a frame's work on a small model.

    Parameters
    ----------
    threads : int or None
        None takes all cores. With one the caller's own thread works.
    blas : bool
        Whether the work is made of matrix products, and BLAS is held meanwhile.
    """

    def __init__(self, threads: int | None = None, *, blas: bool = True) -> None:
        count = thread_count(threads)
        self._hold = ExitStack()
        if blas:
            self._hold.enter_context(single_threaded_blas())
        limit = _limit_blas if blas else None
        self._pool = (
            ThreadPoolExecutor(count, thread_name_prefix="zeroline", initializer=limit)
            if count > 1
            else None
        )

    def run(self, work: Callable[[Item], None], items: Iterable[Item], /) -> None:
        """Call `work` on every item, in order; the first exception ends it all."""
        if self._pool is None:
            for item in items:
                work(item)
            return
        futures = [self._pool.submit(work, item) for item in items]
        try:
            for future in futures:
                future.result()
        except BaseException:
            for future in futures:
                future.cancel()
            raise

    def close(self) -> None:
        """End the threads and give BLAS its own back; more than once does no harm."""
        if self._pool is not None:
            self._pool.shutdown()
        self._hold.close()

    def __enter__(self) -> WorkerPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def run_in_threads(
    work: Callable[[Item], None],
    items: Iterable[Item],
    /,
    *,
    threads: int | None,
    blas: bool = False,
) -> None:
    """Call `work` on every item, on threads that end with it; see `WorkerPool`.

    Items are handed out in order, one at a time, so put the large ones first.
    """
    with WorkerPool(threads, blas=blas) as pool:
        pool.run(work, items)
