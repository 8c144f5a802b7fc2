"""onnxruntime's CUDA provider, by stand-ins on the host: falls back, compares, orders streams."""

import importlib
import json
import os
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from support.small_network import SIZE
from zeroline.edge_app.cli import main
from zeroline.runtime import load_bundle
from zeroline.runtime.cuda import free_device_memory, installed_cupy, working_cupy
from zeroline.runtime.errors import (
    DeviceError,
    MissingExtraError,
    ParityError,
    ProviderWarning,
)
from zeroline.runtime.network.onnxruntime import preload


@pytest.fixture
def cuda(hosted_cuda):
    return hosted_cuda


@pytest.fixture
def images():
    return np.random.default_rng(3).standard_normal((5, 3, SIZE, SIZE), dtype=np.float32)


def fail(message):
    def failing(*_, **__):
        raise RuntimeError(message)

    return failing


def spoil_driver(cupy, monkeypatch):
    text = "cudaErrorInsufficientDriver: CUDA driver version is insufficient"
    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", fail(text))
    return f"find a CUDA device: {text}"


def spoil_compiler(cupy, monkeypatch):
    monkeypatch.setattr(cupy, "arange", fail("CuPy failed to load libnvrtc.so.12"))
    return "compile and run a kernel (NVRTC): CuPy failed to load libnvrtc.so.12"


def spoil_products(cupy, monkeypatch):
    monkeypatch.setattr(cupy.ndarray, "__matmul__", fail("libcublas.so.12: not found"))
    return "multiply matrices (cuBLAS): libcublas.so.12: not found"


def spoil_sorting(cupy, monkeypatch):
    monkeypatch.setattr(cupy, "sort", lambda rows, axis: rows, raising=False)
    return (
        "sort (Thrust): it gives [[2.0, 0.0, 1.0], [1.0, 2.0, 0.0]], "
        "[[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]] is expected"
    )


@pytest.mark.parametrize("spoil", [spoil_driver, spoil_compiler, spoil_products, spoil_sorting])
def test_what_cupy_cannot_do_leads_to_the_cpu_in_one_line(cuda, bundle_folder, monkeypatch, spoil):
    """A raw CUDARuntimeError once ended device "auto" where there was no driver."""
    reason = spoil(cuda[1], monkeypatch)
    with pytest.warns(ProviderWarning) as told:
        bundle = load_bundle(bundle_folder, device="auto")
    assert [str(warning.message) for warning in told] == [
        "network and scores are on the CPU, CUDA cannot be used: CuPy stand-in cannot " + reason
    ]
    assert bundle.session.device == "cpu"
    assert bundle.session.arrays is np
    with pytest.raises(DeviceError) as caught:
        load_bundle(bundle_folder, device="cuda")
    assert str(caught.value) == "CuPy stand-in cannot " + reason


def test_commands_tell_the_line_and_go_on(cuda, own_bundle, image_folder, tmp_path, monkeypatch):
    reason = spoil_driver(cuda[1], monkeypatch)
    command = ["score", str(image_folder), "--model", str(own_bundle), "--output"]
    done = CliRunner().invoke(main, [*command, str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert done.stderr.count("CUDA cannot be used") == 1
    done = CliRunner().invoke(main, [*command, str(tmp_path / "more"), "--device", "cuda"])
    assert done.exit_code == 1
    assert done.stderr == f"Error: CuPy stand-in cannot {reason}\n"


@pytest.mark.parametrize(
    ("machine", "cure"),
    [
        ("x86_64", 'pip install ".[cuda13]", or ".[cuda12]" with a driver before 580'),
        (
            "aarch64",
            'pip install ".[jetpack6]" on JetPack 6, ".[cuda13]" on JetPack 7 (docs/install.md)',
        ),
    ],
)
def test_without_cupy_one_line_says_how_to_get_it(cuda, bundle_folder, monkeypatch, machine, cure):
    monkeypatch.setattr("zeroline.runtime.cuda.find_spec", lambda _: None)
    monkeypatch.setattr("platform.machine", lambda: machine)
    line = (
        "CuPy is not installed and is needed to score on a CUDA device; in a clone of zeroline: "
        + cure
    )
    with pytest.warns(ProviderWarning, match="^network and scores are on the CPU.* CuPy is not"):
        assert load_bundle(bundle_folder).session.device == "cpu"
    with pytest.raises(MissingExtraError) as caught:
        load_bundle(bundle_folder, device="cuda")
    assert str(caught.value) == line


def test_a_cupy_that_cannot_be_imported(monkeypatch, tmp_path, bundle_folder):
    """A numpy that does not fit once raised ImportError from every command."""
    (tmp_path / "cupy.py").write_text("raise ImportError('numpy 1.25 is too old\\nfor this')")
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path))
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    line = "CuPy is installed and cannot be imported: numpy 1.25 is too old"
    with pytest.raises(DeviceError, match=f"^{line}$"):
        installed_cupy()
    with pytest.raises(DeviceError, match=f"^{line}$"):
        working_cupy()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # where the network is on the CPU nobody asks
        assert load_bundle(bundle_folder).session.device == "cpu"


