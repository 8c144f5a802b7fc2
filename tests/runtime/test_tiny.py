"""The bundled backbone: small, sound, and good enough to find defects it has never seen."""

import re

import cv2
import numpy as np
import onnx
import pytest
from sklearn.metrics import roc_auc_score

from zeroline.edge_app.sim.line import SimulatedLine
from zeroline.edge_app.sim.settings import KINDS, LineSettings
from zeroline.runtime import load_bundle, score_images
from zeroline.runtime.network.model import probe_images
from zeroline.runtime.network.open import bundled_names, find_bundle


@pytest.fixture(scope="module")
def tiny():
    with load_bundle("tiny", device="cpu", threads=1) as bundle:
        yield bundle


@pytest.fixture(scope="module")
def parts():
    """Parts of the simulated line, a third of them with a defect of any kind, 1 % at most."""
    return list(SimulatedLine(LineSettings(seed=4, parts=54, defects=0.34)))


def test_it_is_bundled_small_and_of_the_stated_shape(tiny):
    assert "tiny" in bundled_names()
    network = (find_bundle("tiny") / "model.onnx").read_bytes()
    assert len(network) <= 4 * 2**20
    model = onnx.load_from_string(network)
    for tensor in model.graph.initializer:
        tensor.ClearField("raw_data")  # numbers may spell anything
    assert b".py" not in model.SerializeToString()  # no paths of the machine that made it
    assert (tiny.size, tiny.patches, tiny.batch) == (320, 400, None)
    assert len(tiny.channels) >= 2
    tokens = tiny.embed(probe_images(320, batch=2))
    assert all(layer.dtype == np.float32 for layer in tokens.layers)
    np.testing.assert_allclose(np.linalg.norm(tokens.class_tokens, axis=1), 1, atol=1e-5)


def test_its_onnx_file_follows_the_trained_network(tiny):
    parity = tiny.manifest.parity
    assert min(value for name, value in parity.items() if name.endswith("_cosine")) > 0.99999
    assert max(value for name, value in parity.items() if name.endswith("_error")) < 1e-4


def test_it_says_where_it_comes_from(tiny):
    source = tiny.manifest.source
    assert "unknown" not in (source.architecture, source.weights, source.licence)
    card = (find_bundle("tiny") / "README.md").read_text(encoding="utf-8")
    for word in ("MobileNetV2", "Apache-2.0", "ImageNet", "Limits", "Looks at the tiles"):
        assert word in card
    assert re.search(r"^\| tiles, tiny \|", card, re.M)


def test_it_finds_small_defects_of_every_kind_where_the_mean_image_does_not(tiny, parts):
    bad = np.array([part.defective for part in parts])
    assert {part.kind for part in parts if part.defective} == set(KINDS)
    assert max(part.mask.sum() / part.part_area for part in parts) <= 0.01
    frames = [part.image for part in parts]
    scores = score_images(frames, tiny, rscin=()).raw_scores
    assert roc_auc_score(bad, scores) >= 0.95
    grey = np.stack([cv2.cvtColor(f, cv2.COLOR_BGR2GRAY) for f in frames]).astype(np.float32)
    differences = np.abs(grey - grey.mean(axis=0))
    plain = [cv2.GaussianBlur(difference, (0, 0), 3).max() for difference in differences]
    assert roc_auc_score(bad, plain) <= 0.75


def test_the_worst_patch_lies_on_the_defect(tiny, parts):
    result = score_images([part.image for part in parts], tiny, rscin=())
    hits = []
    for part, patches in zip(parts, result.patch_scores, strict=True):
        if part.defective:
            y, x = np.divmod(int(patches.argmax()), 20)
            near = cv2.dilate(part.mask.astype(np.uint8), np.ones((49, 49)))  # two patches
            hits.append(near[24 * y + 12, 24 * x + 12])
    assert np.mean(hits) >= 0.9


def test_the_same_frames_get_the_same_scores(tiny, parts):
    frames = [part.image for part in parts[:12]]
    first, again = (score_images(frames, tiny) for _ in range(2))
    np.testing.assert_array_equal(first.patch_scores, again.patch_scores)
    np.testing.assert_array_equal(first.scores, again.scores)


def test_measured_on_real_tiles(shared, tmp_path):
    """The figures of the model card, by the command that a user would run."""
    import json

    from click.testing import CliRunner

    from zeroline.edge_app.cli import main

    options = ["--model", "tiny", "--degrees", "1,3,5", "--rscin", "off", "--output", str(tmp_path)]
    done = CliRunner().invoke(main, ["evaluate", str(shared / "data" / "tiles"), *options])
    assert done.exit_code == 0, done.output
    figures = json.loads((tmp_path / "metrics.json").read_text())["tiles"]
    least = {"image_auroc": 0.85, "pixel_auroc": 0.977, "aupro": 0.87, "pixel_ap": 0.53}
    for name, value in least.items():
        assert figures[name] >= value, name
