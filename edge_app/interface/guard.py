"""Who may ask: this machine's own programs, and no page of a browser from elsewhere.

A browser on this machine reaches 127.0.0.1 for any page that it shows. A page whose name was
pointed at this machine (DNS rebinding) is told by its Host header. A page that posts is told by
the header that it cannot set without this server's consent, which none gets.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from zeroline.edge_app.interface.problems import CONTENT_TYPE, packed

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Header, with the value 1, that a request needs which changes anything.
HEADER = "X-Zeroline"
#: Bytes of a body, at the most.
MOST = 1 << 16


class Guard:
    """Lets requests through to an application, or answers with a problem.

    Parameters
    ----------
    app : callable
        An ASGI application.
    port : int
        On which it listens.
    """

    def __init__(self, app: App, *, port: int) -> None:
        self._app = app
        names = ("localhost", "127.0.0.1", "[::1]")
        self._hosts = {f"{name}:{port}" for name in names} | (set(names) if port == 80 else set())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        headers = [(name.lower(), value.decode("latin-1")) for name, value in scope["headers"]]
        hosts = [value for name, value in headers if name == b"host"]
        if len(hosts) != 1 or hosts[0].lower() not in self._hosts:
            shown = hosts[0] if hosts else "none"
            await _refuse(
                send, 421, f'Host is "{shown}", allowed are {", ".join(sorted(self._hosts))}'
            )
            return
        if scope["method"] not in ("GET", "HEAD"):
            if (HEADER.lower().encode(), "1") not in headers:
                await _refuse(send, 403, f'the header "{HEADER}: 1" is missing')
                return
            body = await _body(headers, receive)
            if body is None:
                await _refuse(send, 413, f"a body of {MOST} bytes at the most is taken")
                return
            receive = _again(body, receive)
        await self._app(scope, receive, _plain(send))


async def _body(headers: list[tuple[bytes, str]], receive: Receive) -> bytes | None:
    """Return the whole body; None where it is too long."""
    length = next((value for name, value in headers if name == b"content-length"), "0")
    if not length.isdigit() or int(length) > MOST:
        return None
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] != "http.request":  # the client has gone
            break
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MOST:
            return None
    return body


def _again(body: bytes, receive: Receive) -> Receive:
    """Return what gives a body that was read, and then whatever comes after it."""
    given = False

    async def give() -> MutableMapping[str, Any]:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return give


def _plain(send: Send) -> Send:
    """Add to each answer that nobody keeps it, and that it is what its type says."""

    async def add(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [
                *message.get("headers", []),
                (b"cache-control", b"no-store"),
                (b"x-content-type-options", b"nosniff"),
            ]
        await send(message)

    return add


async def _refuse(send: Send, status: int, detail: str) -> None:
    headers = [(b"content-type", CONTENT_TYPE.encode())]
    body = packed(status, detail)
    await send({"type": "http.response.start", "status": status,
                "headers": [*headers, (b"content-length", str(len(body)).encode()),
                            (b"connection", b"close")]})  # fmt: skip
    await send({"type": "http.response.body", "body": body})
