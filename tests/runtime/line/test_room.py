"""What a line says that it takes, against the bytes that live: on a device, and on the host."""

import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest

from support.windows import line_parts
from zeroline.runtime import Tokens
from zeroline.runtime.errors import DeviceError, ProviderWarning
from zeroline.runtime.grid import Grid
from zeroline.runtime.line import shape as shapes
from zeroline.runtime.line.finest import SearchTable
from zeroline.runtime.line.room import LineMemory, placed_shape
from zeroline.runtime.line.shape import WindowShape
from zeroline.runtime.line.slots import Slot
from zeroline.runtime.matching.forms import FORMS
from zeroline.runtime.stages.threshold import ThresholdRule
from zeroline.runtime.workers import WorkerPool

ON_CUDA = ("fp16-fused", "float32-plain")
PATCHES, CHANNELS, DEGREES, CAPACITY = 36, (64, 32), (1, 3), 6


def push(line, number, xp, *, tiles):
    """One frame through the parts of a line, as `Passage` sends it."""
    rng = np.random.default_rng((1, number))
    patches = line.window.shape.patches
    layers = [rng.standard_normal((1, patches, c)).astype(np.float32) for c in CHANNELS]
    token = np.eye(1, 8, number % 8, dtype=np.float32)
    tokens = Tokens(tuple(map(xp.asarray, layers)), xp.asarray(token), tiles)
    tokens = tokens.checked()[1]
    slot = Slot(number, None, line.contents.placed(tokens))
    del tokens
    matches = line.contents.matched(slot)
    compared = line.contents.compared(matches, roi=np.ones(patches, bool), copies=False)
    assert compared.admitted
    line.contents.admit(compared.place, slot, matches)
    line.judge.judge(slot, compared, ThresholdRule())


@pytest.mark.parametrize("tiles", [(1, 1), (1, 2)])
@pytest.mark.parametrize("form", ON_CUDA)
def test_bytes_on_a_device_are_those_that_live(cupy_stand_in, form, tiles):
    """Held within 1 %: beside it lie tables of some hundred bytes. At its peak within 10 %."""
    cupy = cupy_stand_in
    patches = PATCHES * tiles[1]
    with WorkerPool(1) as pool:
        line = line_parts((CAPACITY, patches, CHANNELS, DEGREES, form, None, tiles), pool, xp=cupy)
        memory = LineMemory.of(line.window.shape, on_device=True)
        for number in range(CAPACITY + 1):
            cupy.memory.most = cupy.memory.used
            push(line, number, cupy, tiles=tiles)
        held = memory.features + memory.distances
        assert held == line.window.store.nbytes + line.window.half_squared.nbytes
        assert held <= cupy.memory.used <= 1.01 * held
        frame = cupy.memory.most - cupy.memory.used
        assert 0.9 * memory.frame <= frame <= 1.1 * memory.frame
        tokens = [slot.tokens for _, slot in line.slots.in_order()]
        layers = [layer for one in tokens for layer in one.layers]
        assert {type(layer) for layer in layers} == {np.ndarray}
        assert sum(layer.nbytes for layer in layers) == memory.tokens

        cupy.memory.most = before = cupy.memory.used
        line.window.ignore_patches(3, np.arange(patches) < 5, reachable=line.slots.filled)
        SearchTable.of(line.window, range(CAPACITY))
        assert (
            0.5 * memory.search < cupy.memory.most - before < 1.1 * (memory.search + memory.frame)
        )


@pytest.mark.parametrize("form", ["float32", "float32-plain", "int8", "pca"])
def test_bytes_on_the_host_are_those_that_live(form):
    """Arrays of NumPy's, by Python's own count: within 5 %."""
    if not FORMS[form].available():
        pytest.skip(f"what {form} needs is not here")
    capacity = 36
    with WorkerPool(1) as pool:
        line = line_parts((4, 64, CHANNELS, DEGREES, form), pool)
        push(line, 0, np, tiles=(1, 1))  # imported, and compiled
        tracemalloc.start()
        line = line_parts((capacity, 64, CHANNELS, DEGREES, form), pool)
        for number in range(capacity + 2):
            push(line, number, np, tiles=(1, 1))
        taken = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
    memory = LineMemory.of(line.window.shape, on_device=False)
    held = memory.features + memory.distances + memory.tokens
    assert memory.tokens == 4 * capacity * 64 * sum(CHANNELS)
    assert held <= taken <= 1.05 * held


def test_a_line_in_words():
    shape = WindowShape(64, 196, (768,) * 4, (1, 3, 5), "fp16-fused")
    device, host = LineMemory.of(shape, on_device=True).lines(frames=64, free="5.9 GiB")
    assert device.startswith("memory on the device: up to ")
    assert " of 5.9 GiB that are free: features 222 MiB, distances 37 MiB, a frame on" in device
    assert host == "memory of the host: tokens of 64 held frames 74 MiB (float16)"
    shape = WindowShape(64, 196, (768,) * 4, (1, 3, 5), "float32")
    (line,) = LineMemory.of(shape, on_device=False).lines(frames=64, free="3.0 GiB")
    assert line.startswith("memory: up to ")
    assert line.endswith(", tokens of 64 held frames 147 MiB")
    few = LineMemory.of(shape, on_device=False, searches=False, held=False)
    assert (few.search, few.tokens) == (0, 0)
    assert few.all == few.features + few.distances + few.frame


@pytest.mark.parametrize("named", [True, False])
def test_a_frame_and_a_search_need_room_too(cupy_stand_in, named, monkeypatch):
    """A window that fits with nothing left failed at its first frame."""
    cupy = cupy_stand_in
    grid, roi = Grid.of(PATCHES, (1, 1)), np.ones(PATCHES, bool)
    monkeypatch.setattr(shapes, "pick_form", lambda *_, **__: FORMS["fp16-fused"])
    session = SimpleNamespace(arrays=cupy, named=named)
    sizes = CAPACITY, grid, roi, CHANNELS, DEGREES
    shape = WindowShape.fitting(*sizes, matching="fast", xp=cupy)
    needed = LineMemory.of(shape, on_device=True).beside_tokens
    assert needed > 1.2 * shape.memory
    monkeypatch.setattr(cupy.cuda.runtime, "memGetInfo", lambda: (needed, 8 << 30))
    assert placed_shape(session, *sizes, matching="fast")[1] is cupy
    monkeypatch.setattr(cupy.cuda.runtime, "memGetInfo", lambda: (needed - 1, 8 << 30))
    if named:
        with pytest.raises(DeviceError, match=r"^a window of 6 frames takes .* on the device"):
            placed_shape(session, *sizes, matching="fast")
        return
    with pytest.warns(ProviderWarning, match=r"^the window is on the CPU, .*: a window of 6"):
        assert placed_shape(session, *sizes, matching="fast")[1] is np
