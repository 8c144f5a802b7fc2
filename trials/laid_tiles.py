"""Photographs of tiles, cut out and laid whole on a plain light ground, at any turn.

Each photograph of the data set is laid on a ground of its own light, shifted by up to 10 % of the
picture's side. `zeroline evaluate` then measures the originals, and the laid tiles as they are and
found by their outline. The photographs are not part of the repository: see `photographs`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
from click.testing import CliRunner
from numpy.random import Generator

from trials.photographs import NETWORKS, bundle_of
from trials.resumed import Rows
from trials.shared import shared_folder
from zeroline.edge_app.cli import main
from zeroline.edge_app.images import read_image
from zeroline.runtime.frames import Frame

SEEDS = tuple(range(1000, 1005))
#: Side of a picture with a laid tile of 320 pixels, and how far off the tile lies.
SIDE, PLACE = 640, 0.1
#: What is evaluated, and with which options.
WAYS: dict[str, tuple[str, ...]] = {
    "as it is": (),
    "outline": ("--align", "outline"),
}


def laid(tile: Frame, rng: Generator) -> Frame:
    """Lay a tile (h, w, 3) on a light ground (640, 640, 3), anywhere and anyhow."""
    height, width = tile.shape[:2]
    turn = rng.uniform(0, 360)
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), turn, 1)
    middle = (SIDE - 1) / 2 + rng.uniform(-PLACE, PLACE, 2) * SIDE
    matrix[:, 2] += middle - np.array([(width - 1) / 2, (height - 1) / 2])
    # fine, so that the rim is no staircase
    fine = 2
    shift = np.array([[fine, 0, (fine - 1) / 2], [0, fine, (fine - 1) / 2], [0, 0, 1]])
    onto = (shift @ np.vstack([matrix, [0, 0, 1]]))[:2]
    size = (SIDE * fine, SIDE * fine)
    there = cv2.warpAffine(tile, onto, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    cover = cv2.warpAffine(np.ones((height, width), np.float32), onto, size)
    there, cover = (cv2.resize(p, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
                    for p in (there, cover))  # fmt: skip
    slope = np.linspace(-1, 1, SIDE)
    light = rng.uniform(222, 232) + rng.uniform(-4, 4) * slope + rng.uniform(-4, 4) * slope[:, None]
    ground = light[..., None] + rng.normal(0, 1.5, (SIDE, SIDE, 3))
    drawn = ground + cover[..., None] * (there - ground)
    return np.asarray(np.clip(np.rint(drawn), 0, 255), np.uint8)


def measured(network: str, way: str, *, seed: int | None) -> dict[str, Any]:
    """Evaluate the originals (no seed), or the tiles laid by a seed."""
    with TemporaryDirectory() as folder:
        root, bundle = Path(folder) / "tiles", bundle_of(network, Path(folder))
        source = shared_folder() / "data/tiles"
        rng = np.random.default_rng(seed)
        for path in sorted((source / "test").glob("*/*.png")):
            to = root / "test" / path.parent.name / path.name
            to.parent.mkdir(parents=True, exist_ok=True)
            tile = read_image(path)
            cv2.imwrite(str(to), tile if seed is None else laid(tile, rng))
        output = Path(folder) / "out"
        arguments = ["evaluate", str(root), "--model", bundle, "--output", str(output),
                     "--threads", "1", *WAYS[way]]  # fmt: skip
        done = CliRunner().invoke(main, arguments)
        if done.exit_code:
            raise RuntimeError(done.output)
        content: dict[str, Any] = json.loads((output / "metrics.json").read_text())
        return content


def run(report: Callable[[str], None], *, seeds: Iterable[int] = SEEDS, rows: Rows) -> None:
    """Report the image AUROC of the originals and of laid tiles; see `false_alarms.run`."""
    seeds = list(seeds)
    for network in NETWORKS:
        first = rows.once({"network": network, "of": "originals", "seed": None},
                          partial(measured, network, "as it is", seed=None))  # fmt: skip
        report(f"{network}, originals: {told(first)}")
        for way in WAYS:
            for seed in seeds:
                key = {"network": network, "of": way, "seed": seed}
                row = rows.once(key, partial(measured, network, way, seed=seed))
                report(f"{network}, laid, {way}, seed {seed}: {told(row)}")


def told(metrics: dict[str, Any]) -> str:
    """Return the figures in words."""
    return f"image AUROC {metrics['tiles']['image_auroc']:.3f}"
