"""What zeroline uses of TensorRT, run by onnxruntime on host memory.

TensorRT cannot be had without NVIDIA's servers. This stand-in shows that engines are built, kept,
compared and fed as they should be; it shows nothing about TensorRT itself. `test_tensorrt` holds
its names to those of TensorRT's published bindings, 10.3 and 11.

Its trouble is set by a test: `unreadable`, `unbuildable`, `wrong` (engines give wrong numbers),
`kind` (the name of the type of outputs).
`builds` has the shapes of every engine that was built.
"""

import ctypes
import enum
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime

trouble = SimpleNamespace(unreadable=False, unbuildable=False, wrong=False, kind="FLOAT")
builds = []
__version__ = "10.3.0"


class ILogger:
    class Severity(enum.Enum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2


class Logger(ILogger):
    ERROR = ILogger.Severity.ERROR

    def __init__(self, least):
        assert least is ILogger.Severity.ERROR


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class BuilderFlag(enum.IntEnum):
    TF32 = 7


class TensorIOMode(enum.Enum):
    INPUT = 1
    OUTPUT = 2


class IProgressMonitor:
    pass


class Runtime:
    def __init__(self, logger):
        assert isinstance(logger, ILogger)

    def deserialize_cuda_engine(self, content):
        head, _, network = content.partition(b"\n")
        described = json.loads(head)
        return _Engine(described, network) if described["version"] == __version__ else None


class Builder:
    def __init__(self, logger):
        self._logger = logger

    def create_network(self, flags):
        assert flags == 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED
        return SimpleNamespace(content=None, get_input=_first_input)

    def create_builder_config(self):
        return _Config()

    def create_optimization_profile(self):
        return _Profile()

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
    def set_shape(self, name, *shapes):
        least, best, most = shapes
        self.shapes = {name: [least, best, most]}


class _Config:
    def __init__(self):
        self.cleared, self.shapes = set(), {}

    def clear_flag(self, flag):
        self.cleared.add(flag)

    def add_optimization_profile(self, profile):
        self.shapes = profile.shapes

    def create_timing_cache(self, content):
        cache = SimpleNamespace(content=bytes(content))
        cache.serialize = lambda: cache.content
        return cache

    def set_timing_cache(self, cache, ignore_mismatch):
        assert ignore_mismatch is False
        self.timings = cache
        return not cache.content.startswith(b"foreign")

    def get_timing_cache(self):
        return self.timings


class _Engine:
    def __init__(self, described, network):
        self._described = described
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

    def create_execution_context(self):
        return _Context(self)


class _Context:
    def __init__(self, engine):
        self._engine = engine
        self._addresses, self._shape = {}, None

    def set_input_shape(self, name, shape):
        shapes = self._engine._described["shapes"]
        if shapes:
            least, _, most = shapes[name]
            if not least[0] <= shape[0] <= most[0] or list(shape[1:]) != list(most[1:]):
                return False
        self._shape, self._name = tuple(shape), name
        found = self._engine.session.run(None, {name: np.zeros(shape, np.float32)})
        outputs = self._engine.session.get_outputs()
        self._shapes = {o.name: value.shape for o, value in zip(outputs, found, strict=True)}
        return True

    def get_tensor_shape(self, name):
        return self._shapes[name]

    def set_tensor_address(self, name, address):
        self._addresses[name] = address
        return True

    def execute_async_v3(self, stream):
        assert stream == 7
        images = _memory(self._addresses[self._name], self._shape, np.float32)
        kind = {"FLOAT": np.float32, "HALF": np.float16}[trouble.kind]
        names = list(self._shapes)
        for name, value in zip(
            names, self._engine.session.run(names, {self._name: images}), strict=True
        ):
            value = value[..., ::-1] if self._engine.wrong else value  # noqa: PLW2901
            _memory(self._addresses[name], self._shapes[name], kind)[...] = value
        return True


def _memory(address, shape, dtype):
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    held = (ctypes.c_char * size).from_address(address)
    return np.frombuffer(held, dtype).reshape(shape)
