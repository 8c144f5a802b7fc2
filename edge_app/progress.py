"""Progress bars on the error stream, so that results can be piped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from zeroline.runtime.errors import MissingExtraError

#: Takes a text and a total; gives what is called with the steps just done, from any thread.
Bars: TypeAlias = Callable[[str, int], Callable[[int], None]]


@contextmanager
def progress_bars() -> Iterator[Bars]:
    """Show progress bars; nothing moves where the error stream is not a terminal."""
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
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:

        def add(text: str, total: int) -> Callable[[int], None]:
            task = progress.add_task(text, total=total)
            return lambda steps: progress.advance(task, steps)

        yield add
