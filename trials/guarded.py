"""Cases that may crash, hang or fill the memory: each is tried in another process."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

#: A case may take so many seconds, and its process so many bytes.
SECONDS, MEMORY = 10.0, 2 * 2**30
_START = 60.0  # seconds until a process has begun

Judge = Callable[[int], str]


def tried(judge: Judge, numbers: Sequence[int], *, seconds: float = SECONDS) -> dict[int, str]:
    """Return what comes of each case.

    Parameters
    ----------
    judge : callable
        Returns the outcome of the case of a number; can be pickled.
    numbers : sequence of int
    seconds : float
        For each case.

    Returns
    -------
    dict
        Outcomes by number. Beside what `judge` returns, they are "crashed" where the process
        ended, "slow" and "memory" where a limit was passed.
    """
    context = multiprocessing.get_context("spawn")
    outcomes: dict[int, str] = {}
    left = list(numbers)
    while left:
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(target=_work, args=(judge, left, sender), daemon=True)
        process.start()
        sender.close()
        patience = _START
        outcome = ""
        while left and outcome not in ("slow", "crashed", "memory"):
            try:
                outcome = str(receiver.recv()) if receiver.poll(patience) else "slow"
            except EOFError:
                outcome = "crashed"
            patience = seconds
            if outcome:  # the first word, that it has begun, is empty
                outcomes[left.pop(0)] = outcome
        process.kill()
        process.join()
        receiver.close()
    return outcomes


def _work(judge: Judge, numbers: Sequence[int], sender: Connection) -> None:
    sender.send("")
    for number in numbers:
        outcome = judge(number)
        sender.send("memory" if _most_memory() > MEMORY else outcome)


def _most_memory() -> int:
    """Return the most bytes that this process has held at once."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return 1024 * int(status.partition("VmHWM:")[2].split()[0])
