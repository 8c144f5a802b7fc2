"""The examination in a process of its own: what ends that process, or hangs it whole, is a finding.

A library that was built for another processor ends its process by SIGILL, a damaged one by SIGSEGV.
The process is then begun anew without that check.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from zeroline.edge_app.doctor.findings import Check, Finding, State, fail

#: How the text of a check begins whose process was ended by a library.
ENDED = "a library has ended the whole process"
#: Seconds beyond a check's own limit: it is then not even able to say that it hangs.
_MARGIN = 10.0
#: Seconds in which the process has to begin.
_START = 60.0


def examine_guarded(
    file: Path | None, *, data: Path | None = None, tell: Callable[[Finding], None]
) -> list[Finding]:
    """Look at everything that a station rests on; no library can end or hang the caller.

    Parameters
    ----------
    file : Path or None
        The station's file.
    data : Path, optional
        The data folder, in place of the file's.
    tell : callable
        Takes each finding as it comes.

    Returns
    -------
    list of Finding
    """
    found = list[Finding]()
    ended, told = set[str](), set[str]()

    def take(one: Finding) -> None:
        found.append(one)
        tell(one)

    while True:
        check = ""
        for entry in (child := _Child(file, data, ended)).entries():
            if "begin" in entry:
                told.add(check)
                check = entry["begin"]
            elif check not in told:
                take(Finding(entry["name"], State(entry["state"]), entry["text"], entry["cure"]))
        if not child.failed:
            return found
        name = check or "doctor"
        take(fail(name, child.failed, "mend or reinstall what this line looks at (docs/doctor.md)"))
        if not check:
            return found
        told.add(check)
        ended.add(check)


class _Child:
    """A process that examines."""

    def __init__(self, file: Path | None, data: Path | None, skip: set[str]) -> None:
        #: Why it ended before its end.
        self.failed = ""
        self._pipe, to = os.pipe()
        words = [str(to), str(file or ""), str(data or ""), *skip]
        self._process = subprocess.Popen(  # noqa: S603 - ours
            [sys.executable, "-m", "zeroline.edge_app.doctor", *words],
            pass_fds=[to],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to)

    def entries(self) -> Iterator[dict[str, Any]]:
        """Yield what it tells, until it ends; then `failed` says why, if it failed."""
        lines = SimpleQueue[str]()
        threading.Thread(target=self._read, args=(lines,), daemon=True).start()
        limit = _START
        with suppress(Empty):
            while line := lines.get(timeout=limit + _MARGIN):
                entry = json.loads(line)
                limit = entry.get("limit", limit)
                yield entry
            code = self._process.wait()
            if code:
                by = signal.Signals(-code).name if code < 0 else f"exit code {code}"
                self.failed = f"{ENDED}: {by}"
            return
        self._process.kill()
        self._process.wait()
        self.failed = f"its process hung, and was ended after {limit + _MARGIN:g} s"

    def _read(self, lines: SimpleQueue[str]) -> None:
        """Pass on whole lines, and an empty one at the end."""
        with open(self._pipe, encoding="utf-8") as pipe:  # noqa: PTH123 - a pipe
            for line in pipe:
                if line.endswith("\n"):
                    lines.put(line)
        lines.put("")


def report(to: int, file: Path | None, data: Path | None, skip: set[str]) -> None:
    """Examine, and write each check and finding to a pipe, a JSON line each."""
    from zeroline.edge_app.doctor.examination import examine

    with open(to, "w", encoding="utf-8") as pipe:

        def write(entry: dict[str, Any]) -> None:
            pipe.write(json.dumps(entry) + "\n")
            pipe.flush()

        def begin(check: Check) -> None:
            write({"begin": check.name, "limit": check.limit})

        examine(file, data=data, tell=lambda one: write(one.as_dict()), begin=begin, skip=skip)
    os._exit(0)  # a check that hangs in its thread must not keep it
