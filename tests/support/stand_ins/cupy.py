"""What is used of CuPy, on the host.

Arrays are NumPy's, and as strict as CuPy's: they do not mix with arrays of the host, and only
`get` brings them home. Kernels are the real sources, run thread by thread (cuda_on_host.hpp), with
pages that nobody may touch round each of their arrays.

Counted is what a GPU would be asked to do: `counts` has launches, waits of the host, and copies to
the device and from it. Functions that are several kernels in CuPy count as such (`_LAUNCHES`), as
far as its sources tell; only names that CuPy 13 and 14 have are here.
"""

import ctypes
import hashlib
import json
import mmap
import re
import subprocess
import tempfile
import weakref
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy
from numpy import (  # noqa: F401
    bool_,
    float16,
    float32,
    float64,
    inf,
    int8,
    int32,
    int64,
    intp,
    nan,
    newaxis,
    pi,
    uint8,
)  # fmt: skip

__version__ = "stand-in"

#: Whether asynchronous copies land as late as the kernel's waits allow, or at once.
copies_land_late = True
#: In which order threads take turns: one of `ORDERS`.
order = "forward"
ORDERS = ("forward", "backward", "shuffled", "one warp ahead")
#: "launches", "waits", "to device", "to host".
counts: Counter[str] = Counter()

#: Kernels of a function of CuPy's, where they are not one. A sort along another axis than the
#: last one turns the array there and back.
_LAUNCHES = {"sort": 3, "partition": 3, "median": 5, "argpartition": 3, "argsort": 3, "empty": 0}
_LAUNCHES |= {"matmul": 1, "isfinite": 1, "broadcast_to": 0, "ascontiguousarray": 0}
_LAUNCHES |= {"flatnonzero": 3, "unique": 6, "nonzero": 3}
_WAITS = {"flatnonzero", "nonzero", "unique"}
#: What CuPy 13 and 14 have: functions that are handed on to NumPy, and methods of arrays.
_NAMES = json.loads((Path(__file__).parent / "cupy_names.json").read_text())


_pinned: list[numpy.ndarray] = []
_under_way: list[tuple[numpy.ndarray, numpy.ndarray]] = []


def _alloc_pinned_memory(size):
    _pinned.append(numpy.empty(size, uint8))
    return _pinned[-1]


def _synchronize():
    """What the current stream has under way arrives."""
    _count("waits")
    for out, values in _under_way:
        out[...] = values
    _under_way.clear()


#: Milliseconds that the device has worked; each launch takes as long as `pace` says of its kernel,
#: or of "others". No more than a clock that a test sets.
clock = 0.0
pace = {"others": 0.01}


def _count(what, times=1, *, name="others"):
    global clock  # noqa: PLW0603
    if broken is not None:
        raise broken
    counts[what] += times
    if what == "launches":
        clock += times * pace.get(name, pace["others"])


def _foreign(value):
    return isinstance(value, numpy.ndarray) and not isinstance(value, ndarray) and value.ndim


def _plain(value):
    if isinstance(value, (list, tuple)):
        return type(value)(map(_plain, value))
    return value.view(numpy.ndarray) if isinstance(value, ndarray) else value


class OutOfMemoryError(MemoryError):
    pass


class CUDARuntimeError(RuntimeError):
    pass


CUDARuntimeError.__module__ = "cupy_backends.cuda.api.runtime"  # as CuPy's, beside no base

#: What every call raises from now on, as after an illegal address; None: the device works.
broken: Exception | None = None


class _Memory:
    """Bytes of what arrays lie in: freed with the last array, as in CuPy's pool.

    `left` allocations succeed before one fails; None: all do.
    """

    def __init__(self):
        self._lives = {}
        self.used = self.most = 0
        self.left = None

    def hold(self, array):
        while isinstance(array.base, numpy.ndarray):
            array = array.base
        number = id(array)
        if number not in self._lives:
            if self.left is not None:
                self.left -= 1
                if self.left == -1:
                    raise OutOfMemoryError(f"Out of memory allocating {array.nbytes:,} bytes")
            self._lives[number] = weakref.finalize(array, self._free, number, array.nbytes)
            self._lives[number].atexit = False
            self.used += array.nbytes
            self.most = max(self.most, self.used)

    def _free(self, number, size):
        del self._lives[number]
        self.used -= size


memory = _Memory()


#: Bytes that an array's memory begins at a multiple of; a test that looks at addresses sets CuPy's
#: own 512. Then an array takes as much more, so bytes are not to be counted.
alignment = 1


