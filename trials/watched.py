"""Cases in another process, each watched: its time, its memory, its end, and raw lines."""

from __future__ import annotations

import multiprocessing
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

#: What a case may take.
SECONDS, MIB = 10.0, 2048
_PATIENCE = 3  # times as long, before it is stopped


@dataclass(frozen=True)
class Seen:
    """What came of a case.

    Attributes
    ----------
    outcome : str
        What the case returned; "crash", "traceback", "slow", "memory" or "raw lines", which all
        break the rule.
    text : str
        More of it.
    seconds, mib : float
        Time, and memory that was taken for it.
    """

    outcome: str
    text: str = ""
    seconds: float = 0.0
    mib: float = 0.0

    @property
    def broken(self) -> bool:
        """Whether the rule is broken."""
        return self.outcome in ("crash", "traceback", "slow", "memory", "raw lines", "wrong")


class Watched:
    """A process that does one case after the other, and is started anew where one ends it.

    Parameters
    ----------
    function : callable
        Takes a case; returns its outcome and one line of text. Must be known by its name.
    seconds, mib : float
        What a case may take.
    """

    def __init__(
        self,
        function: Callable[[Any], tuple[str, str]],
        *,
        seconds: float = SECONDS,
        mib: float = MIB,
    ) -> None:
        self._function, self._limits = function, (seconds, mib)
        self._patience = _PATIENCE * seconds
        self._process: Any = None
        self._connection: Any = None

    def __enter__(self) -> Watched:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def do(self, case: Any) -> Seen:
        """Do a case, and return what came of it."""
        if self._process is None:
            self._start()
        self._connection.send(case)
        if not self._connection.poll(self._patience):
            self._stop()
            return Seen("slow", f"stopped after {self._patience:g} s", self._patience)
        try:
            seen: Seen = self._connection.recv()
        except EOFError:
            self._process.join()
            code = self._process.exitcode
            self._process = None
            return Seen("crash", f"exit code {code}")
        return seen

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(
            target=_work, args=(other, self._function, self._limits), daemon=True
        )
        self._process.start()
        other.close()
        self._connection.recv()  # it has begun

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
            self._process = None


def _work(
    connection: Connection,
    function: Callable[[Any], tuple[str, str]],
    limits: tuple[float, float],
) -> None:
    connection.send(None)
    with tempfile.TemporaryFile() as raw:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(raw.fileno(), stream.fileno())
        while True:
            case = connection.recv()
            raw.seek(0)
            raw.truncate()
            Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
            before, began = _mib("VmHWM"), time.monotonic()
            try:
                outcome, text = function(case)
            except BaseException:  # noqa: BLE001 - this is what is looked for
                outcome, text = "traceback", traceback.format_exc()[-1500:]
            seconds, mib = time.monotonic() - began, _mib("VmHWM") - before
            sys.stdout.flush()
            sys.stderr.flush()
            raw.seek(0)
            lines = raw.read().decode(errors="replace")
            if seconds > limits[0]:
                outcome = "slow"
            elif mib > limits[1]:
                outcome = "memory"
            elif lines and outcome != "traceback":
                outcome, text = "raw lines", lines[:500]
            connection.send(Seen(outcome, text, round(seconds, 3), round(mib, 1)))


def _mib(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))
