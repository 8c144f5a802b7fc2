"""A small golden file of our own, which stands where the shared folder is absent.

``golden/small.json`` holds the scores of six painted parts through the small network, made with
the literal forms: ``python tests/test_own_golden.py`` writes it anew.
"""

import json
import tempfile
from pathlib import Path

import numpy as np

from support.literal import (
    literal_distances,
    literal_interval_average,
    literal_lnamd,
    literal_rscin,
    literal_upsample,
)
from support.machine import ROOT
from support.small_network import SIDE, SIZE, write_bundle
from zeroline.runtime import load_bundle, score_images

GOLDEN = ROOT / "tests" / "golden" / "small.json"


def parts():
    """Six frames of a striped part made of whole numbers alone; the fourth has a scratch."""
    y, x = np.mgrid[:SIZE, :SIZE]
    frames = []
    for number in range(6):
        grey = 90 + (x * 7 + y * number) % 61 + (y * 5) % 23
        frame = np.stack([grey, grey + 3 * number, 255 - grey], axis=2).astype(np.uint8)
        if number == 3:
            frame[20:28, 30:50] = (10, 240, 250)
        frames.append(frame)
    return frames


def test_scores_are_those_of_the_golden_file(bundle_folder):
    golden = json.loads(GOLDEN.read_text())
    with load_bundle(bundle_folder, device="cpu") as bundle:
        result = score_images(parts(), bundle)
    np.testing.assert_allclose(result.patch_scores, golden["patch_scores"], atol=1e-5)
    np.testing.assert_allclose(result.raw_scores, golden["raw_scores"], atol=1e-5)
    np.testing.assert_allclose(result.scores, golden["scores"], atol=1e-5)
    assert result.raw_scores.argmax() == 3


def make() -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_bundle(Path(folder) / "small")
        with load_bundle(Path(folder) / "small", device="cpu") as bundle:
            tokens = bundle.embed(np.stack([bundle.prepare(frame) for frame in parts()]))
    maps = [
        literal_interval_average(literal_distances(literal_lnamd(layer, degree)))
        for layer in tokens.layers
        for degree in (1, 3, 5)
    ]
    patch_scores = np.mean(maps, axis=0)
    raw = [literal_upsample(row.reshape(SIDE, SIDE), SIZE).max() for row in patch_scores]
    scores = literal_rscin(raw, tokens.class_tokens, (1, 2, 3), normalise=False)
    content = {
        "patch_scores": patch_scores.round(7).tolist(),
        "raw_scores": np.round(raw, 7).tolist(),
        "scores": scores.round(7).tolist(),
    }
    GOLDEN.write_text(json.dumps(content) + "\n")


if __name__ == "__main__":
    make()
