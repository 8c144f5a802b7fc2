"""Files that a network reads, and values that no image could be scored by."""

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from support.small_network import SIZE, build_network
from zeroline.export.wrap import InputRules, wrap_onnx
from zeroline.runtime import BundleError, load_bundle
from zeroline.runtime.network.external import external_files
from zeroline.runtime.network.model import probe_images
from zeroline.runtime.network.open import sha256_of

RULES = InputRules(size=SIZE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def lies_in(tensor, folder, name):
    """Move a tensor's values into a file."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(numpy_helper.to_array(tensor).tobytes())
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", name
    return tensor


def constant(model, name, folder, file):
    """Turn an initialiser into the constant of a node that lies in a file."""
    (tensor,) = (t for t in model.graph.initializer if t.name == name)
    node = helper.make_node("Constant", [], [name], value=lies_in(tensor, folder, file))
    model.graph.initializer.remove(tensor)
    return node


def in_a_node(folder, file):
    model = build_network()
    model.graph.node.insert(0, constant(model, "w1", folder, file))
    return model


def in_a_branch(folder, file):
    model = build_network()
    inner = constant(model, "w1", folder, file)
    inner.output[0] = "then_w1"
    plain = helper.make_node(
        "ConstantOfShape", ["w1_shape"], ["else_w1"],
        value=helper.make_tensor("v", TensorProto.FLOAT, [1], [0.1]),
    )  # fmt: skip
    shape = [24, 16, 3, 3]
    branches = {
        f"{name}_branch": helper.make_graph(
            [node], name, [], [helper.make_tensor_value_info(f"{name}_w1", 1, shape)]
        )
        for name, node in (("then", inner), ("else", plain))
    }
    model.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
    model.graph.initializer.append(numpy_helper.from_array(np.array(shape), "w1_shape"))
    model.graph.node.insert(0, helper.make_node("If", ["yes"], ["w1"], **branches))
    return model


def in_a_function(folder, file):
    model = build_network()
    inner = constant(model, "w1", folder, file)
    model.functions.append(
        helper.make_function("own", "Weights", [], ["w1"], [inner], [helper.make_opsetid("", 18)])
    )
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node.insert(0, helper.make_node("Weights", [], ["w1"], domain="own"))
    return model


PLACES = {"node": in_a_node, "branch": in_a_branch, "function": in_a_function}


@pytest.fixture(params=PLACES)
def source(request, tmp_path):
    folder = tmp_path / "source"
    folder.mkdir()
    model = PLACES[request.param](folder, "sub/own weights.bin")
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    return folder / "net.onnx"


def test_every_file_that_the_graph_names_comes_along(source, tmp_path, bundle_folder):
    """Only initialisers were looked at: a constant's file was left behind."""
    assert external_files(source) == ["sub/own weights.bin"]
    manifest = wrap_onnx(source, tmp_path / "bundle", rules=RULES)
    assert set(manifest.files) == {"model.onnx", "drawn.npz", "sub/own weights.bin"}
    images = probe_images(SIZE, batch=2)
    with load_bundle(tmp_path / "bundle") as bundle, load_bundle(bundle_folder) as plain:
        for mine, theirs in zip(
            bundle.embed(images).layers, plain.embed(images).layers, strict=True
        ):
            np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_a_file_without_a_hash_is_refused_at_load(source, tmp_path):
    """Other weights in a file that the manifest does not list were loaded unchecked."""
    folder = tmp_path / "bundle"
    wrap_onnx(source, folder, rules=RULES)
    content = json.loads((folder / "manifest.json").read_text())
    del content["files"]["sub/own weights.bin"], content["checksum"]
    (folder / "manifest.json").write_text(json.dumps(content))
    weights = folder / "sub" / "own weights.bin"
    weights.write_bytes(bytes(len(weights.read_bytes())))
    with pytest.raises(BundleError, match=r'reads "sub/own weights\.bin", and the manifest has no'):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json", "engines/w", "Manifest.JSON"])
def test_no_file_has_the_name_of_the_bundles_own(tmp_path, name):
    model = in_a_node(tmp_path, name)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match="has the name of a bundle's own file"):
        wrap_onnx(tmp_path / "net.onnx", tmp_path / "bundle", rules=RULES)


@pytest.mark.parametrize("name", ["../w.bin", "/dev/zero", "a/../../w", "..\\w", "a\0b"])
def test_names_that_lead_away(tmp_path, name):
    model = build_network()
    (tensor,) = (t for t in model.graph.initializer if t.name == "w1")
    lies_in(tensor, tmp_path, "w")
    tensor.external_data[0].value = name
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match="lies outside its folder"):
        external_files(tmp_path / "net.onnx")


