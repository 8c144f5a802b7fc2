"""Engines: built once, kept, compared, fed. By a stand-in, which see for what this shows."""

import hashlib
import importlib
import json
import os
import re
import sys

import numpy as np
import pytest
from click.testing import CliRunner

from support.machine import STAND_INS
from support.small_network import SIZE, write_bundle
from zeroline.edge_app.cli import main
from zeroline.runtime import load_bundle
from zeroline.runtime.errors import DeviceError, MissingExtraError, ParityError
from zeroline.runtime.network.onnxruntime import DeviceMemory, OnnxRuntimeSession, run_bound
from zeroline.runtime.network.tensorrt import Batches


@pytest.fixture
def trt(monkeypatch, tmp_path):
    """The stand-in as `tensorrt`, beside one for CuPy."""
    monkeypatch.syspath_prepend(STAND_INS)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("tensorrt", "cupy"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module("tensorrt")
    monkeypatch.setattr(importlib.import_module("cupy"), "alignment", 512)
    yield module
    for name in ("tensorrt", "cupy"):
        sys.modules.pop(name, None)


@pytest.fixture
def images():
    return np.random.default_rng(3).standard_normal((5, 3, SIZE, SIZE), dtype=np.float32)


def engines(folder):
    return sorted(path.name for path in folder.glob("*.engine"))


def open_tensorrt(folder):
    lines: list[str] = []
    return load_bundle(folder, device="tensorrt", report=lines.append), lines


def test_an_engine_is_built_once_and_does_what_the_network_does(trt, own_bundle, images):
    bundle, lines = open_tensorrt(own_bundle)
    assert lines[0].startswith('building a TensorRT engine of bundle "bundle" for Stand-in')
    for images_at_a_time in ("1 image", "8 images"):
        compared = (
            f"the TensorRT engine ({images_at_a_time} at a time) against its ONNX file on the "
        )
        assert any(line.startswith(compared + "CPU: least cosine 1.0") for line in lines)
    assert bundle.session.device == "tensorrt"
    assert bundle.session.providers == ("TensorRT 10.3.0",)
    made = bundle.embed(images)
    wanted = load_bundle(own_bundle, device="cpu").embed(images)
    assert type(made.class_tokens).__module__ == "cupy"
    np.testing.assert_allclose(made.class_tokens.get(), wanted.class_tokens, atol=1e-6)
    for got, want in zip(made.layers, wanted.layers, strict=True):
        np.testing.assert_allclose(got.get(), want, atol=1e-5)

    again, lines = open_tensorrt(own_bundle)
    assert lines == []
    assert len(trt.builds) == 1
    assert len(again.embed(images)) == 5
    (engine,) = (own_bundle / "engines").glob("*.engine")
    notes = json.loads(engine.with_suffix(".json").read_text())
    assert notes["key"]["gpu"] == {"name": "Stand-in", "capability": "8.7"}
    assert notes["key"]["batches"] == {"least": 1, "best": 1, "most": 8}
    assert notes["parity"]["patch_rank_correlation"] > 0.999


def test_more_images_than_the_engine_takes_go_in_parts(trt, own_bundle, images):
    CliRunner().invoke(main, ["export", "engine", str(own_bundle), "--batch", "1,1,2"])
    bundle, lines = open_tensorrt(own_bundle)
    assert lines == []  # an engine for other batches does
    wanted = load_bundle(own_bundle, device="cpu").embed(images)
    np.testing.assert_allclose(
        bundle.embed(images).class_tokens.get(), wanted.class_tokens, atol=1e-6
    )


def test_a_batch_outside_the_profile_is_filled_up_or_split(trt, own_bundle):
    """`--batch 4,4,8` was built, and then refused its own comparison."""
    done = CliRunner().invoke(main, ["export", "engine", str(own_bundle), "--batch", "4,4,8"])
    assert done.exit_code == 0, done.output
    bundle, lines = open_tensorrt(own_bundle)
    assert lines == []
    many = np.random.default_rng(4).standard_normal((19, 3, SIZE, SIZE), dtype=np.float32)
    wanted = load_bundle(own_bundle, device="cpu").embed(many)
    cupy = importlib.import_module("cupy")
    for count in (1, 3, 4, 5, 8, 9, 19):
        for images in (many[:count], cupy.asarray(many[:count])):
            made = bundle.embed(images)
            assert [len(layer) for layer in made.layers] == [count, count]
            np.testing.assert_allclose(
                made.class_tokens.get(), wanted.class_tokens[:count], atol=1e-6
            )


@pytest.mark.parametrize(("batches", "wrong"), [("1,1,8", 8), ("2,4,6", 2), ("4,4,4", 4)])
def test_the_smallest_and_the_largest_batch_are_compared(trt, own_bundle, batches, wrong):
    """Single images were compared only: an engine with wrong numbers for eight was kept."""
    trt.trouble.wrong = "large"
    done = CliRunner().invoke(main, ["export", "engine", str(own_bundle), "--batch", batches])
    assert done.exit_code == 1
    assert f"({wrong} images at a time) does not follow its ONNX file" in done.stderr
    assert not engines(own_bundle / "engines")


def test_addresses_are_aligned(trt, own_bundle, images):
    """A part of a larger array was handed over where it lay."""
    bundle, _ = open_tensorrt(own_bundle)
    cupy = importlib.import_module("cupy")
    room = cupy.empty(images.size + 1, dtype=cupy.float32)
    room[1:] = cupy.asarray(images.reshape(-1))
    made = bundle.embed(room[1:].reshape(images.shape))
    wanted = load_bundle(own_bundle, device="cpu").embed(images)
    np.testing.assert_allclose(made.class_tokens.get(), wanted.class_tokens, atol=1e-6)


@pytest.mark.parametrize(
    ("call", "line"),
    [
        ("Builder", "TensorRT 10.3.0 cannot begin an engine: pybind11::init(): factory"),
        ("create_network", "TensorRT 10.3.0 cannot begin a network: no create_network today"),
        (
            "create_builder_config",
            "TensorRT 10.3.0 cannot begin a configuration: no create_builder_config today",
        ),
        ("set_shape", "TensorRT 10.3.0 does not take batches 1,1,8: Shape provided for min is"),
        (
            "add_optimization_profile",
            "TensorRT 10.3.0 does not take batches 1,1,8: no add_optimization_profile today",
        ),
        ("serialize", "TensorRT 10.3.0 cannot store the timing cache: no serialize today"),
        (
            "deserialize_cuda_engine",
            'TensorRT 10.3.0 cannot load the engine of bundle "bundle": no deserialize_cuda_engine',
        ),
        (
            "create_execution_context",
            'the device may have too little memory for the engine of bundle "bundle": '
            "no create_execution_context today",
        ),
        (
            "set_input_shape",
            'the TensorRT engine of bundle "bundle" does not take images of shape '
            "(1, 3, 64, 64): no set_input_shape today",
        ),
        (
            "set_tensor_address",
            'the TensorRT engine of bundle "bundle" does not take the address of "images": '
            "no set_tensor_address today",
        ),
        (
            "execute_async_v3",
            'the TensorRT engine of bundle "bundle" cannot be run: no execute_async_v3 today',
        ),
    ],
)
def test_a_call_that_is_refused_ends_with_a_line(trt, own_bundle, call, line):
    trt.trouble.refused = {call}
    done = CliRunner().invoke(main, ["export", "engine", str(own_bundle)])
    assert done.exit_code == 1
    assert f"Error: {line}" in done.stderr
    assert not engines(own_bundle / "engines")


def test_a_build_leaves_half_of_what_is_free(trt, own_bundle, monkeypatch, tmp_path):
    """On a Jetson one memory holds it all: TensorRT would take as much as the device has."""
    cupy = importlib.import_module("cupy")
    open_tensorrt(own_bundle)
    assert len(cupy.freed) == 1
    assert trt.workspaces == [3 << 30]  # of 6 GiB that are free
    about = tmp_path / "meminfo"
    about.write_text("MemTotal: 7800000 kB\nMemFree: 9 kB\nMemAvailable:    2097152 kB\n")
    monkeypatch.setattr("zeroline.runtime.cuda._HOST", about)
    orin = {"name": b"Orin", "major": 8, "minor": 7, "integrated": 1}
    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceProperties", lambda _: orin)
    open_tensorrt(own_bundle)
    assert trt.workspaces == [3 << 30, 1 << 30]


def test_without_onnxruntime_the_bundle_tells_what_it_should_give(trt, own_bundle, monkeypatch):
    """An engine was kept without a comparison where onnxruntime was not installed."""
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    for count in (1, 8):
        trt.trouble.wrong = "all" if count == 1 else "large"
        with pytest.raises(
            ParityError, match=rf"\({count} images? at a time\) does not follow what"
        ):
            open_tensorrt(own_bundle)
    trt.trouble.wrong = ""
    bundle, lines = open_tensorrt(own_bundle)
    assert bundle.session.device == "tensorrt"
    assert sum("against what the bundle says of drawn frames: least cos" in x for x in lines) == 2
    (engine,) = (own_bundle / "engines").glob("*.engine")
    notes = json.loads(engine.with_suffix(".json").read_text())
    assert notes["parity"]["patch_rank_correlation"] > 0.9999
    assert notes["parity"]["image_score_change"] < 1e-3


def test_a_bundle_of_before_without_onnxruntime_is_not_compared(trt, own_bundle, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    path = own_bundle / "manifest.json"
    content = json.loads(path.read_text())
    del content["files"]["drawn.npz"], content["checksum"]
    path.write_text(json.dumps(content))
    _, lines = open_tensorrt(own_bundle)
    assert any("is not compared" in line and "export it anew" in line for line in lines)


@pytest.mark.parametrize(
    ("machine", "cure"),
    [
        ("x86_64", 'pip install ".[cuda13]", or ".[cuda12]" with a driver before 580'),
        ("aarch64", 'pip install ".[jetpack6]" on JetPack 6, ".[cuda13]" on JetPack 7'),
    ],
)
def test_without_cupy_the_hint_is_for_the_machine(trt, own_bundle, monkeypatch, machine, cure):
    monkeypatch.setattr("zeroline.runtime.cuda.find_spec", lambda _: None)
    monkeypatch.setattr("platform.machine", lambda: machine)
    done = CliRunner().invoke(main, ["export", "engine", str(own_bundle)])
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: CuPy is not installed")
    assert cure in done.stderr


def test_the_engine_runs_between_the_callers_work(trt, own_bundle, images):
    bundle, _ = open_tensorrt(own_bundle)
    cupy = importlib.import_module("cupy")
    cupy.queued.clear()
    bundle.embed(images)
    assert cupy.queued == [
        (1, "record"), (7, "wait for 1"), (7, "record"), (1, "wait for 7"),
    ]  # fmt: skip


def test_types_of_outputs_are_asked_for(trt, own_bundle, images):
    """Float16 outputs were once read as float32."""
    trt.trouble.kind = "HALF"
    bundle, _ = open_tensorrt(own_bundle)
    made, wanted = bundle.embed(images), load_bundle(own_bundle, device="cpu").embed(images)
    assert made.class_tokens.dtype == np.float32
    np.testing.assert_allclose(made.class_tokens.get(), wanted.class_tokens, atol=1e-3)
    trt.trouble.kind = "BF16"
    with pytest.raises(DeviceError, match=r'tensor "\w+" of type BF16, FLOAT or HALF is expected$'):
        open_tensorrt(own_bundle)


def test_a_network_with_a_fixed_batch(trt, tmp_path, images):
    write_bundle(tmp_path / "two", batch=2)
    bundle, _ = open_tensorrt(tmp_path / "two")
    assert len(bundle.embed(images)) == 5


def test_the_command_builds_for_the_batches_that_are_asked_for(trt, own_bundle):
    done = CliRunner().invoke(main, ["export", "engine", str(own_bundle), "--batch", "1,4,8"])
    assert done.exit_code == 0, done.output
    assert 'bundle "bundle" runs on TensorRT 10.3.0' in done.output
    again = CliRunner().invoke(main, ["export", "engine", str(own_bundle), "--batch", "1,4,16"])
    assert again.exit_code == 0
    assert len(engines(own_bundle / "engines")) == 2
    for batches, message in {
        "4,1,8": "batches 4,1,8: least, preferred and largest",
        "1,8": "'1,8': three whole numbers with commas are expected",
        "0,1,2": "batches 0,1,2: least, preferred and largest, from 1",
    }.items():
        done = CliRunner().invoke(main, ["export", "engine", str(own_bundle), "--batch", batches])
        assert done.exit_code == 2
        assert message in done.output


@pytest.mark.parametrize("what", ["version", "device", "network"])
def test_an_engine_of_another_key_is_not_used(trt, own_bundle, monkeypatch, what):
    open_tensorrt(own_bundle)
    if what == "version":
        monkeypatch.setattr(trt, "__version__", "10.7.0")
    elif what == "device":
        cupy = importlib.import_module("cupy")
        other = {"name": b"Other", "major": 8, "minor": 9}
        monkeypatch.setattr(cupy.cuda.runtime, "getDeviceProperties", lambda _: other)
    else:
        path = own_bundle / "manifest.json"
        content = json.loads(path.read_text())
        (own_bundle / "notes.txt").write_text("")
        empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        content["files"]["notes.txt"] = empty
        del content["checksum"]
        path.write_text(json.dumps(content))
    open_tensorrt(own_bundle)
    assert len(trt.builds) == 2
    assert len(engines(own_bundle / "engines")) == 2


def test_a_damaged_engine_is_built_anew(trt, own_bundle):
    open_tensorrt(own_bundle)
    (engine,) = (own_bundle / "engines").glob("*.engine")
    engine.write_bytes(engine.read_bytes()[:-100])
    open_tensorrt(own_bundle)
    engine.with_suffix(".json").write_text("{")
    open_tensorrt(own_bundle)
    assert len(trt.builds) == 3


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_bundle_that_cannot_be_written_has_its_engine_in_the_cache(trt, own_bundle, tmp_path):
    own_bundle.chmod(0o555)
    open_tensorrt(own_bundle)
    own_bundle.chmod(0o755)
    assert len(engines(tmp_path / "cache" / "zeroline" / "engines")) == 1


def test_a_file_in_the_place_of_the_engines_leads_to_the_cache(trt, own_bundle, tmp_path):
    (own_bundle / "engines").write_text("")
    open_tensorrt(own_bundle)
    assert len(engines(tmp_path / "cache" / "zeroline" / "engines")) == 1
    open_tensorrt(own_bundle)
    assert len(trt.builds) == 1


def test_no_engine_with_wrong_numbers_is_kept(trt, own_bundle):
    trt.trouble.wrong = "all"
    with pytest.raises(
        ParityError,
        match=r'^the TensorRT engine of bundle "bundle" \(1 image at a time\) does not '
        "follow its ONNX file on the CPU: tokens_0: ",
    ):
        open_tensorrt(own_bundle)
    assert len(trt.builds) == 1
    assert not engines(own_bundle / "engines")


def test_an_engine_that_cannot_be_built(trt, own_bundle):
    trt.trouble.unbuildable = True
    with pytest.raises(DeviceError) as caught:
        open_tensorrt(own_bundle)
    assert str(caught.value) == (
        f'TensorRT 10.3.0 cannot build "{own_bundle / "model.onnx"}": no kernel for this layer'
    )


def test_a_tensorrt_without_strong_types_is_refused(trt, own_bundle, monkeypatch):
    flags = trt.enum.IntEnum("NetworkDefinitionCreationFlag", {"EXPLICIT_BATCH": 0})
    monkeypatch.setattr(trt, "NetworkDefinitionCreationFlag", flags)
    with pytest.raises(DeviceError, match=r"^TensorRT 10\.3\.0 has no flag STRONGLY_TYPED"):
        open_tensorrt(own_bundle)


def test_a_network_that_tensorrt_cannot_read(trt, own_bundle):
    trt.trouble.unreadable = True
    done = CliRunner().invoke(main, ["export", "engine", str(own_bundle)])
    assert done.exit_code == 1
    assert "operator 0 is unknown; operator 1 is unknown" in done.output


def test_an_interrupted_build_keeps_nothing(trt, own_bundle, monkeypatch):
    monkeypatch.setattr("zeroline.runtime.network.tensorrt._REPORT_EVERY", 0)

    def report(line):
        if line.startswith("TensorRT: building, 1 of 2"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_bundle(own_bundle, device="tensorrt", report=report)
    assert trt.builds == []
    assert not engines(own_bundle / "engines")


def test_timings_go_on_where_they_ended(trt, own_bundle):
    CliRunner().invoke(main, ["export", "engine", str(own_bundle)])
    CliRunner().invoke(main, ["export", "engine", str(own_bundle), "--batch", "1,2,4"])
    (timings,) = (own_bundle / "engines").glob("*.timing")
    assert timings.name == "10.3.0-Stand-in-8.7.timing"
    assert timings.read_bytes().endswith(b"timed;timed;")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "the timing cache is damaged, a new one is begun"),
        (b"cut", "the timing cache is damaged, a new one is begun"),
        (b"refused", "the timing cache is of another device or TensorRT, a new one is begun"),
        (b"foreign", "the timing cache is of another device or TensorRT, a new one is begun"),
    ],
)
def test_a_timing_cache_that_does_not_serve_begins_anew(trt, own_bundle, content, line):
    """A cache that TensorRT could not read ended the build, or went into it."""
    CliRunner().invoke(main, ["export", "engine", str(own_bundle)])
    (timings,) = (own_bundle / "engines").glob("*.timing")
    whole = timings.read_bytes()
    if line.startswith("the timing cache is damaged"):
        timings.write_bytes(whole[:-3] if content else content)
    else:
        timings.write_bytes(hashlib.sha256(content).digest() + content)
    done = CliRunner().invoke(main, ["export", "engine", str(own_bundle), "--batch", "1,2,5"])
    assert done.exit_code == 0, done.output
    assert line in done.output
    assert timings.read_bytes().endswith(b"timed;")
    assert b"timed;timed;" not in timings.read_bytes()


