"""One HTTP POST: signed, bounded in time, and told without a secret where it fails."""

from __future__ import annotations

import hashlib
import hmac
import logging
import math
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import unquote

from zeroline.edge_app.errors import OutputError
from zeroline.edge_app.passwords import without_password
from zeroline.runtime.errors import MissingExtraError, in_one_line

#: Bytes of an answer that are read; a connection with more is not used again.
_ANSWER = 1 << 16
#: Seconds of a Retry-After that are waited at the most.
_LONGEST_WISH = 600.0


class NotTakenError(OutputError):
    """A POST that was not answered by 2xx; the text has no secret.

    Attributes
    ----------
    status : int or None
        Of the answer; None where none came.
    wish : float or None
        Seconds after which the server wants to be asked again.
    """

    def __init__(self, text: str, *, status: int | None = None, wish: float | None = None) -> None:
        super().__init__(text)
        self.status, self.wish = status, wish


class Poster:
    """Posts JSON to one address over one connection that is kept.

    TLS certificates are verified against the system's, or those that SSL_CERT_FILE names. A
    redirect is not followed: the body would go to a place that nobody has configured.

    Parameters
    ----------
    url : str
        A user and a password in it become basic authentication.
    secret : str or None
        Signs each body.
    timeout_s : float
        Seconds for the connection, for each silence, and for the whole answer.

    Raises
    ------
    OutputError
        If the URL is none.
    MissingExtraError
        Without urllib3.
    """

    def __init__(self, url: str, *, secret: str | None, timeout_s: float) -> None:
        try:
            import urllib3
        except ModuleNotFoundError as error:
            raise MissingExtraError("urllib3", extra="app", purpose="for a webhook") from error
        # its lines of debugging tell the whole address
        logging.getLogger("urllib3.connectionpool").setLevel(logging.WARNING)
        try:
            parsed = urllib3.util.parse_url(url)
            if parsed.scheme not in ("http", "https") or not parsed.host:
                raise urllib3.exceptions.LocationParseError(url)
        except urllib3.exceptions.LocationParseError:
            raise OutputError(f'webhook "{without_password(url)}": no URL of HTTP') from None
        self._errors: Any = urllib3.exceptions
        self._secret = None if secret is None else secret.encode()
        self._timeout = timeout_s
        self._path = parsed.request_uri
        self._headers = {"Content-Type": "application/json", "User-Agent": "zeroline"}
        if parsed.auth is not None:
            made = urllib3.make_headers(basic_auth=unquote(parsed.auth))
            self._headers |= {"Authorization": made["authorization"]}
        self._pool: Any = urllib3.connection_from_url(
            f"{parsed.scheme}://{parsed.netloc}",
            timeout=urllib3.Timeout(connect=timeout_s, read=timeout_s),
            retries=False,
            maxsize=1,
        )
        self._socket: socket.socket | None = None
        self._pool.ConnectionCls = self._telling(self._pool.ConnectionCls)

    def post(self, number: int, body: bytes) -> None:
        """Send a body.

        Raises
        ------
        NotTakenError
            If the answer is not 2xx, or none comes.
        """
        now = str(int(time.time()))
        headers = {**self._headers, "X-Zeroline-Timestamp": now, "X-Zeroline-Message": str(number)}
        if self._secret is not None:
            headers["X-Zeroline-Signature"] = f"sha256={signature(self._secret, now, body)}"
        try:
            self._answered(headers, body)
        except self._errors.ProtocolError:  # a kept connection may have been closed meanwhile
            try:
                self._answered(headers, body)
            except self._errors.HTTPError as error:
                raise NotTakenError(self._why(error)) from None
        except self._errors.HTTPError as error:
            raise NotTakenError(self._why(error)) from None

    def close(self) -> None:
        """Let go of the connection."""
        self._pool.close()

    def _answered(self, headers: dict[str, str], body: bytes) -> None:
        with self._bounded():
            answer = self._pool.urlopen(
                "POST", self._path, body=body, headers=headers, redirect=False,
                preload_content=False, decode_content=False,
            )  # fmt: skip
            try:
                left = _ANSWER
                while left > 0 and (piece := answer.read(left)):  # the last one finds a cut end
                    left -= len(piece)
            finally:
                if answer.connection is not None:  # there is more of it
                    answer.close()
        if not 200 <= answer.status < 300:
            moved = ", and is not followed" if 300 <= answer.status < 400 else ""
            text = f"the server answers {answer.status}{moved}"
            wish = _seconds(answer.headers.get("Retry-After"))
            raise NotTakenError(text, status=answer.status, wish=wish)

    def _telling(self, kind: Any) -> Any:
        """Return a class of connections that tell their socket, so that an answer can be ended."""

        def connect(connection: Any) -> None:
            kind.connect(connection)
            self._socket = connection.sock

        return type("Connection", (kind,), {"connect": connect})

    @contextmanager
    def _bounded(self) -> Iterator[None]:
        """End the connection after the whole time: a server may send a byte now and then."""
        over = threading.Event()

        def end() -> None:
            over.set()
            if self._socket is not None:
                with suppress(OSError, ValueError):
                    self._socket.shutdown(socket.SHUT_RDWR)

        # connecting has a time of its own
        timer = threading.Timer(2 * self._timeout, end)
        timer.daemon = True
        timer.start()
        late = NotTakenError(f"no whole answer within {2 * self._timeout:g} s")
        try:
            yield
        except (self._errors.HTTPError, OSError, ValueError):
            if over.is_set():
                raise late from None
            raise
        finally:
            timer.cancel()
        if over.is_set():  # headers that are cut look like their end
            raise late

    def _why(self, error: Exception) -> str:
        """Return what went wrong in words; never urllib3's own, which have the address."""
        errors = self._errors
        if isinstance(error, errors.NameResolutionError):
            return "the name of its host is not known"
        if isinstance(error, errors.NewConnectionError):
            return f"it cannot be reached: {_reason(error)}"
        if isinstance(error, errors.TimeoutError):
            return f"no answer within {self._timeout:g} s"
        if isinstance(error, errors.SSLError):
            return f"no trusted TLS: {_reason(error)}"
        return f"the connection broke: {_reason(error)}"


def signature(secret: bytes, timestamp: str, body: bytes) -> str:
    """Return the HMAC-SHA256 of "<timestamp>." and a body, as hexadecimal digits."""
    return hmac.new(secret, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def _reason(error: Exception) -> str:
    """Return the innermost reason that the system or TLS tells; nothing of the address."""
    seen: list[BaseException] = [error]
    while (below := seen[-1].__cause__ or seen[-1].__context__) is not None and below not in seen:
        seen.append(below)
    for one in reversed(seen):
        if isinstance(one, OSError) and one.strerror:
            return in_one_line(OSError(one.strerror))
    return type(error).__name__


def _seconds(header: str | None) -> float | None:
    """Return a Retry-After in seconds from now."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(header).timestamp() - time.time()
        except (TypeError, ValueError):
            return None
    return min(max(seconds, 0.0), _LONGEST_WISH) if math.isfinite(seconds) else None
