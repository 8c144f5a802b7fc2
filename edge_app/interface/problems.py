"""What is refused, as problems of RFC 9457."""

from __future__ import annotations

import json
from typing import Any

CONTENT_TYPE = "application/problem+json"
#: Status of each kind of `RefusedError`.
STATUS = {"unknown": 404, "busy": 503, "not_now": 409, "invalid": 422}
_TITLES = {
    400: "Bad request", 403: "Forbidden", 404: "Not found", 405: "Method not allowed",
    409: "Not now", 413: "Too large", 421: "Wrong host", 422: "Invalid", 500: "Error",
    503: "Busy",
}  # fmt: skip


def problem(status: int, detail: str, **more: Any) -> dict[str, Any]:
    """Return a problem as a JSON object.

    Parameters
    ----------
    status : int
    detail : str
        One line for people.
    more
        Members of this problem alone.
    """
    title = _TITLES.get(status, "Error")
    return {"type": "about:blank", "title": title, "status": status, "detail": detail} | more


def packed(status: int, detail: str, **more: Any) -> bytes:
    """Return the same as bytes."""
    return json.dumps(problem(status, detail, **more)).encode()