@pytest.mark.parametrize("version", ["8.6.1", "10.2.0"])
def test_versions_that_do_not_serve(trt, own_bundle, monkeypatch, version):
    monkeypatch.setattr(trt, "__version__", version)
    with pytest.raises(DeviceError, match=f"TensorRT is {version}; from 10.0 on, but not 10.2.0"):
        open_tensorrt(own_bundle)


def test_cupy_that_cannot_run_a_kernel(trt, own_bundle, monkeypatch):
    cupy = importlib.import_module("cupy")

    def failing(*_):
        raise RuntimeError("cudaErrorNoKernelImageForDevice: no kernel image\nis available")

    monkeypatch.setattr(cupy, "arange", failing)
    with pytest.raises(DeviceError, match=r"cannot compile and run .*: cudaErrorNoKernelImage"):
        open_tensorrt(own_bundle)


@pytest.mark.parametrize(
    ("machine", "cure"),
    [
        (
            "x86_64",
            'pip install ".[tensorrt-cu13]", or ".[tensorrt-cu12]" with a driver before 580',
        ),
        ("aarch64", "it comes with JetPack: make the environment by python3 -m venv --system-site"),
    ],
)
def test_without_tensorrt_one_line_says_how_to_get_it(own_bundle, monkeypatch, machine, cure):
    if importlib.util.find_spec("tensorrt"):
        pytest.skip("TensorRT is installed")
    monkeypatch.setattr("platform.machine", lambda: machine)
    done = CliRunner().invoke(main, ["export", "engine", str(own_bundle)])
    assert done.exit_code == 1
    assert done.output.startswith("Error: TensorRT is not installed and is needed to run engines")
    with pytest.raises(MissingExtraError, match=re.escape(cure)):
        load_bundle(own_bundle, device="tensorrt")


