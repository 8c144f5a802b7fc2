"""Whether the station runs already, and who has its port and its data folder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import http.client
import json
import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zeroline.edge_app.configuration.models import Station
from zeroline.edge_app.doctor.findings import Finding, fail, ok

#: Seconds to wait for the answer of who has the port.
_PATIENCE = 2.0


@dataclass(frozen=True)
class Running:
    """What answers at the station's address, and who holds its data folder.

    Attributes
    ----------
    taken : bool
        Whether the port is taken.
    state : mapping
        Of the station that answers there; empty where none does.
    holder : str
        Process that holds the data folder; empty where none does.
    trouble : str
        Why the address cannot be listened on, for another reason.
    """

    taken: bool = False
    state: dict[str, Any] = field(default_factory=dict)
    holder: str = ""
    trouble: str = ""

    def is_of(self, station: Station) -> bool:
        """Tell whether this station runs."""
        here = bool(self.state) and self.state.get("station") == station.station
        return here or (station.page.listen == "off" and bool(self.holder))


def look(station: Station) -> Running:
    """Look whether a station runs; nothing is changed."""
    holder = _holder(station.data)
    if station.page.listen == "off":
        return Running(holder=holder)
    host, _, port = station.page.listen.rpartition(":")
    host = host.strip("[]")
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as made:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind((host, int(port)))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            return Running(holder=holder, trouble=error.strerror or str(error))
        return Running(taken=True, state=_asked(host, int(port)), holder=holder)
    except OverflowError:
        return Running(holder=holder, trouble="no port has this number")
    return Running(holder=holder)


def _asked(host: str, port: int) -> dict[str, Any]:
    """Return the state of the station at an address; empty where no station answers."""
    connection = http.client.HTTPConnection(host, port, timeout=_PATIENCE)
    silent = contextlib.suppress(OSError, ValueError, http.client.HTTPException)
    with contextlib.closing(connection), silent:
        connection.request("GET", "/api/v1/state")
        answer = connection.getresponse()
        state = json.loads(answer.read(1 << 20))
        if answer.status == 200 and isinstance(state, dict) and "station" in state:
            return state
    return {}


def _holder(data: Path) -> str:
    """Return the process that holds a data folder; empty where none does."""
    try:
        file = os.open(data / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.read(file, 20).decode("ascii", "replace").strip() or "unknown"
    finally:
        os.close(file)
    return ""


def running_findings(station: Station, running: Running) -> list[Finding]:
    """Tell who has the port and the data folder."""
    return [_port(station, running), _lock(station, running)]


def _port(station: Station, running: Running) -> Finding:
    listen = station.page.listen
    other = f"choose another address in page.listen, or end what has it (ss -ltnp, {listen})"
    if listen == "off":
        return ok("port", "no local interface is asked for")
    if running.trouble:
        return fail("port", f"{listen} cannot be listened on: {running.trouble}", other)
    if not running.taken:
        return ok("port", f"{listen} is free")
    if not running.state:
        return fail("port", f"{listen} is taken by another program", other)
    name = running.state["station"]
    if name != station.station:
        return fail("port", f'{listen} is taken by the station "{name}"', other)
    return ok("port", f"{listen}: the station runs")


def _lock(station: Station, running: Running) -> Finding:
    if not running.holder:
        return ok("lock", "no station has the data folder")
    text = f"process {running.holder} has the data folder"
    if running.is_of(station):
        return ok("lock", text)
    cure = f"each station needs a folder of its own (data), or end process {running.holder}"
    return fail("lock", f"{text}, and this station does not answer", cure)
