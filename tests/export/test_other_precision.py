"""int8 and half precision of a bundle, by the command, on pictures in a folder."""

import json

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import helper, numpy_helper

from support.small_network import SIZE, build_network
from zeroline.edge_app.cli import main
from zeroline.edge_app.images import find_images, read_image
from zeroline.export.errors import ExportError
from zeroline.export.other_precision import export_other_precision
from zeroline.export.precision import SampleFrames
from zeroline.export.wrap import InputRules, wrap_onnx
from zeroline.runtime import load_bundle
from zeroline.runtime.batch import embed_images
from zeroline.runtime.errors import ParityError
from zeroline.runtime.network.parity import LIMITS


def zeroline(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture
def samples(image_folder):
    frames = [read_image(file.path) for file in find_images([image_folder]).files]
    return SampleFrames(frames[:4], frames[4:])


def types_of(model):
    return {tensor.data_type for tensor in model.graph.initializer}


def test_int8_of_a_bundle(bundle_folder, image_folder, tmp_path):
    output = tmp_path / "small8"
    done = zeroline(
        "export", "precision", bundle_folder, "--precision", "int8",
        "--calibration", image_folder, "--calibration-images", 4, "--output", output,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    manifest = json.loads((output / "manifest.json").read_text())
    assert manifest["precision"] == "int8"
    assert manifest["kept_in_float32"] == []
    assert manifest["parity"]["tokens_0_cosine"] > LIMITS["int8"].cosine
    model = onnx.load(output / "model.onnx")
    assert {entry.domain for entry in model.opset_import} == {""}
    quantised = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    zeros = {t.name: t.data_type for t in model.graph.initializer if t.name.endswith("zero_point")}
    assert {zeros[node.input[2]] for node in quantised} == {onnx.TensorProto.UINT8}
    for weights, channels in (("w0", 16), ("w1", 24), ("wc", 12)):
        scale = next(t for t in model.graph.initializer if t.name == f"{weights}_scale")
        assert list(scale.dims) == [channels]

    scored = zeroline("score", image_folder, "--model", output, "--output", tmp_path / "results")
    assert scored.exit_code == 0, scored.output
    frames = [read_image(file.path) for file in find_images([image_folder]).files]
    with load_bundle(bundle_folder) as plain, load_bundle(output) as int8:
        wanted, actual = embed_images(frames, plain), embed_images(frames, int8)
    assert not np.array_equal(wanted.layers[0], actual.layers[0])
    error = np.abs(wanted.layers[0] - actual.layers[0]).max() / np.abs(wanted.layers[0]).max()
    assert error < 0.05


def test_half_precision_of_a_bundle(bundle_folder, tmp_path):
    output = tmp_path / "half"
    done = zeroline("export", "precision", bundle_folder, "--precision", "fp16", "--output", output)
    assert done.exit_code == 0, done.output
    model = onnx.load(output / "model.onnx")
    weights = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    assert weights["w0"] == onnx.TensorProto.FLOAT  # the first convolution
    assert weights["w1/half"] == onnx.TensorProto.FLOAT16


def uneven_bundle(folder):
    """A network whose second layer int8 spoils: one of its inputs drowns all others."""
    model = build_network()
    graph = model.graph
    spread = np.ones((1, 16, 1, 1), np.float32)
    spread[0, 3] = 1e4
    graph.initializer.append(numpy_helper.from_array(spread, "spread"))
    weights = next(t for t in graph.initializer if t.name == "w1")
    smaller = numpy_helper.to_array(weights) / spread
    weights.CopyFrom(numpy_helper.from_array(smaller.astype(np.float32), "w1"))
    nodes = list(graph.node)
    place = next(i for i, node in enumerate(nodes) if "w1" in node.input)
    nodes[place].input[0] = "uneven"
    nodes[place].name = "spoilt"
    nodes.insert(place, helper.make_node("Mul", ["a0", "spread"], ["uneven"]))
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.save(model, folder / "uneven.onnx")
    half = (0.5, 0.5, 0.5)
    rules = InputRules(size=SIZE, mean=half, std=half)
    wrap_onnx(folder / "uneven.onnx", folder / "uneven", rules=rules)
    return folder / "uneven"


def test_a_network_that_int8_spoils_is_refused(tmp_path, samples):
    with pytest.raises(
        ParityError,
        match=r"^int8 does not follow float32: tokens_1: cosine 0\.\d+, at least 0.98",
    ):
        export_other_precision(
            uneven_bundle(tmp_path), tmp_path / "out" / "int8", precision="int8", samples=samples
        )
    assert not list((tmp_path / "out").iterdir())


def test_bad_requests_are_refused_in_one_line(bundle_folder, image_folder, tmp_path, samples):
    def refused(bundle, *arguments):
        done = zeroline("export", "precision", bundle, *arguments, "--output", tmp_path / "o")
        assert done.exit_code == 1
        assert len(done.output.splitlines()) == 1
        assert not (tmp_path / "o").exists()
        return done.output

    int8 = ("--precision", "int8")
    assert "--calibration DIR with at least 10 pictures" in refused(bundle_folder, *int8)
    assert "with at least 11 pictures" in refused(
        bundle_folder, *int8, "--calibration", image_folder, "--calibration-images", 9
    )
    fp16 = ("--precision", "fp16")
    assert "is neither a folder nor a bundled model" in refused(tmp_path / "none", *fp16)
    export_other_precision(bundle_folder, tmp_path / "half", precision="fp16")
    assert 'bundle "half" is fp16; from fp32' in refused(tmp_path / "half", *fp16)
    with pytest.raises(ExportError, match='bundle "small" is fp32; from fp32 to fp16 or int8'):
        export_other_precision(bundle_folder, tmp_path / "o", precision="fp32")
    with pytest.raises(ExportError, match='precision "fp8": fp32 or fp16 or int8 is expected'):
        export_other_precision(bundle_folder, tmp_path / "o", precision="fp8", samples=samples)
