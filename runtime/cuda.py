"""CuPy, imported where a CUDA device is used, and the device as it sees it."""

from __future__ import annotations

import os
import platform
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from zeroline.runtime.errors import DeviceError, MissingExtraError
from zeroline.runtime.files import cache_folder

_JETSON = 'pip install ".[jetpack6]" on JetPack 6, ".[cuda13]" on JetPack 7 (docs/install.md)'
_PC = 'pip install ".[cuda13]", or ".[cuda12]" with a driver before 580'


@dataclass(frozen=True)
class Gpu:
    """A CUDA device by what an engine depends on."""

    name: str
    capability: str


def install_hint() -> str:
    """Return what to install for CUDA in a clone of zeroline, on this kind of machine."""
    return _JETSON if platform.machine() == "aarch64" else _PC


def installed_cupy() -> Any | None:
    """Return CuPy where it is installed, without asking whether it works; None else.

    What it compiles is kept in `kernels` in zeroline's cache folder, unless CUPY_CACHE_DIR names
    another.

    Raises
    ------
    DeviceError
        If it cannot be imported: a numpy that does not fit, a library that is missing.
    """
    if find_spec("cupy") is None:
        return None
    if "CUPY_CACHE_DIR" not in os.environ:
        try:
            kernels = cache_folder() / "kernels"
            kernels.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=kernels):  # it may be there and yet be read only
                pass
            os.environ["CUPY_CACHE_DIR"] = str(kernels)
        except OSError:  # a file system that is read only: each start compiles
            os.environ["CUPY_CACHE_IN_MEMORY"] = "1"
            # CuPy 14 cannot be imported without a folder; nothing is written to this one
            os.environ["CUPY_CACHE_DIR"] = str(Path(__file__).parent)
    try:
        return import_module("cupy")
    except Exception as error:  # an ImportError of any of its libraries, and more
        raise DeviceError(
            f"CuPy is installed and cannot be imported: {_first_line(error)}"
        ) from error


def working_cupy() -> Any:
    """Return CuPy after it has done one of each kind of work that is asked of it.

    It may import and yet find no device, no compiler, no cuBLAS, or have no code for the device.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    DeviceError
        If it cannot do one of them, with its own reason.
    """
    cupy = installed_cupy()
    if cupy is None:
        raise MissingExtraError("CuPy", purpose="to score on a CUDA device", hint=install_hint())
    for what, work in _TRIALS.items():
        with device_errors(f"CuPy {cupy.__version__} cannot {what}"):
            found, expected = work(cupy)
        if found != expected:
            raise DeviceError(
                f"CuPy {cupy.__version__} cannot {what}: it gives {found}, {expected} is expected"
            )
    return cupy


def _kernel(cupy: Any) -> tuple[Any, Any]:
    return int(cupy.arange(3).sum()), 3


def _product(cupy: Any) -> tuple[Any, Any]:
    rows = cupy.asarray([[1, 2], [3, 4]], dtype=cupy.float32)
    return (rows @ rows).get().tolist(), [[7.0, 10.0], [15.0, 22.0]]


def _sort(cupy: Any) -> tuple[Any, Any]:
    rows = cupy.asarray([[2, 0, 1], [1, 2, 0]], dtype=cupy.float32)
    return cupy.sort(rows, axis=1).get().tolist(), [[0.0, 1.0, 2.0]] * 2


_TRIALS: dict[str, Callable[[Any], tuple[Any, Any]]] = {
    "find a CUDA device": lambda cupy: (cupy.cuda.runtime.getDeviceCount() > 0, True),
    "compile and run a kernel (NVRTC)": _kernel,
    "multiply matrices (cuBLAS)": _product,
    "sort (Thrust)": _sort,
}


@contextmanager
def device_errors(trouble: str) -> Iterator[None]:
    """Turn what CuPy raises into a DeviceError: its classes are many and share no base.

    Parameters
    ----------
    trouble : str
        Begins the message; CuPy's reason follows.
    """
    try:
        yield
    except DeviceError:
        raise
    except Exception as error:
        raise DeviceError(f"{trouble}: {_first_line(error)}") from error


