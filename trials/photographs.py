"""The stated false-alarm rate on photographs: 64 of the good tiles at a time, drawn at random.

The photographs are not part of the repository: their folder is `shared/data/tiles` beside it, or
under ZEROLINE_SHARED. Recall is that of all defective tiles, each held against the same 64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from click.testing import CliRunner

from trials.resumed import Rows
from trials.shared import shared_folder
from zeroline.edge_app.cli import main
from zeroline.edge_app.images import read_image
from zeroline.runtime import auto_threshold, load_bundle, match_distances
from zeroline.runtime.batch import embed_images
from zeroline.runtime.stages.degrees import aggregated
from zeroline.runtime.stages.interval import interval_average
from zeroline.runtime.stages.maps import map_maximum
from zeroline.runtime.stages.rscin import rscin

SEEDS = (1000,)
DRAWS, SIZE, RATE = 200, 64, 0.01
NETWORKS = ("tiny", "mobilenetv2")


def run(report: Callable[[str], None], *, seeds: Iterable[int] = SEEDS, rows: Rows) -> None:
    """Report the rates; see `false_alarms.run`."""
    with TemporaryDirectory() as folder:
        for seed in seeds:
            for network in NETWORKS:
                key = {"seed": seed, "network": network}
                row = rows.once(key, lambda n=network, s=seed: measured(n, s, Path(folder)))
                report(
                    f"{network}: good tiles NG {row['false']:.2%} (worst draw {row['worst']:.1%}), "
                    f"recall {row['recall']:.1%}"
                )


def measured(network: str, seed: int, folder: Path) -> dict[str, float]:
    """Score all draws with a network."""
    tiles = shared_folder() / "data/tiles/test"
    paths = sorted(tiles.glob("*/*.png"))
    good = np.array([path.parent.name == "good" for path in paths])
    with load_bundle(bundle_of(network, folder), threads=1) as bundle:
        tokens = embed_images([read_image(path) for path in paths], bundle)
        defaults, size = bundle.manifest.defaults, bundle.size
    tables = [
        match_distances(features, matching="fast", threads=1)
        for layer in tokens.layers
        for features in aggregated(layer, defaults.degrees)
    ]
    rng = np.random.default_rng(seed)
    false, found = [], []
    for _ in range(DRAWS):
        drawn = rng.choice(np.flatnonzero(good), SIZE, replace=False)
        scores = scores_of(drawn, drawn, tables, size, tokens.class_tokens, defaults.rscin)
        threshold = auto_threshold(scores, false_alarm_rate=RATE)
        bad = np.flatnonzero(~good)
        of_bad = scores_of(bad, drawn, tables, size, tokens.class_tokens, defaults.rscin)
        false.append(float((scores > threshold).mean()))
        found.append(float((of_bad > threshold).mean()))
    return {
        "false": float(np.mean(false)),
        "worst": float(np.max(false)),
        "recall": float(np.mean(found)),
    }


def scores_of(
    images: Any, others: Any, tables: list[Any], size: int, class_tokens: Any, neighbours: Any
) -> Any:
    """Score images against others, each as one more of them; after RsCIN where it is on."""
    total = sum(interval_average(_square(t, images, others)) for t in tables) / len(tables)
    raw = map_maximum(np.asarray(total, np.float32), size=size)
    if not neighbours:
        return raw
    if images is others:
        return rscin(raw, class_tokens[others], neighbours=neighbours, normalise=False)
    base = scores_of(others, others, tables, size, class_tokens, ())
    return np.array([
        rscin(np.append(base, score), class_tokens[np.append(others, image)],
              neighbours=neighbours, normalise=False)[-1]
        for image, score in zip(images, raw, strict=True)
    ])  # fmt: skip


def _square(table: Any, images: Any, others: Any) -> Any:
    """Return the distances (n, P, others) of images to others."""
    return np.ascontiguousarray(table[images][:, :, others])


def bundle_of(network: str, folder: Path) -> str:
    """Return the bundle of a network, made in a folder where it is none of ours."""
    if network == "tiny":
        return network
    model = shared_folder() / f"models/{network}.onnx"
    output = folder / network
    done = CliRunner().invoke(
        main,
        ["export", "onnx", str(model), "--size", "320", "--mean", "0.5,0.5,0.5", "--std",
         "0.5,0.5,0.5", "--output", str(output)],
    )  # fmt: skip
    if done.exit_code:
        raise RuntimeError(done.output)
    return str(output)
