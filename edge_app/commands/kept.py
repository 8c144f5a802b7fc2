"""What a station by a file has beside a run by options: store, windows on disk, local interface."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from zeroline.edge_app.commands.told import tell_early
from zeroline.edge_app.configuration.models import Station
from zeroline.edge_app.errors import OutputError
from zeroline.edge_app.events import Events
from zeroline.edge_app.interface.interface import check_free
from zeroline.edge_app.interface.metrics import Metrics
from zeroline.edge_app.notify import Watchdog, notify
from zeroline.edge_app.station.operator import OperatorRule
from zeroline.edge_app.station.state import StateFolder
from zeroline.edge_app.store.files import STATE
from zeroline.edge_app.store.store import Store

if TYPE_CHECKING:
    from zeroline.edge_app.control import Control


class Kept:
    """The data folder of a station. A context manager.

    Attributes
    ----------
    store : Store
    metrics : Metrics
    state : StateFolder
    operator : OperatorRule or None
    """

    def __init__(self, station: Station, events: Events) -> None:
        self._station = station
        _make(station.data)
        self.store = Store(station.data, station.storage, station=station.station, events=events)
        if station.page.listen != "off":
            try:
                check_free(station.page.listen)
            except BaseException:
                self.store.close()
                raise
        self.metrics = Metrics()
        self._watchdog, self._is_ready, self._serves = Watchdog(), False, False
        self.state = StateFolder(station.data / STATE, tell=tell_early)
        self.operator = (
            OperatorRule(station.data / STATE / "operator.json") if station.operator_rule else None
        )

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *_: object) -> None:
        self.store.close()

    def beat(self) -> None:
        """Tell systemd that the station is ready, the first time, and that it lives.

        It is not ready before its local interface can be asked.
        """
        if not self._serves:
            return
        if not self._is_ready:
            self._is_ready = True
            notify("READY=1")
        self._watchdog.beat()

    @contextmanager
    def serving(self, control: Control) -> Iterator[None]:
        """Open the local interface of a running station; at the end tell systemd that it stops."""
        with ExitStack() as stack:
            stack.callback(notify, "STOPPING=1")
            if self._station.page.listen != "off":
                from zeroline.edge_app.interface.interface import Interface

                interface = Interface(
                    control, listen=self._station.page.listen, metrics=self.metrics
                )
                interface.start()
                stack.callback(interface.close)
                tell_early(f"local interface: http://{interface.address}")
            self._serves = True
            yield


def _make(data: Path) -> None:
    """Make the data folder; the error names the key, and what systemd lets a service write."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        if not os.access(data, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        own = os.environ.get("STATE_DIRECTORY")  # of the unit
        hint = f": write data: {own}, a service may write nowhere else" if own else ""
        text = f'data is "{data}", which cannot be written: {error.strerror}{hint}'
        raise OutputError(text) from error
