"""A trace of system calls, as `strace -f -y` writes it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_LINE = re.compile(r"^(?P<thread>\d+) +(?P<rest>.*)$")
_RESUMED = re.compile(r"^<\.\.\. (?P<name>\w+) resumed>(?P<rest>.*)$")
UNFINISHED = " <unfinished ...>"


@dataclass(frozen=True)
class Call:
    """A call: its name, all of its text, and the lines at which it began and had ended."""

    name: str
    text: str
    began: int
    ended: int

    @property
    def worked(self) -> bool:
        return re.search(r"\) += (?!-)\d+", self.text) is not None


def calls_of(trace: Path) -> list[Call]:
    """Return the calls in the order in which they began."""
    calls, pending = list[Call](), dict[str, tuple[int, str]]()
    for at, line in enumerate(trace.read_text(encoding="utf-8", errors="replace").splitlines()):
        match = _LINE.match(line)
        if match is None:
            continue
        thread, text = match["thread"], match["rest"]
        resumed = _RESUMED.match(text)
        if text.endswith(UNFINISHED):
            pending[thread] = at, text.removesuffix(UNFINISHED)
        elif resumed is not None:
            began, start = pending.pop(thread)
            calls.append(Call(resumed["name"], start + resumed["rest"], began, at))
        elif re.match(r"\w+\(", text):
            calls.append(Call(text.partition("(")[0], text, at, at))
    return sorted(calls, key=lambda call: call.began)