def from_cupy(error: BaseException) -> bool:
    """Tell whether CuPy raised an error: its classes are many and share no base."""
    roots = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    return not roots.isdisjoint({"cupy", "cupy_backends"})


@contextmanager
def cupy_errors(trouble: str = "the CUDA device failed") -> Iterator[None]:
    """Turn CuPy's own errors into a DeviceError, and let others pass; see `device_errors`."""
    try:
        yield
    except Exception as error:
        if not from_cupy(error):
            raise
        raise DeviceError(f"{trouble}: {_first_line(error)}") from error


def lost_device(cupy: Any) -> str:
    """Return why this process can use the device no more; empty where it can.

    An illegal address or a failed launch spoils all that a process asks later; too little memory
    does not.
    """
    try:
        with cupy_errors():
            cupy.cuda.runtime.deviceSynchronize()
    except DeviceError as error:
        return str(error)
    return ""


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def current_gpu(cupy: Any) -> Gpu:
    """Describe the current device."""
    properties = _properties(cupy)
    name = properties["name"]
    return Gpu(
        name.decode() if isinstance(name, bytes) else str(name),
        f"{properties['major']}.{properties['minor']}",
    )


def _properties(cupy: Any) -> dict[str, Any]:
    found: dict[str, Any] = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.runtime.getDevice())
    return found


def free_device_memory(cupy: Any) -> int | None:
    """Return the bytes that arrays may still take on the current device.

    None where it has no memory of its own, as on a Jetson: there the host's counts.
    """
    if _properties(cupy).get("integrated"):
        return None
    free, _ = cupy.cuda.runtime.memGetInfo()
    return int(free) + int(cupy.get_default_memory_pool().free_bytes())


#: What Linux says of the host's memory.
_HOST = Path("/proc/meminfo")


def half_of_free_memory(cupy: Any) -> int:
    """Return the bytes that a build of an engine may take, after CuPy gave back what it held.

    The other half is left for the weights, which a build holds more than once, and, where device
    and host have one memory, for the rest of the system.
    """
    cupy.get_default_memory_pool().free_all_blocks()
    free = free_device_memory(cupy)
    if free is None:
        available = re.search(r"^MemAvailable: +(\d+) kB$", _HOST.read_text(), re.M)
        free = int(available[1]) << 10 if available else cupy.cuda.runtime.memGetInfo()[0]
    return free // 2


def no_room(what: str, needed: int, free: int, *, where: str = "") -> str:
    """Return the words for what does not fit: bytes that it takes, and that are free."""
    gib = 2**30
    return f"{what} takes {needed / gib:.1f} GiB{where}, {free / gib:.1f} GiB are free"


#: Where device memory is, in the words of `no_room`.
ON_DEVICE = " on the device"


def without_room(what: str, needed: int, cupy: Any) -> DeviceError | None:
    """Return the error of what does not fit on the current device; None where it fits.

    None also where the device has no memory of its own: the host's is looked at there.

    Parameters
    ----------
    what : str
        Begins the message.
    needed : int
        Bytes.
    """
    free = free_device_memory(cupy)
    if free is None or needed <= free:
        return None
    return DeviceError(no_room(what, needed, free, where=ON_DEVICE))


@contextmanager
def between_events(cupy: Any, stream: Any) -> Iterator[None]:
    """Queue work on a stream after the caller's work so far, and before all that it will queue.

    The device waits, the host does not. Arrays that are made on the caller's stream before, and
    freed on it after, are safe to use within.

    Parameters
    ----------
    cupy : module
    stream : Stream
        The caller's is CuPy's current one.
    """
    caller = cupy.cuda.get_current_stream()
    stream.wait_event(caller.record())
    try:
        yield
    finally:
        caller.wait_event(stream.record())
