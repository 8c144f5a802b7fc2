"""What zeroline uses of TensorRT, run by onnxruntime on host memory.

TensorRT cannot be had without NVIDIA's servers. This stand-in shows that engines are built, kept,
compared and fed as they should be; it shows nothing about TensorRT itself. `test_tensorrt` holds
its names to those of TensorRT's published bindings, 10.3 and 11.

Its trouble is set by a test: `unreadable`, `unbuildable`, `wrong` (engines give wrong numbers for
"all" batches, or for "large" ones of more than 1), `kind` (the name of the type of outputs),
`refused` (names of calls that are refused, with a reason in the log).
`builds` has the shapes of every engine that was built, `workspaces` what each might take.
"""

import ctypes
import enum
import functools
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime

trouble = SimpleNamespace(
    unreadable=False, unbuildable=False, wrong="", kind="FLOAT", refused=set()
)
builds, workspaces = [], []
__version__ = "10.3.0"


class ILogger:
    class Severity(enum.Enum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2


def _may_refuse(answer):
    """A call that a test may let fail: the log tells why, the answer tells that."""

    def wrapped(call):
        @functools.wraps(call)
        def made(self, *arguments):
            if call.__name__ in trouble.refused:
                self._logger.log(ILogger.Severity.ERROR, f"no\n{call.__name__} today")
                return answer
            return call(self, *arguments)

        return made

    return wrapped


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class BuilderFlag(enum.IntEnum):
    TF32 = 7


class MemoryPoolType(enum.Enum):
    WORKSPACE = 0


class TensorIOMode(enum.Enum):
    INPUT = 1
    OUTPUT = 2


class IProgressMonitor:
    pass


class Runtime:
    def __init__(self, logger):
        assert isinstance(logger, ILogger)
        self._logger = logger

    @_may_refuse(None)
    def deserialize_cuda_engine(self, content):
        head, _, network = content.partition(b"\n")
        described = json.loads(head)
        if described["version"] != __version__:
            return None
        return _Engine(described, network, self._logger)


class Builder:
    def __init__(self, logger):
        if "Builder" in trouble.refused:  # as where the driver is too old
            raise TypeError("pybind11::init(): factory function returned nullptr")
        self._logger = logger

    @_may_refuse(None)
    def create_network(self, flags):
        assert flags == 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED
        return SimpleNamespace(content=None, get_input=_first_input)

    @_may_refuse(None)
    def create_builder_config(self):
        return _Config(self._logger)

    def create_optimization_profile(self):
        return _Profile(self._logger)

    def build_serialized_network(self, network, config):
        config.progress_monitor.phase_start("building", None, 2)
        for step in range(2):
            if not config.progress_monitor.step_complete("building", step):
                return None
        config.progress_monitor.phase_finish("building")
        if trouble.unbuildable:
            self._logger.log(ILogger.Severity.ERROR, "no kernel\nfor this layer")
            return None
        assert BuilderFlag.TF32 in config.cleared
        builds.append(config.shapes)
        workspaces.append(config.workspace)
        config.timings.content += b"timed;"
        head = {
            "version": __version__,
            "shapes": config.shapes,
            "wrong": trouble.wrong,
        }
        return json.dumps(head).encode() + b"\n" + network.content


class OnnxParser:
    def __init__(self, network, logger):
        self._network = network
        self.num_errors = 0

    def parse_from_file(self, path):
        if trouble.unreadable:
            self.num_errors = 2
            return False
        self._network.content = Path(path).read_bytes()
        _first_input.shape = tuple(
            side.dim_value if side.HasField("dim_value") else -1
            for side in onnx.load(path).graph.input[0].type.tensor_type.shape.dim
        )
        return True

    def get_error(self, number):
        return SimpleNamespace(desc=lambda: f"operator {number}\nis unknown")


def _first_input(number):
    return SimpleNamespace(shape=_first_input.shape)


class _Profile:
    def __init__(self, logger):
        self._logger = logger

    def set_shape(self, name, *shapes):
        if "set_shape" in trouble.refused:
            raise RuntimeError("Shape provided for min is inconsistent with other shapes.")
        least, best, most = shapes
        self.shapes = {name: [least, best, most]}


class _Config:
    def __init__(self, logger):
        self._logger = logger
        self.cleared, self.shapes, self.workspace = set(), {}, None

    def set_memory_pool_limit(self, pool, size):
        assert pool is MemoryPoolType.WORKSPACE
        self.workspace = size

    def clear_flag(self, flag):
        self.cleared.add(flag)

    @_may_refuse(-1)
    def add_optimization_profile(self, profile):
        self.shapes = profile.shapes
        return 0

    def create_timing_cache(self, content):
        if content and not content.startswith((b"timed;", b"foreign")):
            self._logger.log(ILogger.Severity.ERROR, "the cache is corrupt")
            return None
        return ITimingCache(bytes(content), self._logger)

    def set_timing_cache(self, cache, ignore_mismatch):
        assert ignore_mismatch is False
        self.timings = cache
        return not cache.content.startswith(b"foreign")

    def get_timing_cache(self):
        return self.timings


class ITimingCache:
    def __init__(self, content, logger):
        self.content, self._logger = content, logger

    @_may_refuse(None)
    def serialize(self):
        return self.content


class _Engine:
    def __init__(self, described, network, logger):
        self._described, self._logger = described, logger
        self.session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
        self._nodes = [*self.session.get_inputs(), *self.session.get_outputs()]
        self.num_io_tensors = len(self._nodes)
        self.wrong = described["wrong"]

    def get_tensor_name(self, number):
        return self._nodes[number].name

    def get_tensor_mode(self, name):
        inputs = [node.name for node in self.session.get_inputs()]
        return TensorIOMode.INPUT if name in inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name):
        is_input = self.get_tensor_mode(name) is TensorIOMode.INPUT
        return SimpleNamespace(name="FLOAT" if is_input else trouble.kind)

    def get_tensor_shape(self, name):
        shape = next(node.shape for node in self._nodes if node.name == name)
        return tuple(side if isinstance(side, int) else -1 for side in shape)

    def get_tensor_profile_shape(self, name, profile):
        assert profile == 0
        return [tuple(shape) for shape in self._described["shapes"][name]]

    @_may_refuse(None)
    def create_execution_context(self):
        return _Context(self, self._logger)


