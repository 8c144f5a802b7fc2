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
from zeroline.export import precision as precision_module
from zeroline.export.errors import ExportError
from zeroline.export.gate import BundleOriginal
from zeroline.export.int8 import Form, Quantiser
from zeroline.export.other_precision import export_other_precision
from zeroline.export.precision import Shown
from zeroline.export.wrap import InputRules, wrap_onnx
from zeroline.runtime import load_bundle
from zeroline.runtime.batch import embed_images
from zeroline.runtime.errors import ParityError
from zeroline.runtime.network.parity import LIMITS, Limits


def zeroline(*arguments):
    return CliRunner().invoke(main, [str(a) for a in arguments])


@pytest.fixture
def shown(image_folder):
    frames = [read_image(file.path) for file in find_images([image_folder]).files]
    return Shown(frames[:4], frames[4:])


def types_of(model):
    return {tensor.data_type for tensor in model.graph.initializer}


@pytest.mark.parametrize(("form", "stored"), [("cpu", "UINT8"), ("tensorrt", "INT8")])
def test_int8_of_a_bundle(bundle_folder, image_folder, tmp_path, form, stored):
    output = tmp_path / "small8"
    done = zeroline(
        "export", "--bundle", bundle_folder, "--precision", "int8", "--int8-form", form,
        "--calibration", image_folder, "--calibration-images", 4, "--output", output,
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "int8 but for 0 of 3 layers" in done.output
    manifest = json.loads((output / "manifest.json").read_text())
    assert manifest["precision"] == "int8"
    assert manifest["kept_in_float32"] == []
    assert manifest["parity"]["tokens_0_cosine"] > LIMITS["int8"].cosine
    model = onnx.load(output / "model.onnx")
    assert {entry.domain for entry in model.opset_import} == {""}
    quantised = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    zeros = {t.name: t for t in model.graph.initializer if t.name.endswith("zero_point")}
    activation_zeros = [zeros[node.input[2]] for node in quantised]
    kind = onnx.TensorProto.DataType.Value(stored)
    assert {zero.data_type for zero in activation_zeros} == {kind}
    if form == "tensorrt":
        assert all(not numpy_helper.to_array(zero).any() for zero in zeros.values())
    per_channel = next(t for t in model.graph.initializer if t.name == "w0_scale")
    assert list(per_channel.dims) == [16]

    scored = zeroline("score", image_folder, "--model", output, "--output", tmp_path / "results")
    assert scored.exit_code == 0, scored.output
    frames = [read_image(file.path) for file in find_images([image_folder]).files]
    with load_bundle(bundle_folder) as plain, load_bundle(output) as int8:
        wanted, made = embed_images(frames, plain), embed_images(frames, int8)
    assert not np.array_equal(wanted.layers[0], made.layers[0])
    error = np.abs(wanted.layers[0] - made.layers[0]).max() / np.abs(wanted.layers[0]).max()
    assert error < 0.05


def test_half_precision_of_a_bundle(bundle_folder, tmp_path):
    output = tmp_path / "half"
    done = zeroline("export", "--bundle", bundle_folder, "--precision", "fp16", "--output", output)
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


def test_a_layer_that_int8_spoils_stays_in_float32(tmp_path, shown, monkeypatch):
    monkeypatch.setattr(precision_module, "SHARES", (0.0, 0.34))
    told: list[str] = []
    made = export_other_precision(
        uneven_bundle(tmp_path), tmp_path / "int8", precision="int8", shown=shown, tell=told.append
    )
    assert made.kept == ("spoilt",)
    assert any(line.startswith("int8: measuring each of 3 layers") for line in told)


def test_layers_are_ordered_by_the_error_that_each_makes(tmp_path, shown):
    with load_bundle(uneven_bundle(tmp_path)) as bundle:
        original = BundleOriginal(bundle)
        inputs = [original.prepare(frame) for frame in shown.calibration]
        quantiser = Quantiser(bundle.path / "model.onnx", inputs, Form.CPU, tmp_path)
        frames = shown.calibration[:3]
        order = quantiser.by_error(original.tokens(frames), original, frames)
    assert order[0] == "spoilt"
    assert sorted(order) == sorted(quantiser.layers)


def test_what_does_not_follow_is_not_offered(bundle_folder, tmp_path, shown, monkeypatch):
    strict = {**LIMITS, "int8": Limits(cosine=0.999999, row=0.999999, rank=0.999999, score=1e-6)}
    monkeypatch.setattr(precision_module, "LIMITS", strict)
    with pytest.raises(ParityError, match="even with 40% of the layers left out: tokens_0: cosine"):
        export_other_precision(
            bundle_folder, tmp_path / "made" / "int8", precision="int8", shown=shown
        )
    assert not list((tmp_path / "made").iterdir())


def test_bad_requests_are_refused_in_one_line(bundle_folder, image_folder, tmp_path, shown):
    def refused(*arguments):
        done = zeroline("export", *arguments, "--output", tmp_path / "o")
        assert done.exit_code != 0
        assert not (tmp_path / "o").exists()
        return done.output

    bundle = ("--bundle", bundle_folder)
    assert 'bundle "small" is fp32; from fp32 to fp16 or int8 is possible' in refused(*bundle)
    assert "--calibration DIR with at least 10 pictures" in refused(*bundle, "--precision", "int8")
    assert "with at least 11 pictures" in refused(
        *bundle, "--precision", "int8", "--calibration", image_folder, "--calibration-images", 9
    )
    assert "--size has no meaning with --bundle" in refused(*bundle, "--size", 64)
    assert "--batch has no meaning without" in refused(*bundle, "--batch", "1,1,1")
    assert "is neither a folder nor a bundled model" in refused("--bundle", tmp_path / "none")
    export_other_precision(bundle_folder, tmp_path / "half", precision="fp16")
    assert 'bundle "half" is fp16; from fp32' in refused(
        "--bundle", tmp_path / "half", "--precision", "fp16"
    )
    with pytest.raises(ExportError, match='precision "fp8": fp32 or fp16 or int8 is expected'):
        export_other_precision(bundle_folder, tmp_path / "o", precision="fp8", shown=shown)


def test_between_two_layers_in_float32_nothing_is_rounded(tmp_path, shown):
    """What stands between a layer in float32 and the next one stays in float32 with it."""
    model = build_network()
    nodes = list(model.graph.node)
    place = next(i for i, node in enumerate(nodes) if "w1" in node.input)
    nodes[place].input[0] = "cut"
    nodes.insert(place, helper.make_node("Relu", ["a0"], ["positive"]))
    nodes.insert(place + 1, helper.make_node("MaxPool", ["positive"], ["cut"], kernel_shape=[1, 1]))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, tmp_path / "chain.onnx")
    images = [np.random.default_rng(0).standard_normal((3, SIZE, SIZE)).astype(np.float32)] * 2
    quantiser = Quantiser(tmp_path / "chain.onnx", images, Form.CPU, tmp_path)

    def rounded_values(leave):
        made = onnx.load(quantiser.quantised(leave=leave))
        return {n.input[0] for n in made.graph.node if n.op_type == "QuantizeLinear"}

    first, second, _ = quantiser.layers
    assert {"positive", "cut"} & rounded_values(())
    assert not {"c0", "positive", "cut"} & rounded_values((first, second))
