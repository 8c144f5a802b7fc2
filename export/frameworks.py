"""PyTorch, open_clip and timm, imported where they are used."""

from __future__ import annotations

import traceback
from importlib import import_module
from typing import Any

from zeroline.export.errors import ExportError
from zeroline.runtime.errors import MissingExtraError, in_one_line

_PROJECTS = {"torch": "PyTorch", "open_clip": "open_clip", "timm": "timm", "onnx": "onnx"}
_CURE = (
    "install both from one index, without a GPU by: pip install --force-reinstall torch "
    "torchvision --index-url https://download.pytorch.org/whl/cpu"
)


def framework(module: str) -> Any:
    """Import a framework, or say how to get it.

    Raises
    ------
    MissingExtraError
        If it, or something that it needs, is not installed.
    ExportError
        If torchvision, which open_clip and timm import, is of another build than PyTorch.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            _PROJECTS[module], extra="backbones", purpose="to export a backbone"
        ) from error
    except (ImportError, OSError, RuntimeError) as error:
        if not _in_torchvision(error):
            raise
        version = import_module("torch").__version__
        raise ExportError(
            f"torchvision does not fit PyTorch {version} ({in_one_line(error)}): {_CURE}"
        ) from error


def _in_torchvision(error: BaseException) -> bool:
    """Tell whether torchvision's own modules were at work when an error was raised."""
    names = (
        frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)
    )
    return any(name.partition(".")[0] == "torchvision" for name in names)
