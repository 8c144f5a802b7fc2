"""Against outputs of the authors' code; skipped where the shared folder is not there."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from zeroline.edge_app.cli import main
from zeroline.export.wrap import InputRules, wrap_onnx
from zeroline.runtime import (
    interval_average,
    lnamd,
    load_bundle,
    match_distances,
    rscin,
    score_images,
    to_bgr8,
)

DATASETS = ("tiles", "tiles-recurring-fray", "tiles-recurring-break")


@pytest.mark.parametrize("degree", [1, 3, 5])
def test_lnamd(shared, degree):
    golden = np.load(shared / "golden" / "lnamd.npz")
    for layer in range(4):
        features = lnamd(golden[f"tokens_{layer}"][:, 1:], degree=degree)
        expected = golden[f"normalised_r{degree}"][:, :, layer]
        np.testing.assert_allclose(features, expected, atol=1e-6)


@pytest.mark.parametrize("case", [0, 2])
def test_mutual_scoring(shared, case):
    golden = np.load(shared / "golden" / "msm.npz")
    distances = match_distances(golden[f"features_{case}"])
    np.testing.assert_allclose(interval_average(distances), golden[f"scores_{case}"], atol=2e-6)
    np.testing.assert_allclose(
        interval_average(distances, low=0.1, high=0.5),
        golden[f"scores_min10_max50_{case}"],
        atol=2e-6,
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize("neighbours", [(1, 2, 3), (1, 8, 9)])
@pytest.mark.parametrize("kind", ["transistor", "metal_nut", "bottle"])
def test_rscin(shared, kind, neighbours, dtype):
    golden = np.load(shared / "golden" / "rscin.npz")
    tokens = golden[f"class_tokens_{kind}"].astype(dtype)
    found = rscin(golden[f"scores_{kind}"], tokens, neighbours=neighbours)
    expected = golden[f"rescored_{kind}_{''.join(map(str, neighbours))}"]
    np.testing.assert_allclose(found, expected, atol=2e-6)


@pytest.fixture(scope="module")
def real_bundle(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("real") / "mobilenetv2"
    half = (0.5, 0.5, 0.5)
    rules = InputRules(size=320, mean=half, std=half)
    wrap_onnx(shared / "models" / "mobilenetv2.onnx", folder, rules=rules)
    return folder


def test_real_images_score_as_the_authors_score_them(shared, real_bundle):
    golden = np.load(shared / "golden" / "tiles.npz")
    folder = shared / "data" / "tiles" / "test"
    frames = [to_bgr8(np.asarray(Image.open(folder / name))) for name in golden["files"]]
    with load_bundle(real_bundle) as bundle:
        result = score_images(frames, bundle)
    np.testing.assert_allclose(result.patch_scores, golden["patch_scores"], atol=2e-6)
    np.testing.assert_allclose(result.raw_scores, golden["image_scores"], atol=2e-6)
    low, high = result.raw_scores.min(), result.raw_scores.max()
    scaled = (result.scores - low) / (high - low)
    np.testing.assert_allclose(scaled, golden["image_scores_rscin"], atol=5e-6)


def test_evaluate_gives_the_authors_figures(shared, real_bundle, tmp_path):
    folders = [str(shared / "data" / name) for name in DATASETS]
    options = ["--model", str(real_bundle), "--output", str(tmp_path), "--no-codegraph"]
    outcome = CliRunner().invoke(main, ["evaluate", *folders, *options])  # MuSc alone
    assert outcome.exit_code == 0, outcome.output
    found = json.loads((tmp_path / "metrics.json").read_text())
    golden = json.loads((shared / "golden" / "metrics.json").read_text())
    assert found.keys() == golden.keys()
    for name, figures in golden.items():
        assert found[name] == pytest.approx(figures, abs=5e-4)
