"""One place that decides whether compiled CPU loops are used."""

from __future__ import annotations

from functools import lru_cache
from types import ModuleType
from typing import Any


@lru_cache(maxsize=1)
def compiled_loops() -> Any:
    """Return the module of numba loops, or None where numba is not installed.

    The import costs about a second the first time (numba itself), and some seconds more the
    very first time on a machine, when the loops are compiled and cached on disk.
    """
    try:
        import numba  # noqa: F401 - the guard for the import below
    except ModuleNotFoundError:
        return None
    from zeroline.runtime import loops

    module: ModuleType = loops
    return module
