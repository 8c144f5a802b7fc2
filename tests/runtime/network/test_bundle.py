import json

import numpy as np
import onnx
import pytest

from support.small_network import (
    CHANNELS,
    CLASS_CHANNELS,
    PATCHES,
    SIZE,
    build_network,
    write_bundle,
)
from zeroline.export.wrap import InputRules, wrap_onnx
from zeroline.runtime import BundleError, DeviceError, load_bundle, score_images
from zeroline.runtime.network.model import probe_images
from zeroline.runtime.network.onnxruntime import OnnxRuntimeSession
from zeroline.runtime.network.open import sha256_of

RULES = InputRules(size=SIZE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))


def edit(folder, change):
    path = folder / "manifest.json"
    content = json.loads(path.read_text())
    content.pop("checksum", None)
    change(content)
    path.write_text(json.dumps(content))


def test_what_was_wrapped_is_loaded(bundle_folder):
    with load_bundle(bundle_folder, device="cpu") as bundle:
        assert (bundle.name, bundle.size, bundle.patches) == ("small", SIZE, PATCHES)
        assert bundle.channels == CHANNELS
        assert bundle.batch is None
        assert bundle.session.device == "cpu"
        assert bundle.session.providers == ("CPUExecutionProvider",)
        tokens = bundle.embed(probe_images(SIZE, batch=5))
    assert [layer.shape for layer in tokens.layers] == [(5, PATCHES, c) for c in CHANNELS]
    assert tokens.class_tokens.shape == (5, CLASS_CHANNELS)
    assert tokens.finite().all()


def test_a_manifest_of_an_older_version_opens(own_bundle):
    """It says nothing of the class token's length, and of whose network it is."""

    def as_it_was(content):
        del content["rules"], content["outputs"]["class_token"]["unit"]
        del content["source"]["sha256"]

    edit(own_bundle, as_it_was)
    with load_bundle(own_bundle, device="cpu") as bundle:
        assert bundle.manifest.outputs.class_token.unit
        assert bundle.manifest.rules.follows == "unknown"
        assert bundle.manifest.source.sha256 == "unknown"


def test_class_tokens_may_be_as_long_as_they_are_where_the_manifest_says_so(tmp_path):
    write_bundle(tmp_path / "raw", unit_class_token=False)
    with load_bundle(tmp_path / "raw", device="cpu") as bundle:
        assert not bundle.manifest.outputs.class_token.unit
    edit(tmp_path / "raw", lambda m: m["outputs"]["class_token"].update(unit=True))
    with pytest.raises(BundleError, match=r"the class token has length .*, 1 is expected"):
        load_bundle(tmp_path / "raw", device="cpu")


def test_a_closed_bundle_says_so(own_bundle):
    bundle = load_bundle(own_bundle, device="cpu")
    bundle.close()
    bundle.close()
    frame = np.zeros((SIZE, SIZE, 3), np.uint8)
    for use in (
        lambda: bundle.prepare(frame),
        lambda: bundle.embed(probe_images(SIZE, batch=1)),
        lambda: score_images([frame, frame], bundle),
    ):
        with pytest.raises(BundleError, match=r'^bundle "bundle" is closed$'):
            use()


def test_a_fixed_batch_gives_the_same_tokens(bundle_folder, tmp_path):
    write_bundle(tmp_path / "fixed", batch=4)
    images = probe_images(SIZE, batch=6)  # one full batch, and one that is filled up
    with load_bundle(bundle_folder) as free, load_bundle(tmp_path / "fixed") as fixed:
        assert fixed.batch == 4
        expected, found = free.embed(images), fixed.embed(images)
    for a, b in zip(expected.layers, found.layers, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)
    np.testing.assert_allclose(expected.class_tokens, found.class_tokens, atol=1e-5)