def test_the_stand_in_has_only_names_that_tensorrt_has(trt):
    """And the sources use no other: what the stand-in lacks fails in the tests above."""
    known = json.loads((STAND_INS / "tensorrt_names.json").read_text())
    stands_for = {
        "_Config": "IBuilderConfig", "_Profile": "IOptimizationProfile", "_Engine": "ICudaEngine",
        "_Context": "IExecutionContext", "ITimingCache": "ITimingCache",
    }  # fmt: skip
    own = {"_Config": {"cleared", "shapes", "timings"}, "_Engine": {"session", "wrong"}}
    checked = 0
    for name, part in vars(trt).items():
        real = stands_for.get(name, name)
        if not isinstance(part, type) or real not in known["both"]:
            continue
        there = {attribute for attribute in vars(part) if not attribute.startswith("_")}
        allowed = set(known["both"][real]) | own.get(name, set())
        assert there <= allowed, name
        checked += 1
    assert checked == 14


def test_bound_buffers_agree_with_plain_runs(own_bundle, images):
    """What CUDA does with CuPy's buffers, with NumPy's on the CPU."""
    session = OnnxRuntimeSession(own_bundle / "model.onnx", device="cpu")
    wanted = session.run("images", images)
    memory = DeviceMemory(np, "cpu")
    for count in (5, 2, 5):
        made = run_bound(session._session, "images", images[:count], memory)
        assert made.keys() == wanted.keys()
        for name, value in made.items():
            np.testing.assert_allclose(value, wanted[name][:count], atol=1e-6)


def test_batches_in_order():
    with pytest.raises(DeviceError, match="batches 2,1,8"):
        Batches(2, 1, 8)
