"""A network on a device whose outputs are brought to the host: for sets that have no room there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from zeroline.runtime.arrays import Float32, to_host
from zeroline.runtime.network.model import Bundle, Session


class OnHost:
    """A session as another one, with NumPy's outputs; see `zeroline.runtime.network.model.Session`.

    Parameters
    ----------
    session : Session
        On a device.
    """

    arrays: Any = np

    def __init__(self, session: Session) -> None:
        self._session = session
        self.device: str = session.device
        self.named: bool = session.named
        self.providers: tuple[str, ...] = session.providers
        self.inputs: Mapping[str, tuple[int | None, ...]] = session.inputs
        self.outputs: tuple[str, ...] = session.outputs

    def run(self, name: str, images: Float32) -> dict[str, Any]:
        """Feed (B, 3, S, S) images to the input called `name`; NumPy's outputs by name."""
        outputs = self._session.run(name, images)
        return {output: to_host(values) for output, values in outputs.items()}


def on_host(bundle: Bundle) -> Bundle:
    """Return a bundle with the same network, whose tokens are NumPy's and scored on the CPU."""
    return replace(bundle, session=OnHost(bundle.session))
