"""What a check has found, and checks that cannot take the doctor down."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import Enum

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


_REINSTALL = 'in a clone of zeroline: pip install ".[cpu,app]"'
_DAMAGED = "what it needs is damaged: see the text"


@dataclass(frozen=True)
class Check:
    """Something to look at.

    Attributes
    ----------
    name : str
        Of the finding where the look itself fails.
    look : callable
        Returns findings; may raise, and may hang.
    limit : float
        Seconds that it may take.
    """

    name: str
    look: Callable[[], Sequence[Finding]]
    limit: float = 20.0


def findings_of(check: Check) -> list[Finding]:
    """Look, in a thread of its own; an error, or no end within the limit, is a finding.

    One check at a time: two that measure would disturb each other.
    """
    found: list[Finding] = []

    def look() -> None:
        try:
            found.extend(check.look())
        except BaseException as error:  # noqa: BLE001 - a broken system must not end the doctor
            text = f"the check failed: {type(error).__name__}: {in_one_line(Exception(error))}"
            missing = isinstance(error, ImportError)
            found.append(fail(check.name, text, _REINSTALL if missing else _DAMAGED))

    thread = threading.Thread(target=look, name=f"zeroline-{check.name}", daemon=True)
    thread.start()
    thread.join(check.limit)
    if thread.is_alive():
        text = f"no answer within {check.limit:g} s"
        return [*found, fail(check.name, text, "see whether what it needs hangs")]
    return found
