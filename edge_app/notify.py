"""systemd: tell it that the station is ready, stops, and lives (sd_notify(3), sd_watchdog_enabled).

Ours, since it is one datagram: python-systemd (LGPL) needs a compiler and libsystemd on each
machine, and sdnotify has had no release since 2017.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Mapping

_log = logging.getLogger(__name__)


def notify(*lines: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Send lines such as ``READY=1``, ``STOPPING=1``, ``STATUS=…``, ``WATCHDOG=1`` to systemd.

    Parameters
    ----------
    lines : str
    environment : mapping
        NOTIFY_SOCKET names a socket by its path, or with a leading @ in the abstract namespace.

    Returns
    -------
    bool
        Whether systemd listens and has it. Without NOTIFY_SOCKET nothing is sent.
    """
    address = environment.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]
    message = "\n".join(line.replace("\n", " ") for line in lines)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as made:
            made.setblocking(False)  # a systemd that does not read must not stop the line
            made.sendto(message.encode(), address)
    except OSError:
        _log.warning("systemd could not be told", exc_info=True)
        return False
    return True


class Watchdog:
    """Tells systemd that the station lives, for as long as `beat` is called.

    Sent at most each quarter of the time after which systemd ends a silent service (WatchdogSec).

    Parameters
    ----------
    environment : mapping
        WATCHDOG_USEC is that time in microseconds. WATCHDOG_PID, where it is there, is the process
        that is watched.

    Attributes
    ----------
    period : float or None
        That time in seconds; None where nobody watches.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._environment = environment
        self.period = _period(environment)
        self._next = 0.0
        self._lock = threading.Lock()

    def beat(self) -> None:
        """Say that a frame was scored, or was waited for in good health; from any thread."""
        if self.period is None:
            return
        with self._lock:
            now = time.monotonic()
            if now < self._next:
                return
            self._next = now + self.period / 4
        notify("WATCHDOG=1", environment=self._environment)


def _period(environment: Mapping[str, str]) -> float | None:
    given, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not given.isascii() or not given.isdigit() or int(given) == 0:
        return None
    return None if pid not in ("", str(os.getpid())) else int(given) / 1e6
