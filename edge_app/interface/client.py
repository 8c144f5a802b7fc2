"""How commands ask a running station."""

from __future__ import annotations

import json
from typing import Any

from zeroline.edge_app.errors import InputError
from zeroline.edge_app.interface.guard import HEADER
from zeroline.runtime.errors import MissingExtraError

#: Seconds to wait for an answer.
_PATIENCE = 10.0


class Client:
    """Asks the local interface of a station.

    Parameters
    ----------
    address : str
        Its host and port, such as 127.0.0.1:8321.

    Raises
    ------
    MissingExtraError
        Without urllib3.
    """

    def __init__(self, address: str) -> None:
        try:
            import urllib3
        except ModuleNotFoundError as error:
            raise MissingExtraError("urllib3", extra="app", purpose="to ask a station") from error
        self._errors: Any = urllib3.exceptions
        self._address = address
        self._pool = urllib3.PoolManager(retries=False, timeout=_PATIENCE)

    def get(self, path: str) -> dict[str, Any]:
        """Return what is at a path under /api/v1."""
        return self._asked("GET", path)

    def post(self, path: str, **content: Any) -> dict[str, Any]:
        """Tell something, and return the answer.

        Raises
        ------
        InputError
            If no station answers there, or it refuses; says why.
        """
        return self._asked("POST", path, json=content, headers={HEADER: "1"})

    def _asked(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        url = f"http://{self._address}/api/v1/{path}"
        try:
            answer = self._pool.request(method, url, redirect=False, **more)
        except self._errors.NewConnectionError as error:  # a kind of TimeoutError for urllib3
            raise self._nobody() from error
        except self._errors.TimeoutError as error:
            raise InputError(
                f"the station at {self._address} does not answer within {_PATIENCE:g} s"
            ) from error
        except (self._errors.HTTPError, ValueError) as error:
            raise self._nobody() from error
        try:
            content: dict[str, Any] = json.loads(answer.data)
        except ValueError:
            content = {}
        if answer.status >= 300 or not isinstance(content, dict) or not content:
            detail = content.get("detail") if isinstance(content, dict) else None
            raise InputError(str(detail or f"what answers at {self._address} is no station"))
        return content

    def _nobody(self) -> InputError:
        return InputError(
            f"no station answers at {self._address}: is one running there (page.listen)? One that "
            "starts answers some seconds later"
        )
