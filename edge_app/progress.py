"""Progress on the error stream, so that results can be piped: bars, or lines in a file."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from zeroline.runtime.errors import MissingExtraError

#: Takes a text and a total; gives what is called with the steps just done, from any thread.
Bars: TypeAlias = Callable[[str, int], Callable[[int], None]]
#: Seconds in which a step gets no line.
SHORT = 5.0


@contextmanager
def progress_bars() -> Iterator[Bars]:
    """Show progress bars; where the error stream is not a terminal, a line for each tenth.

    There are no lines in a step's first five seconds: what is short needs none.
    """
    try:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
    except ModuleNotFoundError as error:
        raise MissingExtraError("rich", extra="app", purpose="to show progress") from error
    columns = (
        TextColumn("{task.description:<8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines
        return
    with Progress(*columns, console=console) as progress:

        def add(text: str, total: int) -> Callable[[int], None]:
            task = progress.add_task(text, total=total)
            return lambda steps: progress.advance(task, steps)

        yield add


def _lines(text: str, total: int) -> Callable[[int], None]:
    """Return what writes a line as each tenth of a step is done."""
    began, lock = time.monotonic(), threading.Lock()
    done = told = 0

    def advance(steps: int) -> None:
        nonlocal done, told
        with lock:
            done += steps
            tenths = 10 * done // max(total, 1)
            if tenths > told and time.monotonic() - began >= SHORT:
                told = tenths
                sys.stderr.write(f"{text}: {10 * tenths} % ({done} of {total})\n")
                sys.stderr.flush()

    return advance
