"""Run a TensorRT engine on CuPy's buffers."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from zeroline.runtime.cuda import working_cupy
from zeroline.runtime.errors import DeviceError, MissingExtraError

_LEAST = (10, 0)
_BAD = ((10, 2, 0),)  # known for wrong results


class TensorRTSession:
    """A session of a TensorRT engine; see `zeroline.runtime.network.session.Session`.

    Images may lie on the host or on the device, outputs lie on the device. All is queued on one
    stream, a blocking one: work on CUDA's default stream, where the scoring stages run, waits
    for it on the device, and the host waits for nothing.

    Parameters
    ----------
    engine : bytes
        As TensorRT serialised it, on this device.
    label : str
        Names the engine in errors.

    Raises
    ------
    MissingExtraError
        If TensorRT or CuPy is not installed.
    DeviceError
        If the engine is of another TensorRT or GPU, or damaged.
    """

    device = "tensorrt"

    def __init__(self, engine: bytes, *, label: str) -> None:
        trt = tensorrt_package()
        self._cupy = working_cupy()
        self._label = label
        # kept, since TensorRT does not keep them
        self._logger = trt.Logger(trt.Logger.ERROR)
        self._runtime = trt.Runtime(self._logger)
        self._engine = self._runtime.deserialize_cuda_engine(engine)
        if self._engine is None:
            raise DeviceError(f"TensorRT {trt.__version__} cannot load the engine of {label}")
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise DeviceError(f"the device has not enough memory for the engine of {label}")
        self._stream = self._cupy.cuda.Stream(non_blocking=False)
        self._lock = threading.Lock()
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        shapes = {name: _shape(self._engine.get_tensor_shape(name)) for name in names}
        is_input = {
            name: self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT for name in names
        }
        self.inputs: Mapping[str, tuple[int | None, ...]] = {
            name: shapes[name] for name in names if is_input[name]
        }
        self.outputs: tuple[str, ...] = tuple(name for name in names if not is_input[name])
        self.providers: tuple[str, ...] = (f"TensorRT {trt.__version__}",)
        ((name, shape),) = self.inputs.items()
        self._most: int = shape[0] or self._engine.get_tensor_profile_shape(name, 0)[2][0]

    def run(self, name: str, images: npt.NDArray[np.float32]) -> dict[str, Any]:
        """Feed (B, 3, S, S) images to the input called `name`; CuPy outputs by name.

        More images than the engine takes at once are fed in parts.
        """
        cupy = self._cupy
        with self._lock, self._stream:
            parts = [
                self._run(name, images[start : start + self._most])
                for start in range(0, len(images), self._most)
            ]
            if len(parts) == 1:
                return parts[0]
            return {output: cupy.concatenate([p[output] for p in parts]) for output in self.outputs}

    def _run(self, name: str, images: Any) -> dict[str, Any]:
        cupy, context = self._cupy, self._context
        held = cupy.ascontiguousarray(cupy.asarray(images, dtype=cupy.float32))
        self._check(context.set_input_shape(name, held.shape), f"shape {held.shape} is not taken")
        context.set_tensor_address(name, held.data.ptr)
        results = {}
        for output in self.outputs:
            results[output] = cupy.empty(
                tuple(context.get_tensor_shape(output)), dtype=cupy.float32
            )
            context.set_tensor_address(output, results[output].data.ptr)
        self._check(context.execute_async_v3(self._stream.ptr), "it cannot be run")
        return results

    def _check(self, done: bool, trouble: str) -> None:
        if not done:
            raise DeviceError(f"the TensorRT engine of {self._label} failed: {trouble}")


def tensorrt_package() -> Any:
    """Return the `tensorrt` package, of a version that serves.

    Raises
    ------
    MissingExtraError
        If it is not installed.
    DeviceError
        If it is too old, or a version known for wrong results.
    """
    try:
        trt = import_module("tensorrt")
    except ModuleNotFoundError as error:
        raise MissingExtraError("TensorRT", extra="tensorrt", purpose="to run engines") from error
    except (ImportError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise DeviceError(f"TensorRT is installed and cannot be loaded: {reason}") from error
    numbers = tuple(int(part) for part in re.findall(r"\d+", trt.__version__)[:3])
    if numbers[:2] < _LEAST or numbers in _BAD:
        raise DeviceError(
            f"TensorRT is {trt.__version__}; from {'.'.join(map(str, _LEAST))} on, but not "
            f"{', '.join('.'.join(map(str, bad)) for bad in _BAD)}, is expected"
        )
    return trt


def _shape(dimensions: Any) -> tuple[int | None, ...]:
    return tuple(None if d < 0 else int(d) for d in dimensions)
