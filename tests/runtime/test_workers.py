import os
import subprocess
import sys
import threading

import numpy as np
import pytest
from threadpoolctl import threadpool_info

from support.machine import ROOT
from zeroline.runtime import workers
from zeroline.runtime.workers import run_in_threads, single_threaded_blas, thread_count


def blas_threads():
    return {lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"}


@pytest.mark.parametrize("threads", [1, 3])
def test_every_item_once(threads):
    done: list[int] = []
    run_in_threads(done.append, range(100), threads=threads)
    assert sorted(done) == list(range(100))


@pytest.mark.parametrize("threads", [1, 2])
def test_an_exception_surfaces_and_ends_the_work(threads):
    done: list[int] = []

    def work(item):
        if item == 3:
            raise ValueError("item 3")
        done.append(item)

    with pytest.raises(ValueError, match="item 3"):
        run_in_threads(work, range(100_000), threads=threads)
    assert len(done) < 100_000


def test_count():
    assert thread_count(5) == 5
    assert thread_count(None) >= 1


def test_blas_is_held_to_one_thread_until_the_last_caller_leaves():
    """Two scorers at once once left the process at one BLAS thread for good."""
    np.ones((2, 2)) @ np.ones((2, 2))
    before = blas_threads()
    if before == {1}:
        pytest.skip("BLAS has one thread anyway")
    inside, leave = threading.Event(), threading.Event()

    def other():
        with single_threaded_blas():
            inside.set()
            leave.wait(10)

    thread = threading.Thread(target=other)
    with single_threaded_blas():
        assert blas_threads() == {1}
        thread.start()
        assert inside.wait(10)
    assert blas_threads() == {1}  # the other one is still inside
    leave.set()
    thread.join(10)
    assert blas_threads() == before


@pytest.mark.parametrize("where", ["the owner's thread", "the caller's"])
def test_a_pool_that_is_collected_while_blas_is_being_limited_holds_nobody_up(where, monkeypatch):
    """The collector runs anywhere: once in the thread that another waited for, and both hung."""
    before, hold, real = blas_threads(), workers._BlasHold(), workers._limit_blas
    hold.enter()  # by a pool that nobody closes
    hold.leave()
    closing = threading.Event()

    def limit():
        if where == "the owner's thread" and not closing.is_set():
            closing.set()
            hold.leave()
        return real()

    class Users(int):
        def __add__(self, other):
            if where == "the caller's" and not closing.is_set():
                closing.set()
                hold.leave()
            return int(self) + other

    monkeypatch.setattr(workers, "_limit_blas", limit)
    hold._users = Users(0)
    thread = threading.Thread(target=hold.enter, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive()
    assert closing.is_set()
    hold.leave()
    assert blas_threads() == before


def test_a_pool_that_nobody_closes_ends_with_the_interpreter_in_silence():
    """As in a notebook: its end says nothing, and hangs on nothing."""
    script = (
        "from zeroline.runtime.workers import WorkerPool\n"
        "pool = WorkerPool(2)\n"
        "pool.run(print, [7])\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=60,
        env=environment,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "7\n", "")


def test_matrix_work_runs_with_one_blas_thread_and_restores_it():
    before = blas_threads()
    seen = []
    for threads in (1, 2):
        run_in_threads(lambda _: seen.append(blas_threads()), range(4), threads=threads, blas=True)
    assert seen == [{1}] * 8
    assert blas_threads() == before


@pytest.mark.parametrize("failure", [KeyboardInterrupt, RuntimeError])
def test_a_failure_while_blas_is_limited_leaves_the_next_call_working(failure, monkeypatch):
    """Ctrl-C while BLAS was being limited once broke every later call of the process."""
    before = blas_threads()

    def fail():
        raise failure

    with monkeypatch.context() as patch:
        patch.setattr(workers, "_limit_blas", fail)
        with pytest.raises(failure), single_threaded_blas():
            pass
    run_in_threads(lambda _: None, range(2), threads=2, blas=True)
    assert blas_threads() == before
