"""What a check has found, and checks that cannot take the doctor down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from enum import Enum
from io import StringIO

from zeroline.runtime.errors import in_one_line


class State(str, Enum):
    """How something is."""

    OK = "ok"
    WARNING = "warning"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One line of the doctor.

    Attributes
    ----------
    name : str
        What was looked at.
    state : State
    text : str
        How it is, with figures.
    cure : str
        What to do; empty where nothing is to be done.
    """

    name: str
    state: State
    text: str
    cure: str = ""

    def __str__(self) -> str:
        """Return it as a line, and what to do as a second one."""
        line = f"{self.state.value:<8}{self.name:<20} {self.text}"
        return f"{line}\n{'':<28} {self.cure}" if self.cure else line

    def as_dict(self) -> dict[str, str]:
        """Return it as JSON."""
        return {**asdict(self), "state": self.state.value}


def ok(name: str, text: str) -> Finding:
    """Return a finding of something that is well."""
    return Finding(name, State.OK, text)


def warning(name: str, text: str, cure: str) -> Finding:
    """Return a finding of something that may do harm."""
    return Finding(name, State.WARNING, text, cure)


def fail(name: str, text: str, cure: str) -> Finding:
    """Return a finding of something that keeps a station from its work."""
    return Finding(name, State.FAIL, text, cure)


#: Letters of an error that are shown: NumPy's own explains for a page, and ends with the cause.
_HEAD, _TAIL = 100, 200


def reason_of(error: BaseException) -> str:
    """Return why something could not be imported or used, in one line of bounded length."""
    text = in_one_line(error)
    if len(text) <= _HEAD + _TAIL:
        return text
    return f"{text[:_HEAD]} … {text[-_TAIL:]}"


#: What to do where the doctor may not look.
AS_ANOTHER = "call the doctor by sudo, or as the user that the station runs as"


def broken(name: str, error: BaseException) -> Finding:
    """Return the finding of a look that an error has ended."""
    if isinstance(error, PermissionError) and error.filename is not None:
        return fail(name, f'"{error.filename}" may not be read by this user', AS_ANOTHER)
    cure = "what it needs is damaged: see the text"
    if isinstance(error, ImportError):
        cure = "mend that package: see its own line, or install zeroline anew (docs/install.md)"
    return fail(name, f"the check failed: {type(error).__name__}: {reason_of(error)}", cure)


@dataclass(frozen=True)
class Check:
    """Something to look at.

    Attributes
    ----------
    name : str
        Of the finding where the look itself fails.
    look : callable
        Returns or yields findings; may raise, and may hang. What it has yielded before stands.
    limit : float
        Seconds that it may take.
    """

    name: str
    look: Callable[[], Iterable[Finding]]
    limit: float = 20.0


def findings_of(check: Check) -> list[Finding]:
    """Look, in a thread of its own; an error, or no end within the limit, is a finding.

    One check at a time: two that measure would disturb each other. What packages print meanwhile is
    dropped: OpenCV and onnxruntime tell by themselves that numpy is missing, into the lines.
    """
    found: list[Finding] = []

    def look() -> None:
        try:
            found.extend(check.look())
        except BaseException as error:  # noqa: BLE001 - a broken system must not end the doctor
            found.append(broken(check.name, error))

    thread = threading.Thread(target=look, name=f"zeroline-{check.name}", daemon=True)
    with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        thread.start()
        thread.join(check.limit)
    if thread.is_alive():
        text = f"no answer within {check.limit:g} s"
        return [*found, fail(check.name, text, "see whether what it needs hangs")]
    return found