@pytest.mark.parametrize("absent", [True, False], ids=["not loaded", "no memory"])
def test_a_provider_that_does_not_work(cuda, bundle_folder, absent):
    hosted, _ = cuda
    hosted.absent = absent
    hosted.broken = "" if absent else "CUDA failure 2: out of memory\nand more"
    reason = (
        "CUDAExecutionProvider was asked for, CPUExecutionProvider is in use"
        if absent
        else "CUDA failure 2: out of memory"
    )
    with pytest.warns(ProviderWarning) as told:
        assert load_bundle(bundle_folder).session.device == "cpu"
    assert len(told) == 1
    assert reason in str(told[0].message)
    with pytest.raises(DeviceError, match=reason):
        load_bundle(bundle_folder, device="cuda")


def test_what_onnxruntime_prints_is_told_and_not_printed(cuda, bundle_folder, monkeypatch, capsys):
    """Standard output has lines of JSON."""
    import onnxruntime

    def printing():
        sys.stdout.write("Failed to load libcudnn.so.9\n")

    levels: list[int] = []
    monkeypatch.setattr(onnxruntime, "preload_dlls", printing, raising=False)
    monkeypatch.setattr(onnxruntime, "set_default_logger_severity", levels.append)
    cuda[0].absent = True
    with pytest.warns(ProviderWarning, match=r"is in use: Failed to load libcudnn\.so\.9$"):
        load_bundle(bundle_folder)
    assert capsys.readouterr().out == ""
    assert levels == [4, 2]  # its own lines would say it again
    monkeypatch.delattr(onnxruntime, "preload_dlls")
    assert preload() == ""  # 1.20


def test_products_are_in_float32_and_memory_grows_as_asked(cuda, bundle_folder):
    load_bundle(bundle_folder, device="cuda")
    assert cuda[0].options == [
        {
            "use_tf32": "0",
            "arena_extend_strategy": "kSameAsRequested",
            "cudnn_conv_algo_search": "HEURISTIC",
            "user_compute_stream": "7",
        }
    ]


def test_cuda_is_compared_with_the_cpu_once(cuda, own_bundle, images):
    lines: list[str] = []
    bundle = load_bundle(own_bundle, device="auto", report=lines.append)
    assert bundle.session.device == "cuda"
    (line,) = lines
    assert line.startswith("the network on CUDA against its ONNX file on the CPU: least cosine 1.0")
    made, wanted = bundle.embed(images), load_bundle(own_bundle, device="cpu").embed(images)
    assert type(made.class_tokens).__module__ == "cupy"
    np.testing.assert_allclose(made.class_tokens.get(), wanted.class_tokens, atol=1e-6)
    (notes,) = (own_bundle / "engines").glob("cuda-*.json")
    assert json.loads(notes.read_text())["parity"]["patch_rank_correlation"] > 0.999
    load_bundle(own_bundle, device="cuda", report=lines.append)
    assert len(lines) == 1
    notes.write_text("{")
    load_bundle(own_bundle, device="cuda", report=lines.append)
    assert len(lines) == 2


def test_wrong_numbers_on_cuda_are_not_used(cuda, own_bundle):
    cuda[0].factor = -1.0
    line = 'the network on CUDA of bundle "bundle" does not follow its ONNX file on the CPU: '
    with pytest.warns(ProviderWarning, match=line):
        assert load_bundle(own_bundle).session.device == "cpu"
    with pytest.raises(ParityError, match=f"^{line}"):
        load_bundle(own_bundle, device="cuda")
    assert not list((own_bundle / "engines").glob("*"))


def test_the_network_runs_between_the_callers_work(cuda, bundle_folder, images):
    """Under a caller's non-blocking stream both ways were a race."""
    _, cupy = cuda
    bundle = load_bundle(bundle_folder, device="cuda", report=lambda _: None)
    cupy.queued.clear()
    bundle.embed(images)
    assert cupy.queued == [
        (1, "record"), (7, "wait for 1"), (7, "run"), (7, "record"), (1, "wait for 7"),
    ]  # fmt: skip


def test_memory_of_a_device(cuda, monkeypatch):
    _, cupy = cuda
    assert free_device_memory(cupy) == 6 << 30
    shared = {"name": b"Orin", "major": 8, "minor": 7, "integrated": 1}
    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceProperties", lambda _: shared)
    assert free_device_memory(cupy) is None


@pytest.mark.parametrize("writable", [True, False])
def test_kernels_are_kept_beside_engines(monkeypatch, tmp_path, writable):
    (tmp_path / "cupy.py").write_text("")
    if not writable:
        (tmp_path / "zeroline").write_text("")  # a file in its place
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    for name in ("CUPY_CACHE_DIR", "CUPY_CACHE_IN_MEMORY"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    installed_cupy()
    sys.modules.pop("cupy")
    importlib.invalidate_caches()
    if writable:
        assert os.environ["CUPY_CACHE_DIR"] == str(tmp_path / "zeroline" / "kernels")
        assert (tmp_path / "zeroline" / "kernels").is_dir()
    else:
        assert os.environ["CUPY_CACHE_IN_MEMORY"] == "1"
        # CuPy 14 makes the folder as it is imported, or else cannot be imported
        assert Path(os.environ["CUPY_CACHE_DIR"]).is_dir()
