"""A run of the line: what its lines and pictures have in common."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timezone


def new_id() -> str:
    """Return a name that no other run has, and that sorts by time: 20261126T014500Z-3f9c."""
    now = datetime.now(timezone.utc)
    return f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def iso_time(wall: float) -> str:
    """Return seconds since 1970 as a date and time by ISO 8601, in UTC, with milliseconds."""
    moment = datetime.fromtimestamp(wall, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True)
class Run:
    """A run of the line.

    Attributes
    ----------
    address : str
        Of its source, without a password.
    id : str
        In every line and in the name of every picture: two runs may write into one folder.
    """

    address: str
    id: str = field(default_factory=new_id)
