"""onnxruntime as if it had a CUDA provider: its memory is the host's, as CuPy's stand-in's."""

from __future__ import annotations

import ctypes
import importlib
import sys
from typing import Any

import numpy as np
import onnxruntime
import pytest

from support.machine import STAND_INS

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
_RealSession = onnxruntime.InferenceSession


class HostedCuda:
    """What `install` brings, and what a test may spoil.

    Attributes
    ----------
    options : list of dict
        The CUDA provider's, of each session.
    broken : str
        Raised where a session is made on CUDA; empty: nothing is.
    absent : bool
        Whether the provider cannot be loaded: onnxruntime takes the CPU then.
    factor : float
        What outputs on CUDA are multiplied by.
    """

    def __init__(self) -> None:
        self.options: list[dict[str, str]] = []
        self.broken = ""
        self.absent = False
        self.factor = 1.0


def install(monkeypatch: pytest.MonkeyPatch, cache: Any) -> tuple[HostedCuda, Any]:
    """Put the provider and CuPy's stand-in in place; return both."""
    monkeypatch.syspath_prepend(STAND_INS)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setenv("CUPY_CACHE_DIR", str(cache))
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    cupy = importlib.import_module("cupy")
    hosted = HostedCuda()

    class Session(_RealSession):  # type: ignore[misc, valid-type]
        def __init__(self, path: str, options: Any, *, providers: Any, **others: Any) -> None:
            assert others == {"enable_fallback": 0}  # it prints, and hides what went wrong
            names = [name for name, _ in providers]
            self.on_cuda = names[0] == CUDA and not hosted.absent
            if names[0] == CUDA:
                hosted.options.append(dict(providers[0][1]))
                if hosted.broken:
                    from onnxruntime.capi import onnxruntime_pybind11_state as native

                    raise native.RuntimeException(hosted.broken)
            super().__init__(path, options, providers=[(CPU, {})], **others)

        def get_providers(self) -> list[str]:
            return [CUDA, CPU] if self.on_cuda else [CPU]

        def io_binding(self) -> Any:
            return _Binding(super().io_binding())

        def run_with_iobinding(self, binding: Any, run_options: Any = None) -> None:
            key = "disable_synchronize_execution_providers"
            assert run_options.get_run_config_entry(key) == "1"
            stream = int(hosted.options[-1]["user_compute_stream"])
            cupy.queued.append((stream, "run"))

            def run() -> None:
                _RealSession.run_with_iobinding(self, binding.real, run_options)
                for output in binding.outputs:
                    np.multiply(output, hosted.factor, out=output)

            cupy.work_later(stream, run)

    class _Binding:
        def __init__(self, real: Any) -> None:
            self.real = real
            self._iobinding = real._iobinding
            self.outputs: list[Any] = []

        def bind_input(self, name: str, kind: str, *place: Any) -> None:
            assert kind == "cuda"
            self.input = _array_at(place).copy()  # it may be gone when the work is done
            address = self.input.ctypes.data
            self.real.bind_input(name, "cpu", *place[:-1], address)

        def bind_output(self, name: str, kind: str, *place: Any) -> None:
            assert kind == "cuda"
            self.real.bind_output(name, "cpu", *place)
            self.outputs.append(_array_at(place))

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    return hosted, cupy


def _array_at(place: tuple[Any, ...]) -> Any:
    """Return the array that lies at an address: (device, type, shape, address)."""
    _, dtype, shape, address = place
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(address), dtype).reshape(shape)
