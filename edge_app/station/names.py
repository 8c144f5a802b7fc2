"""What parts are called: by their trigger or source, or numbered by the station."""

from __future__ import annotations

import threading
from datetime import datetime, timezone
from typing import Protocol

from zeroline.edge_app.parts import PartName


class KnownIds(Protocol):
    """Where ids of earlier parts are known: the store."""

    def last_counter(self, prefix: str, /) -> int:
        """Return the largest N of the ids ``<prefix>-N``; 0 where there is none."""

    def free_id(self, name: str, /) -> str:
        """Return the name, or the name with a number where a part has it already."""


class NoIds:
    """Nothing is known: a run without a store."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def last_counter(self, prefix: str) -> int:
        """Return 0."""
        return 0

    def free_id(self, name: str) -> str:
        """Return the name; nothing keeps two parts of one name apart."""
        return name


class PartNames:
    """Names parts, each once; may be used from any thread.

    Parameters
    ----------
    known : KnownIds, optional
    """

    def __init__(self, known: KnownIds | None = None) -> None:
        self._known = known or NoIds()
        self._counters: dict[str, int] = {}
        self._lock = threading.Lock()

    def numbered(self, camera: str, wall: float) -> PartName:
        """Return ``<camera>-<date>-<counter>``; the date is that of UTC."""
        day = datetime.fromtimestamp(wall, timezone.utc)
        prefix = f"{camera}-{day:%Y%m%d}"
        with self._lock:
            if prefix not in self._counters:
                self._counters[prefix] = self._known.last_counter(prefix)
            self._counters[prefix] += 1
            return PartName(f"{prefix}-{self._counters[prefix]:06d}")

    def given(self, name: str, *, lot: str | None = None, serial: str | None = None) -> PartName:
        """Return a part that its trigger or source has named."""
        return PartName(self._known.free_id(name), given=True, lot=lot, serial=serial)