def test_a_file_that_is_missing_or_none(tmp_path):
    model = in_a_node(tmp_path, "w.bin")
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    (tmp_path / "w.bin").unlink()
    with pytest.raises(BundleError):
        wrap_onnx(tmp_path / "net.onnx", tmp_path / "bundle", rules=RULES)
    (tmp_path / "w.bin").symlink_to("/dev/zero")
    with pytest.raises(BundleError):
        wrap_onnx(tmp_path / "net.onnx", tmp_path / "bundle", rules=RULES)


@pytest.mark.parametrize("content", [b"", b"\xff" * 40, b"\x3a\x7f", b"\x3a\x00\x0b", b"text"])
def test_what_is_no_onnx_file(tmp_path, content):
    (tmp_path / "net.onnx").write_bytes(content)
    with pytest.raises(BundleError, match=r'net.onnx" cannot be loaded: it is no ONNX file'):
        external_files(tmp_path / "net.onnx")


@pytest.mark.parametrize("name", ["model.onnx", "manifest.json"])
@pytest.mark.parametrize("kind", ["endless", "pipe", "folder"])
def test_only_regular_files_are_read(own_bundle, name, kind):
    """A link to /dev/zero was read for ever."""
    path = own_bundle / name
    path.unlink()
    if kind == "endless":
        path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "zeroline.edge_app", "run", "--source", "sim://parts", "--model",
         own_bundle],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert name in done.stderr
    assert "not a regular file" in done.stderr or "Is a directory" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_manifest_has_a_length(own_bundle):
    with (own_bundle / "manifest.json").open("ab") as file:
        file.truncate(10 << 30)
    with pytest.raises(BundleError, match=r"manifest\.json is longer than 4 MiB"):
        load_bundle(own_bundle)


def sign_anew(folder, name):
    """Let a manifest fit a changed file."""
    content = json.loads((folder / "manifest.json").read_text())
    content["files"][name] = sha256_of(folder / name)
    del content["checksum"]
    (folder / "manifest.json").write_text(json.dumps(content))


def test_onnxruntime_says_nothing_itself(own_bundle, tmp_path, capfd):
    """It printed that it tries again, wrote to stderr, and had a message that is no UTF-8."""
    model = own_bundle / "model.onnx"
    content = model.read_bytes()
    assert b"Tanh" in content
    model.write_bytes(content.replace(b"Tanh", b"T\xff\xfeh"))
    sign_anew(own_bundle, "model.onnx")
    with pytest.raises(BundleError, match=r'model\.onnx" cannot be loaded: ') as caught:
        load_bundle(own_bundle, device="cpu")
    assert "\n" not in str(caught.value)
    whole = in_a_node(tmp_path, "w.bin")
    (tmp_path / "net.onnx").write_bytes(whole.SerializeToString())
    wrap_onnx(tmp_path / "net.onnx", tmp_path / "made", rules=RULES)
    weights = tmp_path / "made" / "w.bin"
    weights.write_bytes(weights.read_bytes()[:100])
    sign_anew(tmp_path / "made", "w.bin")
    with pytest.raises(BundleError, match=r'model\.onnx" cannot be loaded: '):
        load_bundle(tmp_path / "made", device="cpu")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("name", "value"), [
    ("w0", np.nan), ("w1", np.nan), ("wc", np.nan), ("wc", np.inf),
])  # fmt: skip
def test_weights_that_give_no_numbers_are_refused(tmp_path, own_bundle, name, value):
    """Tokens with NaN passed: only the length of the class token was looked at."""
    model = build_network()
    (tensor,) = (t for t in model.graph.initializer if t.name == name)
    values = numpy_helper.to_array(tensor).copy()
    values[0, 0, 0, 0] = value
    tensor.CopyFrom(numpy_helper.from_array(values, name))
    onnx.save(model, tmp_path / "net.onnx")
    reason = r'output "\w+" holds \d+ NaN or inf of \d+ values'
    with pytest.raises(BundleError, match=reason):
        wrap_onnx(tmp_path / "net.onnx", tmp_path / "made", rules=RULES)
    assert not (tmp_path / "made").exists()
    path = own_bundle / "model.onnx"
    onnx.save(model, path)
    sign_anew(own_bundle, "model.onnx")
    with pytest.raises(BundleError, match=reason):
        load_bundle(own_bundle)
