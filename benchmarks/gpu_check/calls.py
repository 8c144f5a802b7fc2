"""Calls of CUDA that a frame makes: launches, waits and copies, as CUPTI tells them.

CUPTI is a library of CUDA's toolkit, on a Jetson of JetPack's. Without it nothing is counted.
"""

from __future__ import annotations

import ctypes
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_NAMES = ("libcupti.so.13", "libcupti.so.12", "libcupti.so")
_DRIVER, _RUNTIME = 1, 2  # CUPTI_CB_DOMAIN_DRIVER_API, CUPTI_CB_DOMAIN_RUNTIME_API
_ENTER = 0  # CUPTI_API_ENTER


class _CallbackData(ctypes.Structure):
    """The beginning of CUpti_CallbackData."""

    _fields_ = (("site", ctypes.c_int), ("name", ctypes.c_char_p))


_Callback = ctypes.CFUNCTYPE(
    None, ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32, ctypes.POINTER(_CallbackData)
)


class CallsError(Exception):
    """Calls cannot be counted here."""


def _library() -> ctypes.CDLL:
    folders = [Path(entry) / "nvidia" for entry in sys.path if entry]
    found = [str(file) for folder in folders for file in folder.glob("*/lib/libcupti.so.*")]
    for name in (*_NAMES, *found):
        with suppress(OSError):
            return ctypes.CDLL(name)
    raise CallsError("CUPTI is not here (pip: nvidia-cuda-cupti)")


def kind_of(name: str) -> str | None:
    """Return what a function of CUDA's is: "launches", "waits", "copies", or None.

    A copy that the host waits for is a copy.
    """
    if "Launch" in name and "HostFunc" not in name:
        return "launches"
    if "Synchronize" in name:
        return "waits"
    return "copies" if "Memcpy" in name else None


class Nesting:
    """Calls by name. What a call makes of other calls is not counted again."""

    def __init__(self) -> None:
        self.names: Counter[str] = Counter()
        self._depth = 0

    def see(self, *, enters: bool, name: str) -> None:
        """Take note of a call that begins or ends."""
        if enters:
            if self._depth == 0 and kind_of(name) is not None:
                self.names[name] += 1
            self._depth += 1
        else:
            self._depth = max(self._depth - 1, 0)

    def kinds(self) -> dict[str, int]:
        """Return the calls of each kind."""
        made = dict.fromkeys(("launches", "waits", "copies"), 0)
        for name, count in self.names.items():
            kind = kind_of(name)
            if kind is not None:
                made[kind] += count
        return made


@contextmanager
def counted() -> Iterator[Nesting]:
    """Count the calls of this thread within.

    Raises
    ------
    CallsError
        If CUPTI is missing, or refuses.
    """
    library, seen = _library(), Nesting()
    subscriber = ctypes.c_void_p()

    def note(_: object, __: int, ___: int, data: ctypes._Pointer[_CallbackData]) -> None:
        name = data.contents.name or b""
        seen.see(enters=data.contents.site == _ENTER, name=name.decode())

    callback = _Callback(note)

    def ask(function: Callable[..., int], *arguments: object) -> None:
        code = function(*arguments)
        if code != 0:
            raise CallsError(f"CUPTI refuses: error {code}")

    ask(library.cuptiSubscribe, ctypes.byref(subscriber), callback, None)
    try:
        for domain in (_DRIVER, _RUNTIME):
            ask(library.cuptiEnableDomain, ctypes.c_uint32(1), subscriber, ctypes.c_int(domain))
        yield seen
    finally:
        library.cuptiUnsubscribe(subscriber)
