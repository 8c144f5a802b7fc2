"""The CUDA kernels against plain searches: bit for bit, in all orders of threads.

They run on the host (tests/support/stand_ins), each array between pages that nobody may touch.
"""

import os

import numpy as np
import pytest

from support.machine import STAND_INS
from support.plain_keys import filled_units, plain_keys
from zeroline.runtime.matching.launches import kernel_source, matching_kernels
from zeroline.runtime.matching.units import IGNORED_KEY, CudaUnits, Marks, Sides

ORDERS = ("forward", "backward", "shuffled", "one warp ahead")


@pytest.fixture(params=ORDERS)
def order(request, cupy, monkeypatch):
    monkeypatch.setattr(cupy, "order", request.param, raising=False)
    return request.param


def keys_of(cupy, units, sides, marks, *, kernels=None):
    """Row and column keys (2, S, W, P) as `fused_keys` leaves them; what it does not write is 7."""
    shape = units.scales, units.slots, units.patches
    rows = cupy.full(shape, 7, dtype=np.int32)
    columns = cupy.full(shape, 0x7FFFFFFF, dtype=np.int32)
    (kernels or units.kernels).fused_keys(
        (sides.rows, sides.half_norms, sides.codes, units.rows, units._half_norms, units._codes),
        units.table, marks.reachable, units.slots, units.patches, units._most, units._margin,
        rows, columns,
    )  # fmt: skip
    return rows.get(), columns.get()


def assert_same(cupy, found, wanted):
    """Bit for bit on the host; on a GPU, whose tensor cores sum in their own order, by value."""
    for mine, theirs in zip(found, wanted, strict=True):
        if hasattr(cupy, "counts"):
            np.testing.assert_array_equal(mine, theirs)
            continue
        np.testing.assert_array_equal(mine >= IGNORED_KEY, theirs >= IGNORED_KEY)
        there = theirs < IGNORED_KEY
        values, plain = (keys[there].view(np.float32) for keys in (mine, theirs))
        np.testing.assert_allclose(values, plain, rtol=1e-3, atol=2e-5)


SHAPES = [  # channels of each scale, patches of each tile, slots
    ((3,), (1,), 2),
    ((32,), (49,), 2),
    ((70, 32), (20, 9), 2),
    ((64,), (129,), 2),
    ((96,), (196,), 1),
]


@pytest.mark.parametrize(("channels", "tiles", "slots"), SHAPES)
def test_keys_are_those_of_a_plain_search(cupy, order, channels, tiles, slots, monkeypatch):
    for late in (True, False):
        monkeypatch.setattr(cupy, "copies_land_late", late, raising=False)
        units, sides, marks = filled_units(cupy, channels, tiles, slots, seed=len(order))
        assert_same(cupy, keys_of(cupy, units, sides, marks), plain_keys(units, sides, marks))


