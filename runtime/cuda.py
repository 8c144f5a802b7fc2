"""CuPy, imported where a CUDA device is used."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np

from zeroline.runtime.errors import DeviceError, MissingExtraError


@dataclass(frozen=True)
class Gpu:
    """A CUDA device by what an engine depends on."""

    name: str
    capability: str


def installed_cupy() -> Any | None:
    """Return CuPy where it is installed, without asking whether it works; None else."""
    return import_module("cupy") if find_spec("cupy") is not None else None


def working_cupy() -> Any:
    """Return CuPy after it has run a kernel: it may import and yet have no code for the device.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    DeviceError
        If it cannot run.
    """
    cupy = installed_cupy()
    if cupy is None:
        raise MissingExtraError("CuPy", extra="cuda13", purpose="to run on a CUDA device")
    try:
        total = int(cupy.arange(3).sum())
    except Exception as error:  # CuPy's own classes are many
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DeviceError(f"CuPy {cupy.__version__} cannot run on this device: {reason}") from error
    if total != 3:
        raise DeviceError(f"CuPy {cupy.__version__} adds 0, 1 and 2 to {total} on this device")
    return cupy


def current_gpu(cupy: Any) -> Gpu:
    """Describe the current device."""
    number = cupy.cuda.runtime.getDevice()
    properties = cupy.cuda.runtime.getDeviceProperties(number)
    name = properties["name"]
    return Gpu(
        name.decode() if isinstance(name, bytes) else str(name),
        f"{properties['major']}.{properties['minor']}",
    )


def scoring_arrays(device: str) -> Any:
    """Return the array library that scores: CuPy where the network runs on CUDA and it is there.

    Parameters
    ----------
    device : str
        Where the network runs: "cpu", "cuda" or "tensorrt".

    Returns
    -------
    module
        CuPy or NumPy.

    Raises
    ------
    DeviceError
        If CuPy is there and does not work.
    """
    if device == "cpu" or installed_cupy() is None:
        return np
    return working_cupy()
