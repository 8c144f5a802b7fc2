"""Messages: what outputs and the store are told, each with its number, in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from zeroline.edge_app.events import Event
from zeroline.edge_app.parts import JudgedPart
from zeroline.runtime.results import RecurringDefect, Revision


class Kind(str, Enum):
    """What a message tells."""

    PART = "part"
    REVISION = "revision"
    ALARM = "alarm"
    EVENT = "event"


@dataclass(frozen=True)
class Message:
    """Something that outputs and the store are told.

    Attributes
    ----------
    number : int
        Rises by one from message to message of a data folder, over restarts too.
    kind : Kind
    body : mapping
        The same as JSON, by docs/outputs.md; has `message`, which is the number.
    part : JudgedPart or None
        Of a part: pictures are drawn from it.
    camera : str or None
        Of a revision or an alarm: the camera whose window has found it.
    revision : Revision or None
    alarm : RecurringDefect or None
    event : Event or None
    unstored : bool
        Whether it leaves before the store has it.
    """

    number: int
    kind: Kind
    body: Mapping[str, Any]
    part: JudgedPart | None = field(default=None, repr=False)
    camera: str | None = None
    revision: Revision | None = field(default=None, repr=False)
    alarm: RecurringDefect | None = field(default=None, repr=False)
    event: Event | None = field(default=None, repr=False)
    unstored: bool = False
