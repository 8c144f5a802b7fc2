"""The export by `--as musc` against the networks of MuSc's authors, written out by hand.

Random weights, with norms and positions far from those of a fresh network. 24 photographs of tiles
go through both, from the picture to the scores. Also: how far the framework's own rules are from
the authors'.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from trials.literal_towers import (
    authors_state,
    literal_clip,
    literal_dino,
    literal_pixels,
    literal_rscin_scores,
    musc_rules,
    off_neutral,
)
from trials.resumed import Rows
from trials.shared import shared_folder
from zeroline.edge_app.images import read_image
from zeroline.export.backbone_bundle import Request, export_backbone
from zeroline.export.backbones import Backbone, find_backbone
from zeroline.export.framework_side import tower_tokens
from zeroline.export.towers import build_tower
from zeroline.export.weights import Weights
from zeroline.runtime import Tokens, load_bundle, score_tokens
from zeroline.runtime.batch import embed_images
from zeroline.runtime.frames import Frame
from zeroline.runtime.tokens import joined

SEEDS = (0,)
#: Backbones, sizes, and the tag that says how CLIP was trained.
SETTINGS = (
    ("ViT-B-16", 224, "openai"),
    ("ViT-B-16", 320, "openai"),
    ("DINO-ViT-B-16", 224, None),
    ("DINO-ViT-B-16", 320, None),
    ("DINOv2-ViT-S-14", 518, None),
    ("DINOv2-ViT-S-14", 448, None),
    ("DINOv2-ViT-S-14-reg", 518, None),
    ("DINOv2-ViT-S-14-reg", 448, None),
    ("ViT-L-14-336", 518, "openai"),
)
IMAGES = 24


def pictures() -> list[Frame]:
    """Return 24 tiles, every sixth."""
    paths = sorted((shared_folder() / "data/tiles/test").glob("*/*.png"))
    return [read_image(path) for path in paths[::6][:IMAGES]]


def made_checkpoint(backbone: Backbone, folder: Path, seed: int) -> tuple[Path, dict[str, Any]]:
    """Save a random network off the neutral, as its makers would; return the file and weights."""
    network = build_tower(backbone, Weights(seed=seed), size=None, layers=(0,)).network
    off_neutral(network, seed=seed)
    state = authors_state(network, seed=seed)
    path = folder / "weights.pth"
    torch.save(state, path)
    return path, state


def literal_tokens(
    backbone: Backbone,
    state: dict[str, Any],
    frames: list[Frame],
    *,
    size: int,
    openai: bool = False,
    layers: tuple[int, ...] | None = None,
) -> Tokens:
    """Run the authors' network, from pictures to tokens."""
    taken = backbone.layers if layers is None else layers
    rules = musc_rules(
        backbone.family,
        native=size == backbone.size,
        openai=openai,
        registers=backbone.registers,
    )
    clip = backbone.family == "CLIP"
    run = literal_clip if clip else literal_dino
    parts = []
    for frame in frames:
        with torch.inference_mode():
            images = literal_pixels(frame, size, rules, clip=clip)
            tokens, class_token = run(state, images, taken, rules)
        parts.append(Tokens(tuple(layer.numpy() for layer in tokens), class_token.numpy()))
    return joined(parts)


def differences(wanted: Tokens, actual: Tokens) -> dict[str, float]:
    """Return the largest difference as a share of the rms, and the least cosine of a token."""
    error, cosine = 0.0, 1.0
    pairs = zip(
        (*wanted.layers, wanted.class_tokens), (*actual.layers, actual.class_tokens), strict=True
    )
    for wanted_rows, actual_rows in pairs:
        want, got = wanted_rows.astype(np.float64), actual_rows.astype(np.float64)
        error = max(error, float(np.abs(want - got).max() / np.sqrt(np.square(want).mean())))
        lengths = np.linalg.norm(want, axis=-1) * np.linalg.norm(got, axis=-1)
        cosine = min(cosine, float(((want * got).sum(-1) / lengths).min()))
    return {"error": error, "cosine": cosine}


def measured(name: str, size: int, tag: str | None, seed: int) -> dict[str, Any]:
    """Compare one network and size."""
    frames = pictures()
    backbone = find_backbone(name)
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        path, state = made_checkpoint(backbone, folder, seed)
        weights = Weights(tag=tag, checkpoint=path)
        wanted = literal_tokens(backbone, state, frames, size=size, openai=tag == "openai")
        request = Request(backbone, weights, size=size, follows="musc")
        export_backbone(request, folder / "bundle")
        with load_bundle(folder / "bundle", device="cpu", threads=1) as bundle:
            actual = embed_images(frames, bundle)
            unit = bundle.manifest.outputs.class_token.unit
        row: dict[str, Any] = {"unit": unit, **differences(wanted, actual)}
        theirs = score_tokens(wanted, size=size, rscin=(), threads=1)
        ours = score_tokens(actual, size=size, threads=1)
        row["patch"] = float(np.abs(theirs.patch_scores - ours.patch_scores).max())
        expected = literal_rscin_scores(theirs.raw_scores, wanted.class_tokens, (1, 2, 3))
        row["rscin"] = float(np.abs(expected - ours.scores).max())
        products = wanted.class_tokens @ wanted.class_tokens.T
        top = -np.sort(-(wanted.class_tokens.astype(np.float64) @ wanted.class_tokens.T))[:, :4]
        row["gap"] = float(((top[:, :-1] - top[:, 1:]) / top[:, :1]).min())
        row["not_first"] = int((products.argmax(axis=1) != np.arange(len(products))).sum())
        makers = build_tower(backbone, weights, size=size, layers=None)
        row |= _framework(wanted, makers, frames)
    return row


def _framework(wanted: Tokens, makers: Any, frames: list[Frame]) -> dict[str, float]:
    """Compare the framework's own rules with the authors' on a few pictures; tokens only."""
    few = tower_tokens(makers, frames[:4])
    first = Tokens(tuple(layer[:4] for layer in wanted.layers), few.class_tokens)
    return {"framework_cosine": differences(first, few)["cosine"]}


def run(report: Callable[[str], None], *, seeds: Iterable[int] = SEEDS, rows: Rows) -> None:
    """Report the table; see `false_alarms.run`."""
    torch.set_num_threads(1)
    report("backbone, size: largest difference of tokens (of rms), patch scores, RsCIN; "
           "least cosine; not their own nearest; least cosine of --as framework")  # fmt: skip
    for seed in seeds:
        for name, size, tag in SETTINGS:
            key = {"seed": seed, "backbone": name, "size": size}
            row = rows.once(key, partial(measured, name, size, tag, seed))
            report(
                f"{name}@{size}: {row['error']:.1e}, {row['patch']:.1e}, {row['rscin']:.1e}; "
                f"{row['cosine']:.7f}; {row['not_first']} of {IMAGES}, gap {row['gap']:.1e}; "
                f"{row['framework_cosine']:.5f}"
            )
