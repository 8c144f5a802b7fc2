"""Fused neighbourhoods: one feature for all, and scores by it."""

import numpy as np
import pytest

from zeroline.runtime import ScoringError, lnamd, score_tokens
from zeroline.runtime.stages.degrees import aggregated, finest_degree, fused, match_count
from zeroline.runtime.tokens import Tokens


def test_fused_is_the_unit_sum_of_the_unit_means(xp):
    tokens = np.random.default_rng(0).standard_normal((3, 25, 6)).astype(np.float32)
    tokens[1, 7] = 0
    total = sum(np.float64(lnamd(tokens, degree=degree)) for degree in (1, 3, 5))
    wanted = total / np.linalg.norm(total, axis=2, keepdims=True)
    np.testing.assert_allclose(xp.host(fused(xp.array(tokens))), wanted, atol=1e-6)


def test_a_constant_image_stays_zero():
    assert not fused(np.ones((1, 9, 4), np.float32)).any()


def test_how_many_matches_there_are():
    assert match_count((1, 3)) == 2
    assert match_count("fused") == 1
    assert len(list(aggregated(np.ones((1, 9, 4), np.float32), "fused"))) == 1
    with pytest.raises(ScoringError, match='degrees is "all", odd numbers or "fused"'):
        match_count("all")
    with pytest.raises(ScoringError, match="degrees is empty"):
        match_count(())


def test_scores_by_fused_features():
    rng = np.random.default_rng(0)
    layers = tuple(rng.standard_normal((4, 16, c)).astype(np.float32) for c in (5, 8))
    tokens = Tokens(layers, np.ones((4, 1), np.float32))
    found = score_tokens(tokens, size=32, degrees="fused", rscin=()).patch_scores
    wanted = np.zeros((4, 16))
    for layer in layers:
        features = np.float64(fused(layer))
        for i in range(4):
            others = [
                np.linalg.norm(features[i][:, None] - features[j], axis=2).min(axis=1)
                for j in range(4)
                if j != i
            ]
            wanted[i] += np.min(others, axis=0) / 2  # of three distances 30 % is the least one
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_the_command_takes_the_word(bundle_folder, image_folder, tmp_path):
    from click.testing import CliRunner

    from zeroline.edge_app.cli import main

    arguments = ["score", str(image_folder), "--model", str(bundle_folder), "--output"]
    done = CliRunner().invoke(main, [*arguments, str(tmp_path / "o"), "--degrees", "fused"])
    assert done.exit_code == 0, done.output
    assert "fused" in (tmp_path / "o" / "report.html").read_text()
    done = CliRunner().invoke(main, [*arguments, str(tmp_path / "o"), "--degrees", "fuse"])
    assert done.exit_code == 2
    assert "'fuse'" in done.output


@pytest.mark.parametrize(
    ("degrees", "place", "blur"), [((1, 3, 5), 0, 2), ((5, 3), 1, 1), ((3,), 0, 0), ("fused", 0, 2)]
)
def test_the_sharpest_degree(degrees, place, blur):
    assert finest_degree(degrees) == (place, blur)
