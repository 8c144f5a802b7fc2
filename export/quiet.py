"""Log lines of other packages, kept from the user."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet(level: int = logging.ERROR) -> Iterator[None]:
    """Keep log lines up to a level from the user: what goes wrong is an error of its own."""
    before = logging.root.manager.disable
    logging.disable(level)
    try:
        yield
    finally:
        logging.disable(before)
