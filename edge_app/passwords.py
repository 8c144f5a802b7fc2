"""How an address is shown: without what may be a password.

Nothing prints or keeps an address of a source in another way. Where it cannot be known what a part
is, it is hidden: a camera is told by its host, its path and its channel.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

_HIDDEN = "…"
#: Values of a URL's query that are shown. All others may be secrets.
_HARMLESS = frozenset({
    "audio", "cam", "camera", "channel", "codec", "compression", "enablesrtp", "format", "fps",
    "framerate", "h264", "h265", "height", "input", "latency", "mode", "profile", "proto",
    "protocol", "quality", "rate", "resolution", "size", "stream", "streamtype", "subtype", "tcp",
    "timeout", "transport", "transportmode", "udp", "unicast", "video", "videocodec", "view",
    "width",
})  # fmt: skip
_PROTOCOLS = "rtsps?|rtspt|rtspu|rtmps?|rtmpt|rtp|srtp?|https?|ftps?|sftp|udp|tcp|tls|mms|onvif|ws"
# what comes before a user's name, mistyped too: "rtsp://", "rtps:/", "rtsp//", "rtsp:", "//"
_SCHEME = re.compile(
    rf"[A-Za-z][\w+.-]*(?:[:;]+[\\/]+|[\\/]{{2,}})|[\\/]{{2,}}|\b(?:{_PROTOCOLS})\b[^\w\s@…]+",
    re.IGNORECASE,
)
_PROPERTY = re.compile(r"(?:^|(?<=\s))[\w.-]+\s*=\s*[\"']?")
_QUERY = re.compile(r"\?([^\s\"'?#]*)")
_FRAGMENT = re.compile(r"#[^\s\"']*")
# a key that names a secret, and its value: quoted, or up to the next property or element
_SECRET = re.compile(
    r"""(?<![\w?&-])
        ([\w-]*(?:pass|pwd|pw|psw|secret|token|key|auth|cookie|header|cred|sig|user|usr|login
                 |account|session)[\w-]*
        |p|pin|code|sid)
        (\s*=\s*(?:\(\w+\)\s*)?)
        (?:"(?:\\.|[^"\\])*(?:"|$) | '(?:\\.|[^'\\])*(?:'|$)
        |.*?(?=\s+!|\s+[\w.-]+\s*=|["']?$))""",
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)
_SIMULATED = re.compile(r"([?&][^=&]*(?:pass|pwd|pw|secret|token|key)[^=&]*=)[^&]*", re.IGNORECASE)
# a long part of a path with letters and digits: the key of a stream
_STREAM_KEY = re.compile(r"(?<=/)(?=[^/\s]*\d)(?=[^/\s]*[A-Za-z])[\w~+=-]{20,}(?=[/?#;\s\"']|$)")


def without_password(address: str) -> str:
    """Return an address as it may be shown and kept.

    Hidden are users with their passwords, values of a query but for a few that say which picture is
    sent, fragments, long keys in a path, and the properties of a pipeline that name a secret. It
    need not be a right address: a mistyped one is told in an error. A path that exists is no
    address.

    Examples
    --------
    >>> without_password("rtsp://admin:se/cret@10.0.0.7:554/cam?channel=1&pwd=secret")
    'rtsp://…@10.0.0.7:554/cam?channel=1&pwd=…'
    >>> without_password('rtspsrc location=rtsp://cam/1 user-pw="my secret" ! decodebin ! appsink')
    'rtspsrc location=rtsp://cam/1 user-pw=… ! decodebin ! appsink'
    """
    if _exists(address):
        return address
    text = _without_user(address)
    if text.startswith("sim://"):  # what is drawn is no secret
        return _SIMULATED.sub(rf"\1{_HIDDEN}", text)
    text = _SECRET.sub(rf"\1\2{_HIDDEN}", text)
    text = _QUERY.sub(lambda match: "?" + _query(match[1]), text)
    text = _FRAGMENT.sub(f"#{_HIDDEN}", text)
    if _SCHEME.search(text):
        text = _STREAM_KEY.sub(_HIDDEN, text)
    return text


def without_passwords(text: str, arguments: Sequence[str]) -> str:
    """Return a message in which each argument of the command line is as it may be shown.

    Parameters
    ----------
    text : str
        Of an error, which may repeat an argument, or the path that was made of it.
    arguments : sequence of str
        Also as ``--option=value``.
    """
    for argument in arguments:
        for value in (argument, argument.partition("=")[2] if argument.startswith("-") else ""):
            if without_password(value) == value:
                continue
            for form, shown in _forms(value):
                text = text.replace(form, shown)
    return text


def _forms(value: str) -> list[tuple[str, str]]:
    """Return how a message may repeat a value or a path made of it, the longest first; as shown."""
    path = Path(value)
    names = {value, *map(str, (path, *path.parents)), path.name}
    pairs = {(name, without_password(name)) for name in names}
    pairs |= {(repr(name)[1:-1], repr(shown)[1:-1]) for name, shown in pairs}
    return sorted((p for p in pairs if p[0] != p[1]), key=lambda pair: -len(pair[0]))


def _exists(address: str) -> bool:
    try:
        return "://" not in address and Path(address).exists()
    except (OSError, ValueError):  # too long for a path, or no path
        return False


def _without_user(address: str) -> str:
    """Hide all between the scheme and the last @, since a password may hold an @ or a / too."""
    last = address.rfind("@")
    if last < 0:
        return address
    scheme = _SCHEME.search(address, 0, last)
    start = scheme.end() if scheme else 0
    if scheme is None and "!" in address:  # a pipeline: the value of a property
        ends = [match.end() for match in _PROPERTY.finditer(address, 0, last)]
        start = ends[0] if ends else 0
    return address[:start] + _HIDDEN + address[last:]


def _query(query: str) -> str:
    shown = []
    for part in query.split("&"):
        name, equals, _ = part.partition("=")
        if name.lower() in _HARMLESS or not part:
            shown.append(part)
        else:
            shown.append(name + equals + _HIDDEN if equals else _HIDDEN)
    return "&".join(shown)