class _Context:
    def __init__(self, engine, logger):
        self._engine, self._logger = engine, logger
        self._addresses, self._shape = {}, None

    @_may_refuse(False)
    def set_input_shape(self, name, shape):
        shapes = self._engine._described["shapes"]
        if shapes:
            least, _, most = shapes[name]
            if not least[0] <= shape[0] <= most[0] or list(shape[1:]) != list(most[1:]):
                self._logger.log(ILogger.Severity.ERROR, "the profile has no such shape")
                return False
        self._shape, self._name = tuple(shape), name
        found = self._engine.session.run(None, {name: np.zeros(shape, np.float32)})
        outputs = self._engine.session.get_outputs()
        self._shapes = {o.name: value.shape for o, value in zip(outputs, found, strict=True)}
        return True

    def get_tensor_shape(self, name):
        return self._shapes[name]

    @_may_refuse(False)
    def set_tensor_address(self, name, address):
        assert address % 256 == 0, f"{name} lies at {address % 256} of 256 bytes"
        self._addresses[name] = address
        return True

    @_may_refuse(False)
    def execute_async_v3(self, stream):
        assert stream == 7
        images = _memory(self._addresses[self._name], self._shape, np.float32)
        kind = {"FLOAT": np.float32, "HALF": np.float16}[trouble.kind]
        names = list(self._shapes)
        for name, value in zip(
            names, self._engine.session.run(names, {self._name: images}), strict=True
        ):
            if self._engine.wrong == "all" or (self._engine.wrong == "large" and len(images) > 1):
                value = value[..., ::-1]  # noqa: PLW2901
            _memory(self._addresses[name], self._shapes[name], kind)[...] = value
        return True


def _memory(address, shape, dtype):
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    held = (ctypes.c_char * size).from_address(address)
    return np.frombuffer(held, dtype).reshape(shape)