def test_external_data_comes_along(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    onnx.save(
        build_network(),
        source / "net.onnx",
        save_as_external_data=True,
        location="net.weights",
        size_threshold=200,
    )
    manifest = wrap_onnx(source / "net.onnx", tmp_path / "bundle", rules=RULES)
    assert set(manifest.files) == {"model.onnx", "drawn.npz", "net.weights"}
    with load_bundle(tmp_path / "bundle") as bundle:
        assert bundle.embed(probe_images(SIZE, batch=1)).finite().all()
    (tmp_path / "bundle" / "net.weights").write_bytes(b"other")
    with pytest.raises(BundleError, match=r'file "net\.weights" has sha256'):
        load_bundle(tmp_path / "bundle")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(schema_version=7), "schema_version is 7, this zeroline reads 1"),
        (lambda m: m.pop("schema_version"), "schema_version is None"),
        (lambda m: m.update(schema_version=True), "schema_version is True"),
        (lambda m: m["defaults"].update(interval=[0.5, 0.1]), "defaults.interval: the first"),
        (
            lambda m: m["outputs"]["tokens"].append(m["outputs"]["tokens"][0]),
            "each may be named once",
        ),
        (lambda m: m.update(colour="RGB"), "colour: Extra inputs are not permitted"),
        (lambda m: m["input"].update(size=-3), "input.size: Input should be greater than"),
        (lambda m: m["input"].update(std=[1, 0, 1]), "input.std: .*over 0"),
        (lambda m: m["input"].update(std=[1, 1e-300, 1]), "input.std: .*over 0"),
        (lambda m: m["input"].update(std=[1, 1e300, 1]), "input.std.1: .*1000000"),
        (lambda m: m["input"].update(mean=[-1e39, 0, 0]), "input.mean.0: .*1000000"),
        (lambda m: m["input"].update(mean=[1, 0]), "input.mean"),
        (lambda m: m["outputs"]["tokens"][0].update(patches=63), "as many"),
        (lambda m: m["defaults"].update(degrees=[2]), "degrees must be odd"),
        (lambda m: m["files"].update({"../x": "0" * 64}), r'file "\.\./x" does not lie inside'),
        (lambda m: m.update(model="other.onnx"), 'model "other.onnx" is not among the files'),
        (lambda m: m["files"].update({"extra.bin": "0" * 64}), r'file "extra\.bin" is missing'),
        (lambda m: m["files"].update({"model.onnx": "0" * 64}), r'file "model\.onnx" has sha256'),
        (
            lambda m: m["outputs"]["tokens"][1].update(channels=25),
            r'output "tokens_1" has shape \(2, 64, 24\), the manifest says \(2, 64, 25\)',
        ),
        (
            lambda m: m["outputs"]["class_token"].update(name="cls"),
            'output "cls" is missing, there is "tokens_0", "tokens_1", "class_token"',
        ),
        (lambda m: m["input"].update(size=32), r"\(B, 3, 32, 32\) is expected"),
        (lambda m: m["input"].update(name="pixels"), 'input "pixels" is missing'),
        (lambda m: m["input"].update(name="a\n\x1b[2J"), r'input "a\\n\\x1b\[2J" is missing'),
        (lambda m: m["input"].update({"a\nb": 1}), r"input.a\\nb: Extra inputs are not"),
        (lambda m: m["input"].update(name="x" * 201), "at most 200 characters"),
    ],
)
def test_refuses_a_manifest_that_does_not_fit(own_bundle, change, message):
    edit(own_bundle, change)
    with pytest.raises(BundleError, match=message) as caught:
        load_bundle(own_bundle)
    assert "\n" not in str(caught.value)


def test_a_changed_value_of_a_manifest_is_seen(own_bundle):
    """Another mean was loaded without a word."""
    path = own_bundle / "manifest.json"
    text = path.read_text()
    for old, new in (('"mean": [\n   0.5', '"mean": [\n   0.4'), ('"size": 64', '"size": 65')):
        assert old in text
        path.write_text(text.replace(old, new))
        with pytest.raises(BundleError, match="its checksum does not fit"):
            load_bundle(own_bundle)
    path.write_text(json.dumps(json.loads(text)))  # other spaces
    load_bundle(own_bundle).close()


@pytest.mark.parametrize("depth", [100, 300, *range(700, 1000, 20), 5000])
def test_a_manifest_that_is_nested_deep(own_bundle, depth):
    path = own_bundle / "manifest.json"
    deep = '{"schema_version": 1, "name": ' + "[" * depth + "]" * depth + "}"
    path.write_text(deep)
    with pytest.raises(BundleError, match=r"manifest\.json") as caught:
        load_bundle(own_bundle)
    assert len(str(caught.value)) < 600


