"""What the extras for GPUs would install on other machines: asked of pip, nothing is installed."""

from __future__ import annotations

import pytest
from trials.installs import ENGINES, NOT_SERVED, SERVED, Wheel, bindings, extra, resolve


@pytest.fixture(scope="module")
def _index() -> None:
    if resolve(["numpy"], machine="x86_64", python="3.12", alone=True).refused:
        pytest.skip("no package index answers")


@pytest.mark.usefixtures("_index")
@pytest.mark.parametrize(("name", "machine", "python", "cuda"), SERVED)
def test_an_extra_brings_packages_of_one_cuda(name, machine, python, cuda):
    """A CUDA 12 machine once got onnxruntime-gpu 1.31, which is built for CUDA 13."""
    resolved = resolve(extra(name), machine=machine, python=python, alone=True)
    assert resolved.wheels, resolved.refused
    versions = resolved.cuda_versions()
    assert f"cupy-cuda{cuda}x" in versions
    assert ("onnxruntime-gpu" in versions) == (name != "jetpack6")
    assert set().union(*versions.values()) == {cuda}, versions


@pytest.mark.usefixtures("_index")
@pytest.mark.parametrize(("name", "machine", "python"), NOT_SERVED)
def test_pip_refuses_where_there_is_no_wheel(name, machine, python):
    resolved = resolve(extra(name), machine=machine, python=python, alone=True)
    assert "No matching distribution found for onnxruntime-gpu" in resolved.refused


@pytest.mark.usefixtures("_index")
@pytest.mark.parametrize(("name", "machine", "python", "cuda"), ENGINES)
def test_tensorrt_is_of_the_cuda_that_its_extra_names(name, machine, python, cuda):
    """The extra `tensorrt` took the newest, of CUDA 13, on a machine with CUDA 12."""
    resolved = resolve(bindings(name), machine=machine, python=python, alone=True)
    assert resolved.wheels, resolved.refused
    assert resolved.cuda_versions() == {f"tensorrt-cu{cuda}-bindings": {cuda}}
    (wheel,) = resolved.wheels.values()
    assert int(wheel.version.split(".")[0]) >= 10


def test_cupy_comes_with_what_it_compiles_with():
    """CuPy's wheels have neither NVRTC nor cuBLAS nor headers; its extra [ctk] brings them."""
    for name in ("cuda12", "cuda13"):
        (cupy,) = (r for r in extra(name) if r.startswith("cupy"))
        (engine,) = (r for r in extra(name) if r.startswith("onnxruntime"))
        assert "[ctk]>=14" in cupy
        assert "[cuda,cudnn]" in engine
    assert any(r.startswith("nvidia-cuda-runtime-cu12==12.6") for r in extra("jetpack6"))


@pytest.mark.parametrize(
    ("wheel", "versions"),
    [
        (Wheel("cupy-cuda12x", "14.2.0", ()), {12}),
        (Wheel("onnxruntime-gpu", "1.26.0", ("nvidia-cuda-nvrtc-cu12~=12.0",)), {12}),
        (Wheel("onnxruntime-gpu", "1.31.1", ("nvidia-cuda-nvrtc~=13.0; extra",)), {13}),
        (Wheel("nvidia-cudnn-cu13", "9.28", ()), {13}),
        (Wheel("tensorrt-cu12-bindings", "11.4.0.106", ()), {12}),
        (Wheel("cuda-toolkit", "13.5.0", ()), {13}),
        (Wheel("nvidia-cufft", "12.5.0", ()), set()),  # of CUDA 13, with its own numbers
        (Wheel("numpy", "2.5.5", ("typing-extensions",)), set()),
    ],
)
def test_metadata_tell_the_version_of_cuda(wheel, versions):
    assert wheel.cuda_versions() == versions
