"""A station as a process of its own, and a server that takes its webhooks."""

from __future__ import annotations

import json
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])


class Receiver:
    """A real HTTP server that keeps what it has answered by 200."""

    def __init__(self, port: int = 0) -> None:
        self.bodies: list[dict[str, Any]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.bodies.append(json.loads(body))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                """Say nothing: a station that is killed breaks its connections."""

        self._server = Server(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/verdicts"

    @property
    def parts(self) -> list[dict[str, Any]]:
        """Bodies of parts."""
        return [body for body in list(self.bodies) if "late" in body]

    def close(self) -> None:
        """End the server."""
        self._server.shutdown()
        self._server.server_close()


class StationProcess:
    """``zeroline run FILE`` as a process; standard error goes to a file beside the station's."""

    def __init__(self, file: Path, port: int, *, before: tuple[str, ...] = ()) -> None:
        self.port = port
        self.told = file.with_suffix(".err")
        with self.told.open("ab") as told:
            self.process = subprocess.Popen(  # noqa: S603 - ours
                [*before, sys.executable, "-m", "zeroline.edge_app", "run", str(file)],
                stdout=subprocess.DEVNULL,
                stderr=told,
            )

    def ask(self, path: str, body: dict[str, Any] | None = None) -> tuple[int, Any]:
        """Send a request; return status and JSON."""
        headers = {"X-Zeroline": "1", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", data=data, headers=headers
        )
        try:
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
                    return answer.status, _json(answer.read())
            except urllib.error.HTTPError as error:
                return error.code, _json(b"" if error.fp is None else error.read())
        except (OSError, HTTPException):  # killed in its answer
            return 0, None

    def wait_ready(self, seconds: float = 60) -> float:
        """Wait until it is ready; return the seconds that it took."""
        began = time.monotonic()
        self.wait(lambda: self.ask("/readyz")[0] == 200, seconds)
        return time.monotonic() - began

    def wait(self, true: Callable[[], Any], seconds: float) -> None:
        """Wait for something, while the process lives."""
        end = time.monotonic() + seconds
        while not true():
            if self.process.poll() is not None:
                raise RuntimeError(f"the station has ended: {self.told.read_text()[-2000:]}")
            if time.monotonic() > end:
                raise TimeoutError(f"not in {seconds:g} s: {self.told.read_text()[-2000:]}")
            time.sleep(0.02)

    def stop(self) -> tuple[int, float]:
        """End it by SIGTERM; return exit code and seconds."""
        began = time.monotonic()
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=30)
        return code, time.monotonic() - began

    def kill(self) -> None:
        """End it by SIGKILL."""
        self.process.kill()
        self.process.wait()


def _json(content: bytes) -> Any:
    try:
        return json.loads(content)
    except ValueError:
        return content.decode(errors="replace")


def rows(data: Path, query: str, *values: Any) -> list[tuple[Any, ...]]:
    """Return rows of a store that is read only."""
    with closing(sqlite3.connect(f"file:{data / 'zeroline.sqlite'}?mode=ro", uri=True)) as opened:
        return opened.execute(query, values).fetchall()