def test_the_bundled_model_has_a_checksum():
    with load_bundle("tiny", device="cpu") as bundle:
        assert bundle.manifest.checksum


def test_refuses_damaged_folders(own_bundle, tmp_path):
    model = own_bundle / "model.onnx"
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    with pytest.raises(BundleError, match="it was changed or damaged"):
        load_bundle(own_bundle)
    edit(own_bundle, lambda m: m["files"].update({"model.onnx": sha256_of(model)}))
    model.write_bytes(b"no onnx at all")
    edit(own_bundle, lambda m: m["files"].update({"model.onnx": sha256_of(model)}))
    with pytest.raises(BundleError, match=r"model.onnx\" cannot be loaded"):
        load_bundle(own_bundle)
    model.unlink()
    with pytest.raises(BundleError, match=r'file "model\.onnx" is missing'):
        load_bundle(own_bundle)
    (own_bundle / "manifest.json").write_text("{")
    with pytest.raises(BundleError, match=r"manifest\.json cannot be read"):
        load_bundle(own_bundle)
    (own_bundle / "manifest.json").write_text("[]")
    with pytest.raises(BundleError, match="not a JSON object"):
        load_bundle(own_bundle)
    (own_bundle / "manifest.json").unlink()
    with pytest.raises(BundleError, match=r"is not a model bundle: it has no manifest\.json"):
        load_bundle(own_bundle)
    with pytest.raises(BundleError, match='model "nothing" is neither a folder nor a bundled'):
        load_bundle("nothing")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"unit_class_token": False}, "the class token has length .*, 1 is expected"),
        ({"token_name": "tokens_3"}, 'has the outputs tokens_0, tokens_3, class_token; "tokens_0"'),
    ],
)
def test_wrap_refuses_a_network_and_leaves_nothing(tmp_path, options, message):
    onnx.save(build_network(**options), tmp_path / "net.onnx")
    with pytest.raises(BundleError, match=message):
        wrap_onnx(tmp_path / "net.onnx", tmp_path / "bundle", rules=RULES)
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]


def test_wrap_refuses_files_and_folders(tmp_path, own_bundle):
    with pytest.raises(BundleError, match=r'ONNX file ".*none.onnx" does not exist'):
        wrap_onnx(tmp_path / "none.onnx", tmp_path / "b", rules=RULES)
    (tmp_path / "text.onnx").write_text("hello")
    with pytest.raises(BundleError, match="is not a valid ONNX file"):
        wrap_onnx(tmp_path / "text.onnx", tmp_path / "b", rules=RULES)
    with pytest.raises(BundleError, match="exists and is not an empty folder"):
        wrap_onnx(own_bundle / "model.onnx", own_bundle, rules=RULES)
    with pytest.raises(BundleError, match=r"\(B, 3, 32, 32\) is expected"):
        wrap_onnx(
            own_bundle / "model.onnx",
            tmp_path / "b",
            rules=InputRules(size=32, mean=(0, 0, 0), std=(1, 1, 1)),
        )
    assert not (tmp_path / "b").exists()


def test_mean_and_std_follow_the_channel_order(tmp_path):
    onnx.save(build_network(), tmp_path / "net.onnx")
    rules = InputRules(size=SIZE, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6), colour="BGR")
    manifest = wrap_onnx(tmp_path / "net.onnx", tmp_path / "bundle", rules=rules)
    assert manifest.input.mean == (0.3, 0.2, 0.1)
    assert manifest.input.std == (0.6, 0.5, 0.4)


def test_devices_are_refused_by_name(own_bundle):
    model = own_bundle / "model.onnx"
    with pytest.raises(DeviceError, match='device is "gpu", allowed: auto, cpu, cuda, tensorrt'):
        load_bundle(own_bundle, device="gpu")
    with pytest.raises(DeviceError, match=r'device is "tensorrt", allowed: auto, cpu, cuda$'):
        OnnxRuntimeSession(model, device="tensorrt")
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime offers CUDA")
    with pytest.raises(DeviceError, match='device "cuda" needs CUDAExecutionProvider'):
        OnnxRuntimeSession(model, device="cuda")
