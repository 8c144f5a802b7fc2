"""PyTorch, open_clip and timm, imported where they are used."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from zeroline.runtime.errors import MissingExtraError

_PROJECTS = {"torch": "PyTorch", "open_clip": "open_clip", "timm": "timm", "onnx": "onnx"}


def framework(module: str) -> Any:
    """Import a framework, or say how to get it.

    Raises
    ------
    MissingExtraError
        If it, or something that it needs, is not installed.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            _PROJECTS[module], extra="backbones", purpose="to export a backbone"
        ) from error