def _aligned(array):
    room = numpy.empty(array.nbytes + alignment, uint8)
    start = -room.ctypes.data % alignment
    made = room[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    made[...] = array
    return made


def _own(made):
    array = numpy.asarray(made)
    if array.base is None and alignment > 1:
        array = _aligned(array)
    array = array.view(ndarray)
    memory.hold(array)
    return array


def _refuse(*values):
    if any(_foreign(value) for value in values):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")


def _look_at_place(place, value=None, *, writes):
    """Count what an index costs: a mask is counted on the device, and the host asks for that."""
    places = place if isinstance(place, tuple) else (place,)
    _refuse(value, *places)
    for part in places:
        if isinstance(part, (list, numpy.ndarray)) and numpy.ndim(part):
            if numpy.asarray(part).dtype == bool:
                _count("launches", 2)
                _count("waits")
            if isinstance(part, list):
                _count("to device")
            _count("launches", not writes)
        elif isinstance(part, ndarray):
            _count("waits")
    _count("launches", writes)


class ndarray(numpy.ndarray):  # noqa: N801
    def get(self, *, out=None, blocking=True):
        _count("to host")
        if blocking:
            _synchronize()
        if out is None:
            return numpy.array(self)
        assert (out.shape, out.dtype) == (self.shape, self.dtype)
        if blocking:
            out[...] = self
            return out
        assert any(numpy.shares_memory(out, room) for room in _pinned), "else the host waits"
        out.view(uint8).fill(255)
        _under_way.append((out, numpy.array(self)))
        return out

    @property
    def data(self):
        return SimpleNamespace(ptr=self.ctypes.data)

    def __array_ufunc__(self, ufunc, method, *inputs, out=(), **options):
        _refuse(*inputs)
        _count("launches")
        if out:
            options["out"] = tuple(array.view(numpy.ndarray) for array in out)
        made = getattr(ufunc, method)(*map(_plain, inputs), **options)
        return out[0] if out else _own(made)

    def __getitem__(self, place):
        _look_at_place(place, writes=False)
        return _own(super().__getitem__(_plain(place)))

    def __setitem__(self, place, value):
        _look_at_place(place, value, writes=True)
        self.view(numpy.ndarray)[_plain(place)] = _plain(value)

    def __iter__(self):
        return (self[number] for number in range(len(self)))

    def _waited(self):
        _count("waits")
        _count("to host")
        return self.view(numpy.ndarray)

    def __bool__(self):
        return bool(self._waited())

    def __int__(self):
        return int(self._waited())

    def __float__(self):
        return float(self._waited())

    def item(self, *place):
        return self._waited().item(*place)

    def tolist(self):
        return self._waited().tolist()

    def copy(self, order="C"):
        _count("launches")
        return _own(self.view(numpy.ndarray).copy(order))

    def astype(self, dtype, *, copy=True):
        if not copy and self.dtype == dtype:
            return self
        _count("launches")
        return _own(self.view(numpy.ndarray).astype(dtype))

    def reshape(self, *shape):
        made = self.view(numpy.ndarray).reshape(*shape)
        _count("launches", self.size > 0 and not numpy.shares_memory(made, self))
        return _own(made)


def _reduction(name):
    def reduced(self, *arguments, **options):
        _count("launches", _LAUNCHES.get(name, 1))
        return _own(getattr(self.view(numpy.ndarray), name)(*arguments, **options))

    return reduced


def _not_there(name):
    def asked(_self):
        raise AttributeError(f"CuPy's arrays have no {name}")

    return property(asked)


for _name in _NAMES["reductions of arrays"]:
    setattr(ndarray, _name, _reduction(_name))
for _name in _NAMES["methods that arrays lack"]:
    setattr(ndarray, _name, _not_there(_name))


def _handed_on(name):
    function = getattr(numpy, name)

    def made(*arguments, **options):
        _refuse(*arguments)
        launches = _LAUNCHES.get(name, 1)
        if name in ("sort", "partition") and options.get("axis", -1) in (-1, arguments[0].ndim - 1):
            launches = 1
        _count("launches", launches)
        _count("waits", name in _WAITS)
        plain = {key: _plain(value) for key, value in options.items()}
        if name == "copyto":
            return function(*map(_plain, arguments), **plain)
        result = function(*map(_plain, arguments), **plain)
        if name == "empty":  # what was there before: NaN, and the least whole number
            result.view(uint8).fill(255) if result.ndim and result.size else None
        return tuple(map(_own, result)) if isinstance(result, tuple) else _own(result)

    return made


_given = {name: _handed_on(name) for name in _NAMES["functions"]}


def __getattr__(name):  # beside this module's own any, max, ...
    if name not in _given:
        raise AttributeError(f"CuPy's stand-in has no {name}: add it if CuPy 13 and 14 have it")
    return _given[name]


def asarray(values, dtype=None):
    if isinstance(values, ndarray):
        return values if dtype in (None, values.dtype) else values.astype(dtype)
    _count("to device")
    return _own(numpy.array(_plain(values), dtype=dtype))


#: Work that streams were asked for, in order: (stream's pointer, what).
queued = []
#: Work of streams that others have not waited for: (stream's pointer, function).
_later = []


def work_later(ptr, work):
    """Let a stream do some work; done once another one waits for it, or the host does."""
    _later.append((ptr, work))


def _do(ptr=None):
    mine = [job for job in _later if ptr in (None, job[0])]
    _later[:] = [job for job in _later if job not in mine]
    for _, work in mine:
        work()


class _Stream:
    ptds: "_Stream"
    _current: ClassVar[list["_Stream"]] = []

    def __init__(self, non_blocking=False, ptr=7):
        self.ptr = ptr + 100 * non_blocking

    def __enter__(self):
        self._current.append(self)
        return self

    def __exit__(self, *_):
        self._current.pop()

    def record(self):
        queued.append((self.ptr, "record"))
        return self.ptr

    def wait_event(self, event):
        queued.append((self.ptr, f"wait for {event}"))
        _do(event)


_default = _Stream(ptr=1)
_Stream.ptds = _Stream(ptr=2)


class _Event:
    def record(self):
        self._at = clock

    def synchronize(self):
        _synchronize()


def _get_elapsed_time(begin, end):
    return end._at - begin._at


class _Guarded:
    """Memory of some bytes between pages that nobody may touch; it begins or ends at one."""

    _libc = ctypes.CDLL(None)

    def __init__(self, size):
        page = mmap.PAGESIZE
        self.body = -(-max(size, 1) // page) * page
        self._map = mmap.mmap(-1, self.body + 2 * page)
        whole = numpy.frombuffer(self._map, uint8)
        self._whole = whole[page : page + self.body]
        for start in (whole.ctypes.data, whole.ctypes.data + page + self.body):
            assert self._libc.mprotect(ctypes.c_void_p(start), ctypes.c_size_t(page), 0) == 0

    def room(self, size, *, at_the_end):
        return self._whole[self.body - size :] if at_the_end else self._whole[:size]


class RawModule:
    """The kernels of a source, compiled by the host's compiler."""

    _rooms: ClassVar[dict[tuple[int, int], _Guarded]] = {}
    _calls = 0

    def __init__(self, *, code, options):
        del options
        here = Path(__file__).parent
        from zeroline.runtime.matching.launches import kernel_source

        assert code.isascii()  # it is written with the locale's encoding
        assert code == kernel_source()  # the real primitives stand in front
        self._open(kernel_source((here / "cuda_on_host.hpp").read_text()))

    def _open(self, source):
        self._names = re.findall(r"__launch_bounds__\([\d, ]+\) (\w+)\(", source)
        source += "".join(f"LAUNCHER({name})\n" for name in self._names)
        stamp = hashlib.sha256(source.encode()).hexdigest()[:16]
        made = Path(tempfile.gettempdir()) / f"zeroline-kernels-{stamp}.so"
        if not made.exists():
            with tempfile.TemporaryDirectory() as folder:
                (Path(folder) / "kernels.cpp").write_text(source)
                command = ["g++", "-std=c++17", "-O2", "-w", "-U_FORTIFY_SOURCE", "-shared"]
                command += ["-fPIC", "kernels.cpp", "-o", "kernels.so"]
                subprocess.run(command, cwd=folder, check=True)
                (Path(folder) / "kernels.so").replace(made)
        self._library = ctypes.CDLL(str(made))

    @classmethod
    def of_source(cls, source):
        """Kernels of another source, primitives in front: to try what a fault would do."""
        module = cls.__new__(cls)
        module._open(source)
        return module

    def get_function(self, name):
        assert name in self._names
        launch = getattr(self._library, f"launch_{name}")

        def call(grid, block, arguments, *, shared_mem=0):
            _count("launches", name=name)
            assert shared_mem <= 48 << 10  # more must be asked for
            blocks = (*grid, 1, 1)[:3]
            assert min(blocks) > 0, f"{blocks} blocks: CUDA refuses that"
            assert max(blocks[1:]) < 65536
            held = {}
            values = [_as_argument(argument, held) for argument in arguments]
            pointers = [ctypes.cast(ctypes.pointer(v), ctypes.c_void_p) for v in values]
            launch(
                (ctypes.c_int * 5)(*blocks, block[0], shared_mem), int(copies_land_late),
                ORDERS.index(order), (ctypes.c_void_p * len(pointers))(*pointers),
            )  # fmt: skip
            for array, room in held.values():
                array.view(numpy.ndarray).reshape(-1).view(uint8)[...] = room

        return _Function(call)


class _Function:
    # the attributes that a kernel of CuPy 13 and 14 lets be set; a misspelt one is refused
    __slots__ = ("_call", "max_dynamic_shared_size_bytes", "preferred_shared_memory_carveout")

    # what CuPy tells of a compiled kernel
    num_regs, local_size_bytes, shared_size_bytes = 128, 0, 48 << 10
    kernel = SimpleNamespace(ptr=5)

    def __init__(self, call):
        self._call = call

    def __call__(self, *arguments, **options):
        self._call(*arguments, **options)


def _as_argument(value, held):
    """A kernel's argument; arrays are copied to memory between guard pages."""
    if isinstance(value, ndarray):
        assert value.flags.c_contiguous
        key = value.ctypes.data, value.nbytes
        if key not in held:
            kind = -(-max(value.nbytes, 1) // mmap.PAGESIZE), len(held)
            if kind not in RawModule._rooms:
                RawModule._rooms[kind] = _Guarded(value.nbytes)
            RawModule._calls += 1
            # what lies before it is seen every third time, else what lies behind it
            at_the_end = RawModule._calls % 3 != 0
            room = RawModule._rooms[kind].room(value.nbytes, at_the_end=at_the_end)
            room[...] = value.view(numpy.ndarray).reshape(-1).view(uint8)
            held[key] = value, room
        return ctypes.c_void_p(held[key][1].ctypes.data)
    for kind, c_type in _SCALARS.items():
        if isinstance(value, kind):
            return c_type(value.item())
    raise TypeError(f"{type(value)} is no argument of a kernel")


_SCALARS = {
    numpy.int32: ctypes.c_int, numpy.int64: ctypes.c_longlong, numpy.float32: ctypes.c_float,
}  # fmt: skip


class RawKernel(_Function):
    """A kernel that only takes time: its source is not run."""

    def __init__(self, code, name):
        assert f"void {name}(" in code
        super().__init__(lambda *_: _count("launches", name=name))


class _Random:
    def __init__(self, seed):
        self._drawn = numpy.random.default_rng(seed)

    def standard_normal(self, size, dtype):
        return asarray(self._drawn.standard_normal(size, dtype=dtype))


#: Bytes in use at each time that the pool was told to give back what is free.
freed = []


def get_default_memory_pool():
    return SimpleNamespace(
        free_bytes=lambda: 0, used_bytes=lambda: memory.used, total_bytes=lambda: memory.most,
        free_all_blocks=lambda: freed.append(memory.used),
    )  # fmt: skip


#: Blocks that a multiprocessor takes at a time.
occupancy = 2


random = SimpleNamespace(default_rng=_Random)
cuda = SimpleNamespace(
    Stream=_Stream,
    Event=_Event,
    get_elapsed_time=_get_elapsed_time,
    set_allocator=lambda allocator: None,
    nvrtc=SimpleNamespace(getVersion=lambda: (13, 0)),
    driver=SimpleNamespace(
        occupancyMaxActiveBlocksPerMultiprocessor=lambda function, threads, shared: occupancy
    ),
    get_current_stream=lambda: [_default, *_Stream._current][-1],
    alloc_pinned_memory=_alloc_pinned_memory,
    runtime=SimpleNamespace(
        getDevice=lambda: 0,
        getDeviceCount=lambda: 1,
        driverGetVersion=lambda: 13000,
        runtimeGetVersion=lambda: 13000,
        memGetInfo=lambda: (6 << 30, 8 << 30),
        deviceSynchronize=lambda: (_do(), _synchronize()),
        getDeviceProperties=lambda _: {
            "name": b"Stand-in", "major": 8, "minor": 7, "l2CacheSize": 4 << 20,
        },
    ),
)  # fmt: skip
