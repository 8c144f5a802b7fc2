"""A real HTTP server that takes webhooks, checks their signatures, and misbehaves when told."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from support.machine import ROOT

SECRET = "a plant's secret"  # noqa: S105 - no real one
#: Returns a status, headers, or None for an answer that never comes.
Answer = Callable[[int], int | tuple[int, dict[str, str]] | None]


def _documented() -> Any:
    """The receiver's check as docs/outputs.md shows it: the two sides share no code."""
    text = (ROOT / "docs" / "outputs.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(def is_genuine.*?)```", text, re.S)
    names: dict[str, Any] = {}
    exec(compile(block, "docs/outputs.md", "exec"), names)  # noqa: S102 - our own page
    return names["is_genuine"]


genuine = _documented()


class HookServer:
    """Keeps the bodies that it has answered by 200, in order.

    Attributes
    ----------
    bodies : list of dict
    asked : list of int
        Numbers of all requests, those that were refused too.
    answer : callable
        May be replaced.
    """

    def __init__(self, port: int = 0, *, secret: str | None = SECRET) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.asked: list[int] = []
        self.answer: Answer = lambda number: 200
        self.half = False
        self._secret, self.port = secret, port
        self._released = threading.Event()
        hooks = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # head and body are two packets, 40 ms apart else

            def do_POST(self) -> None:
                hooks.handle(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._handler = Handler
        self.start()

    def start(self) -> None:
        ThreadingHTTPServer.allow_reuse_address = True
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self._serving = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._serving.start()

    def stop(self) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._serving.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/verdicts"

    @property
    def numbers(self) -> list[int]:
        return [body["message"] for body in self.bodies]

    def handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        number = int(request.headers["X-Zeroline-Message"])
        self.asked.append(number)
        stamp = request.headers["X-Zeroline-Timestamp"]
        assert abs(time.time() - int(stamp)) < 5
        status: Any = self.answer(number)
        headers: dict[str, str] = {}
        if isinstance(status, tuple):
            status, headers = status
        if self._secret is not None:
            given = request.headers["X-Zeroline-Signature"]
            status = status if genuine(self._secret.encode(), stamp, body, given) else 401
        if status is None:  # accepted, and never answered
            self._released.wait(60)
            request.close_connection = True
            return
        if self.half:
            self.half = False
            request.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            request.close_connection = True
            return
        if status == 200:
            self.bodies.append(json.loads(body))
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.send_header("Content-Length", "2")
        request.end_headers()
        request.wfile.write(b"{}")
        if not self._serving.is_alive():  # a stopped server keeps no connection
            request.close_connection = True
