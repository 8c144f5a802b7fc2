"""What is used of CuPy, on the host.

Arrays are NumPy's, and as strict as CuPy's: they do not mix with arrays of the host, and only
`get` brings them home. Kernels are the real sources, run thread by thread (cuda_on_host.hpp);
cuBLAS's product is NumPy's, on the addresses, strides and transpositions that it is given.
"""

import ctypes
import hashlib
import subprocess
import tempfile
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy
from numpy import bool_, float16, float32, float64, inf, int32, nan  # noqa: F401

__version__ = "stand-in"

#: Whether asynchronous copies land as late as the kernel's waits allow, or at once.
copies_land_late = True


def _foreign(value):
    return isinstance(value, numpy.ndarray) and not isinstance(value, ndarray) and value.ndim


def _plain(value):
    return value.view(numpy.ndarray) if isinstance(value, ndarray) else value


def _refuse(*values):
    if any(_foreign(value) for value in values):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")


class ndarray(numpy.ndarray):  # noqa: N801
    def get(self):
        return numpy.array(self)

    @property
    def data(self):
        return SimpleNamespace(ptr=self.ctypes.data)

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **options):
        _refuse(*inputs)
        if out:
            options["out"] = tuple(array.view(numpy.ndarray) for array in out)
        made = getattr(ufunc, method)(*map(_plain, inputs), **options)
        return out[0] if out else numpy.asarray(made).view(ndarray)

    def __getitem__(self, place):
        _refuse(*(place if isinstance(place, tuple) else (place,)))
        return super().__getitem__(place)

    def __setitem__(self, place, value):
        _refuse(value, *(place if isinstance(place, tuple) else (place,)))
        super().__setitem__(place, value)


def _own(function):
    def made(*arguments, **options):
        _refuse(*arguments)
        return numpy.asarray(function(*arguments, **options)).view(ndarray)

    return made


def asarray(values, dtype=None):
    return numpy.array(values, dtype=dtype).view(ndarray)


def __getattr__(name):
    function = getattr(numpy, name)
    return _own(function) if callable(function) else function


#: Work that streams were asked for, in order: (stream's pointer, what).
queued = []


class _Stream(nullcontext):
    def __init__(self, non_blocking=False, ptr=7):
        assert non_blocking is False  # else CUDA's default stream does not wait for it
        super().__init__()
        self.ptr = ptr

    def record(self):
        queued.append((self.ptr, "record"))
        return self.ptr

    def wait_event(self, event):
        queued.append((self.ptr, f"wait for {event}"))


_default = _Stream(ptr=1)


class RawModule:
    """The kernels of a source, compiled by the host's compiler."""

    def __init__(self, *, code, options):
        del options
        here = Path(__file__).parent
        from zeroline.runtime.matching.cuda import kernel_source

        assert code == kernel_source()  # the real primitives stand in front
        source = kernel_source((here / "cuda_on_host.hpp").read_text())
        names = ("fused_keys", "tile_keys", "measure")
        source += "".join(f"LAUNCHER({name})\n" for name in names)
        stamp = hashlib.sha256(source.encode()).hexdigest()[:16]
        made = Path(tempfile.gettempdir()) / f"zeroline-kernels-{stamp}.so"
        if not made.exists():
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "kernels.cpp").write_text(source)
                command = ["g++", "-std=c++17", "-O2", "-w", "-shared", "-fPIC", "kernels.cpp"]
                subprocess.run([*command, "-o", "kernels.so"], cwd=folder, check=True)
                (Path(folder) / "kernels.so").replace(made)
        self._library = ctypes.CDLL(str(made))

    def get_function(self, name):
        launch = getattr(self._library, f"launch_{name}")

        def call(grid, block, arguments):
            values = [_as_argument(argument) for argument in arguments]
            pointers = [ctypes.cast(ctypes.pointer(v), ctypes.c_void_p) for v in values]
            launch(
                grid[0], grid[1] if len(grid) > 1 else 1, block[0], int(copies_land_late),
                (ctypes.c_void_p * len(pointers))(*pointers),
            )  # fmt: skip

        return call


def _as_argument(value):
    if isinstance(value, ndarray):
        assert value.flags.c_contiguous
        return ctypes.c_void_p(value.ctypes.data)
    if isinstance(value, numpy.int32):
        return ctypes.c_int(int(value))
    assert isinstance(value, numpy.float32), f"{type(value)} is no argument of a kernel"
    return ctypes.c_float(float(value))


def _columns_first(address, dtype, rows, columns, leading, stride, count):
    """See memory as cuBLAS does: `count` matrices, columns first, `leading` values apart."""
    size = numpy.dtype(dtype).itemsize
    span = (count - 1) * stride + (columns - 1) * leading + rows
    flat = numpy.frombuffer((ctypes.c_char * (span * size)).from_address(address), dtype)
    shape = (count, rows, columns)
    strides = (stride * size, size, leading * size)
    return numpy.lib.stride_tricks.as_strided(flat, shape, strides, writeable=True)


def _gemm_strided_batched(
    handle, turn_a, turn_b, m, n, k, alpha, a, type_a, lda, stride_a, b, type_b, ldb, stride_b,
    beta, c, type_c, ldc, stride_c, count, compute, algorithm,
):  # fmt: skip
    assert (handle, compute, algorithm) == (11, 68, -1)
    types = {0: float32, 2: float16}
    sides = []
    for address, kind, rows, columns, leading, stride, turned in (
        (a, type_a, m, k, lda, stride_a, turn_a),
        (b, type_b, k, n, ldb, stride_b, turn_b),
    ):
        shape = (columns, rows) if turned else (rows, columns)
        side = _columns_first(address, types[kind], *shape, leading, stride, count)
        sides.append((side.transpose(0, 2, 1) if turned else side).astype(float32))
    scale, keep = (ctypes.cast(p, ctypes.POINTER(ctypes.c_float))[0] for p in (alpha, beta))
    out = _columns_first(c, types[type_c], m, n, ldc, stride_c, count)
    out[...] = scale * (sides[0] @ sides[1]) + (keep * out if keep else 0)


class _Random:
    def __init__(self, seed):
        self._drawn = numpy.random.default_rng(seed)

    def standard_normal(self, size, dtype):
        return asarray(self._drawn.standard_normal(size, dtype=dtype))


def get_default_memory_pool():
    return SimpleNamespace(free_bytes=lambda: 0, used_bytes=lambda: 0)


random = SimpleNamespace(default_rng=_Random)
cuda = SimpleNamespace(
    Stream=_Stream,
    cublas=SimpleNamespace(gemmStridedBatchedEx=_gemm_strided_batched),
    get_cublas_handle=lambda: 11,
    get_current_stream=lambda: _default,
    runtime=SimpleNamespace(
        getDevice=lambda: 0,
        getDeviceCount=lambda: 1,
        memGetInfo=lambda: (6 << 30, 8 << 30),
        deviceSynchronize=lambda: None,
        getDeviceProperties=lambda _: {
            "name": b"Stand-in", "major": 8, "minor": 7, "l2CacheSize": 4 << 20,
        },
    ),
)  # fmt: skip
