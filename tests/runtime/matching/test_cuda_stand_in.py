"""The stand-in for CuPy fails where a GPU would, or would go wrong in silence."""

import subprocess
import sys

import numpy as np
import pytest

from support.machine import STAND_INS
from zeroline.runtime.matching.launches import kernel_source


@pytest.fixture(autouse=True)
def only_the_stand_in(cupy):
    if not hasattr(cupy, "counts"):
        pytest.skip("for the stand-in")


PROBES = """
extern "C" __global__ void __launch_bounds__(32) reach(int* values, int place) {
  if (threadIdx.x == 0) values[place] = 1;
}
extern "C" __global__ void __launch_bounds__(32) remember(float* values) {
  __shared__ float kept[32];
  values[threadIdx.x] = kept[threadIdx.x];
  values[32 + threadIdx.x] = shared_floats()[threadIdx.x];
  kept[threadIdx.x] = shared_floats()[threadIdx.x] = 1;
}
"""

REACH = """
import sys
import cupy, numpy
source = open(sys.argv[1]).read()
reach = cupy.RawModule.of_source(source).get_function("reach")
for _ in range(3):  # memory ends at a page twice, and begins at one
    reach((1,), (32,), (cupy.zeros(24, dtype=numpy.int32), numpy.int32(sys.argv[2])))
print("unharmed")
"""


@pytest.fixture
def probes(tmp_path):
    host = kernel_source((STAND_INS / "cuda_on_host.hpp").read_text())
    source = tmp_path / "probes.cpp"
    source.write_text(host + PROBES)
    return source


@pytest.mark.parametrize(("place", "harmed"), [(23, False), (24, True), (-1, True)])
def test_no_kernel_reaches_beyond_its_arrays(probes, place, harmed):
    script = f"import sys; sys.path.insert(0, {str(STAND_INS)!r})\n{REACH}"
    done = subprocess.run(
        [sys.executable, "-c", script, str(probes), str(place)],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert ("unharmed" in done.stdout) == (not harmed), done.stderr


def test_shared_memory_holds_nothing_at_the_start(cupy, probes):
    remember = cupy.RawModule.of_source(probes.read_text()).get_function("remember")
    values = cupy.zeros((2, 32), dtype=np.float32)
    for _ in range(2):
        remember((2,), (32,), (values,), shared_mem=4 * 32)
        assert np.isnan(values.get()).all()
    assert np.isnan(cupy.empty(3, np.float32).get()).all()


@pytest.mark.parametrize("name", ["nanpercentile", "linalg", "testing", "vectorize"])
def test_only_names_that_are_known(cupy, name):
    with pytest.raises(AttributeError, match=name):
        getattr(cupy, name)


def test_arrays_have_only_methods_of_cupy_s(cupy):
    with pytest.raises(AttributeError, match="searchsorted"):
        cupy.zeros(3).searchsorted(1)


def test_what_a_device_is_asked_for_is_counted(cupy):
    values = cupy.asarray(np.arange(6.0).reshape(2, 3))
    cupy.counts.clear()
    mask = values > 2
    assert cupy.counts == {"launches": 1}
    values[mask] = 0
    assert cupy.counts["waits"] == 1  # the host asks how many are marked
    cupy.counts.clear()
    assert float(values.sum()) == 3
    assert (cupy.counts["launches"], cupy.counts["waits"]) == (1, 1)
    cupy.counts.clear()
    cupy.copyto(values, cupy.where(values > 1, values, -values))
    assert cupy.counts["waits"] == 0
    with pytest.raises(TypeError, match="Unsupported type"):
        values + np.ones(3)
