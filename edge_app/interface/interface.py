"""The server of the local interface, in a thread of its own."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from typing import TYPE_CHECKING, Any

from zeroline.edge_app.control import Control
from zeroline.edge_app.errors import InputError
from zeroline.runtime.errors import MissingExtraError

if TYPE_CHECKING:
    from zeroline.edge_app.interface.metrics import Metrics

#: Bytes that the kernel keeps of an answer: a slow viewer gets newer pictures, not old ones.
_BACKLOG = 1 << 16
#: Seconds that answers under way have at the end, and the whole end.
_GRACE, _END = 1, 2.0
#: Connections at once.
_MOST = 64


class Interface:
    """Answers programs and commands on this machine; inspection does not notice it.

    Parameters
    ----------
    control : Control
    listen : str
        Host and port, such as 127.0.0.1:8321, localhost:8321 or [::1]:8321. Port 0 is a free one.
    metrics : Metrics

    Attributes
    ----------
    address : str
        Host and port; the real one after `start`.
    """

    def __init__(self, control: Control, *, listen: str, metrics: Metrics) -> None:
        self.address = listen
        self._control, self._metrics = control, metrics
        self._ended = threading.Event()
        self._server: Any = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Listen.

        Raises
        ------
        InputError
            If the port is taken, or is none.
        MissingExtraError
            Without FastAPI or uvicorn.
        """
        try:
            import uvicorn

            from zeroline.edge_app.interface.app import made_app
            from zeroline.edge_app.interface.guard import Guard
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                str(error.name), extra="app", purpose="for the local interface"
            ) from error
        opened = _opened(self.address)
        host = self.address.rpartition(":")[0]
        port = opened.getsockname()[1]
        self.address = f"{host}:{port}"
        config = uvicorn.Config(
            Guard(made_app(self._control, self._metrics, self._ended), port=port),
            log_config=None,
            access_log=False,
            lifespan="off",
            ws="none",
            http="h11",
            loop="asyncio",
            server_header=False,
            limit_concurrency=_MOST,
            timeout_graceful_shutdown=_GRACE,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(
            target=self._serve, args=(opened,), name="interface", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """End within two seconds, streams too."""
        self._ended.set()
        if self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join(_END)
        self._server.force_exit = True

    def _serve(self, opened: socket.socket) -> None:
        with opened:
            asyncio.run(self._served(opened))

    async def _served(self, opened: socket.socket) -> None:
        await self._server.serve(sockets=[opened])
        for connection in list(self._server.server_state.connections):
            connection.transport.abort()  # a viewer that does not read leaves its last picture
        await asyncio.sleep(0)


def check_free(listen: str) -> None:
    """Refuse an address that is taken, or none (InputError): before windows are loaded."""
    _opened(listen).close()


def _opened(listen: str) -> socket.socket:
    host, _, text = listen.rpartition(":")
    port = int(text) if text.isascii() and text.isdigit() else -1
    if not 0 <= port <= 65535 or not host:
        raise InputError(f'page.listen is "{listen}": host and port (0 to 65535) are allowed')
    name = host.strip("[]")
    try:
        (family, kind, protocol, _, address), *_ = socket.getaddrinfo(
            name, port, type=socket.SOCK_STREAM
        )
        made = socket.socket(family, kind, protocol)
    except OSError as error:
        raise InputError(f'page.listen is "{listen}": {error.strerror}') from error
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BACKLOG)
        made.bind(address)
        made.listen()
    except OSError as error:
        made.close()
        taken = error.errno == errno.EADDRINUSE
        why = "another program listens there, perhaps another station" if taken else error.strerror
        raise InputError(f'page.listen is "{listen}": {why}') from error
    return made