@pytest.mark.skipif("ZEROLINE_LONG" not in os.environ, reason="minutes: set ZEROLINE_LONG")
@pytest.mark.parametrize("channels", [32, 64, 96, 192, 384, 768, 1024])
@pytest.mark.parametrize("patches", [1, 49, 127, 128, 129, 196, 257, 400, 1024, 1369])
def test_keys_in_the_long_form(cupy, patches, channels, monkeypatch):
    if patches * channels > 400 * 1024 and (patches, channels) != (1369, 1024):
        pytest.skip("one large case is enough")
    order = ORDERS[(patches + channels // 32) % 4]
    monkeypatch.setattr(cupy, "order", order, raising=False)
    monkeypatch.setattr(cupy, "copies_land_late", patches % 2 == 0, raising=False)
    units, sides, marks = filled_units(cupy, (channels,), (patches,), 1, seed=patches)
    assert_same(cupy, keys_of(cupy, units, sides, marks), plain_keys(units, sides, marks))


LOOP = "      await_copies<STAGES - 2>();\n      __syncthreads();\n"
REUSE = "  await_copies<0>();\n  __syncthreads();\n"
LAST = "least;\n  }\n  __syncthreads();\n  if (thread < BLOCK"


@pytest.mark.parametrize(
    ("there", "broken", "shows_in"),
    [
        (LOOP, LOOP.replace("      __syncthreads();\n", ""), "one warp ahead"),
        (REUSE, REUSE.replace("  __syncthreads();\n", ""), "one warp ahead"),
        (LAST, LAST.replace("  __syncthreads();\n", ""), "one warp ahead"),
        (LOOP, LOOP.replace("STAGES - 2", "STAGES - 1"), "forward"),
    ],
    ids=["barrier of the loop", "barrier before reuse", "last barrier", "a wait too few"],
)
def test_the_stand_in_sees_a_missing_barrier(cupy, monkeypatch, there, broken, shows_in):
    """In turn, warps go in lockstep: the barrier before the tiles' reuse was not missed there."""
    if not hasattr(cupy, "counts"):
        pytest.skip("for the stand-in")
    host = kernel_source((STAND_INS / "cuda_on_host.hpp").read_text())
    assert host.count(there) == 1
    monkeypatch.setattr(cupy, "order", shows_in)
    units, sides, marks = filled_units(cupy, (64,), (196,), 1, seed=1)
    wanted = plain_keys(units, sides, marks)
    kernels = matching_kernels(cupy)
    module = cupy.RawModule.of_source(host.replace(there, broken))
    monkeypatch.setitem(kernels.by_name, "fused_keys", module.get_function("fused_keys"))
    found = keys_of(cupy, units, sides, marks, kernels=kernels)
    assert any((mine != theirs).any() for mine, theirs in zip(found, wanted, strict=True))


def test_values_come_out_in_the_middle_of_what_a_key_can_tell(cupy):
    """Keys cut values off below: of 1369 patches 4.5e-5 in the mean."""
    units, sides, marks = filled_units(cupy, (64,), (196,), 3, seed=2, all_reachable=True)
    to_slots, from_slots = (cupy.empty((1, 3, 196), np.float32) for _ in range(2))
    units.match(sides, marks, to_slots, from_slots)
    rows = sides.rows.get().reshape(196, 64).astype(np.float64)
    held = units.rows.get().reshape(3, 196, 64).astype(np.float64)
    codes = units._codes.get()[0]
    off = []
    for slot in range(3):
        square = ((rows[:, None] - held[slot]) ** 2).sum(axis=2) / 2
        square[:, codes[slot] >= IGNORED_KEY] = np.inf
        least = square.min(axis=1)
        there = least > 0.02  # nearer ones are measured anew
        off.append((to_slots.get()[0, slot] / np.maximum(least, 1e-9) - 1)[there])
    assert sum(map(len, off)) > 500
    assert abs(np.concatenate(off).mean()) < 2e-6
    assert np.abs(np.concatenate(off)).max() < 2e-5


def test_rounding_under_zero_wins_nothing(cupy):
    """A product larger than its norms: its key was negative, and won where the patch is hidden."""
    units = CudaUnits(1, (32,), [slice(0, 2)], cupy=cupy)
    rows = np.zeros((2, 32), np.float16)
    rows[:, 0] = 1
    made, norms = units.rounded([rows])
    hidden = units.marks(np.array([True, False]), np.ones(1, bool))
    units.put(0, Sides(made, norms - np.float32(4e-5), hidden.codes))  # as if sums were cut off
    to_slots, from_slots = (cupy.empty((1, 1, 2), np.float32) for _ in range(2))
    sides = Sides(
        made, norms - np.float32(4e-5), units.marks(np.ones(2, bool), np.ones(1, bool)).codes
    )
    units.match(sides, hidden, to_slots, from_slots)
    assert to_slots.get().ravel().tolist() == [0, 0]
    assert from_slots.get().ravel().tolist() == [np.inf, np.inf]
    keys = keys_of(cupy, units, sides, hidden)
    assert all((of >= 0).all() for of in keys)


def test_a_slot_out_of_reach_and_an_absent_patch(cupy, order):
    units, sides, _ = filled_units(cupy, (40, 24), (16, 9), 3, seed=3)
    absent = cupy.asarray((np.arange(25) == 4).astype(np.int32))
    reachable = cupy.asarray(np.array([1, 0, 1], np.int32))
    to_slots, from_slots = (cupy.empty((2, 3, 25), np.float32) for _ in range(2))
    units.match(sides, Marks(sides.codes, absent, reachable), to_slots, from_slots)
    found = to_slots.get(), from_slots.get()
    assert all(np.isinf(one[:, 1]).all() for one in found)
    assert (found[0][:, [0, 2], 4] == 0).all()
    plain = [cupy.empty((2, 3, 25), np.float32) for _ in range(2)]
    units.match(sides, Marks(sides.codes, absent * 0, reachable), *plain)
    others = np.arange(25) != 4
    np.testing.assert_array_equal(found[0][..., others], plain[0].get()[..., others])
    np.testing.assert_array_equal(found[1], plain[1].get())


def test_shared_memory_is_asked_for(cupy):
    """Two blocks of 48 KiB need 98 of the 100 KiB that sm_86, 89 and 120 have to give."""
    assert matching_kernels(cupy).by_name["fused_keys"].preferred_shared_memory_carveout == 100
