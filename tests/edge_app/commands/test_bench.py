"""``zeroline bench`` runs for real, on small cases; what it measures is for people to judge."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from zeroline.edge_app import bench
from zeroline.edge_app.cli import main
from zeroline.runtime import interval_average, match_distances


@pytest.fixture
def small_case(monkeypatch):
    case = bench.Case("ViT-B/16@224", 16, (8, 6))
    monkeypatch.setattr(bench, "CASES", (case,))
    monkeypatch.setattr(bench, "_SIDES", {False: 64})


def test_every_figure_is_there(small_case, bundle_folder):
    done = CliRunner().invoke(
        main,
        ["bench", "--model", str(bundle_folder), "--window", "4", "--frames", "3", "--tokens",
         "all", "--threads", "2", "--json"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    content = json.loads(done.stdout)
    assert content["threads"] == 2
    assert content["matrix_gigaflops"] > 0
    assert [case["name"] for case in content["cases"]] == ["small", "ViT-B/16@224"]
    for case in content["cases"]:
        assert 0 < case["p50"] <= case["p95"] <= case["p99"]
        assert case["ratio_to_recomputing"] > 0
        assert case["memory"] > 0
    assert set(content["cases"][0]["stages"]) >= {"network", "match", "verdict"}


def test_a_tile_is_matched_with_the_same_tile_alone(small_case, bundle_folder):
    found = {}
    for tiles in ("1x1", "2x2"):
        done = CliRunner().invoke(
            main,
            ["bench", "--model", str(bundle_folder), "--window", "4", "--frames", "3", "--tiles",
             tiles, "--degrees", "fused", "--threads", "1", "--json"],
        )  # fmt: skip
        assert done.exit_code == 0, done.output
        (found[tiles],) = json.loads(done.stdout)["cases"]
        assert found[tiles]["tiles"] == tiles
    operations = {
        tiles: case["gigaflops"] * case["stages"]["match"] for tiles, case in found.items()
    }
    assert operations["2x2"] == pytest.approx(4 * operations["1x1"])
    assert found["2x2"]["memory"] == 4 * found["1x1"]["memory"]


def test_the_table(small_case, bundle_folder):
    done = CliRunner().invoke(
        main, ["bench", "--model", str(bundle_folder), "--window", "4", "--frames", "2"]
    )
    assert done.exit_code == 0, done.output
    assert "matrix rate" in done.output
    assert "× recomputing" in done.output


def test_what_it_cannot_measure(bundle_folder, monkeypatch):
    arguments = ["bench", "--model", str(bundle_folder), "--window", "2", "--frames", "2"]
    done = CliRunner().invoke(main, [*arguments, "--tokens", "ViT-X"])
    assert done.exit_code == 2
    assert "--tokens ViT-X: all, ViT-B/16@224" in done.output
    monkeypatch.setattr("zeroline.edge_app.memory.available_memory", lambda: 1000)
    monkeypatch.setattr(bench, "_SIDES", {False: 64})
    done = CliRunner().invoke(main, [*arguments, "--tokens", "ViT-L@518"])
    assert done.exit_code == 1
    assert "no window fits, --degrees fused or a smaller model takes less" in done.output


def test_the_authors_way_is_what_it_says(monkeypatch):
    """The timed computation gives the scores that ours gives."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((5, 9, 4)).astype(np.float32)
    features /= np.linalg.norm(features, axis=2, keepdims=True)
    found = []
    sort = np.sort

    def seen(rows, axis):
        found.append(sort(rows, axis=axis))
        return found[-1]

    monkeypatch.setattr(np, "sort", seen)
    assert bench.literal_seconds([[frame] for frame in features], 5) > 0
    monkeypatch.undo()
    wanted = interval_average(match_distances(features))[0]
    np.testing.assert_allclose(found[0][:1].mean(axis=0), wanted, atol=1e-5)
