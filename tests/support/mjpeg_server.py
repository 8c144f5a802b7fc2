"""A network camera that sends JPEG pictures over HTTP, and misbehaves when told."""

from __future__ import annotations

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np


class MjpegCamera:
    """Sends a new picture of a textured part 25 times a second.

    Attributes
    ----------
    mode : str
        "well", "silent" (the connection stays open), "frozen", "garbage", "other size" or "away"
        (connections are refused).
    """

    def __init__(self, *, rate: float = 25.0, size: int = 96) -> None:
        self.mode, self._rate, self._size = "well", rate, size
        self._count = 0
        self._frozen: bytes | None = None
        self._ended = threading.Event()
        camera = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                camera.serve(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/stream.mjpg"

    def close(self) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        if self.mode == "away":
            request.send_error(503)
            return
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        request.end_headers()
        try:
            while not self._ended.is_set() and self.mode != "away":
                if self.mode != "silent":
                    content = self._content()
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(content)}"
                    request.wfile.write(head.encode() + b"\r\n\r\n" + content + b"\r\n")
                time.sleep(1 / self._rate)
        except OSError:
            pass

    def _content(self) -> bytes:
        if self.mode == "frozen" and self._frozen is not None:
            return self._frozen
        self._count += 1
        content = jpeg(self._count, size=self._size if self.mode != "other size" else 144)
        self._frozen = content
        if self.mode == "garbage":
            return content[:80] + bytes(np.random.default_rng(self._count).bytes(len(content) - 80))
        return content


def jpeg(seed: int, *, size: int) -> bytes:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    base = 110 + 25 * np.sin(x / 9.0) + 12 * np.cos(y / 13.0)
    frame = np.stack([base, base + 4, base - 4], axis=2) + rng.normal(0, 4, (size, size, 3))
    return cv2.imencode(".jpg", frame.clip(0, 255).astype(np.uint8))[1].tobytes()
