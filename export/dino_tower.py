"""DINO's and DINOv2's towers, built by timm.

MuSc's authors resize pixels bilinearly, where timm's settings say bicubic, and leave the class
token as long as it is. Their DINOv2 is Meta's own. It has no registers; for those Meta's rule of
the position table is the one that timm has too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from zeroline.export.backbones import Backbone, Follows
from zeroline.export.errors import ExportError
from zeroline.export.fitted import hint, tensors_for, trained_size
from zeroline.export.frameworks import framework
from zeroline.export.positions import TableRule, resized_table
from zeroline.export.tower import Described, DinoTower, Pixels
from zeroline.export.weights import Weights, load_checked
from zeroline.runtime.network.manifest import Rules


def build_dino(
    backbone: Backbone,
    weights: Weights,
    size: int,
    layers: Sequence[int],
    *,
    follows: Follows,
    activation: str | None,
    hub: Callable[[], AbstractContextManager[None]],
) -> DinoTower:
    """Build a tower of DINO or DINOv2; see `zeroline.export.towers.build_tower`.

    `hub` is what downloads stand in.
    """
    timm = framework("timm")
    known = backbone.model.split(".")[1]
    if weights.tag not in (None, known):
        raise ExportError(f'{backbone.name} has no weights "{weights.tag}"; known: {known}')
    if activation is not None:
        raise ExportError(f"--activation is for CLIP; {backbone.name} has only one")
    file = None if weights.checkpoint is None else tensors_for(backbone, weights.checkpoint)
    torch.manual_seed(weights.seed)
    with hub():
        network = timm.create_model(
            backbone.model,
            pretrained=weights.tag is not None and file is None,
            img_size=backbone.size if file is None else trained_size(backbone, file.tensors),
            num_classes=0,
            depth=backbone.blocks,
        )
    if file is not None:
        label = f'checkpoint "{weights.checkpoint}"'
        load_checked(network, file.tensors, label=label, hint=hint(backbone, file.tensors))
    musc = follows == "musc"
    scaled = musc and not backbone.registers
    rule = TableRule(antialias=not scaled, scaled=scaled)
    resized = _resize(network, size, rule)
    settings = network.pretrained_cfg
    described = Described(
        pixels=Pixels(
            tuple(settings["mean"]),
            tuple(settings["std"]),
            "bilinear" if musc else settings["interpolation"],
        ),
        licence=(settings.get("license") or "unknown") if weights.tag else "unknown",
        rules=Rules(
            follows=follows,
            position_table=str(rule) if resized else "as trained",
            activation="swiglu" if hasattr(network.blocks[0].mlp, "gate_last") else "gelu",
        ),
        unit=not musc,
    )
    return DinoTower(network, layers, size, described)


def _resize(network: Any, size: int, rule: TableRule) -> bool:
    """Bring a tower to another size of input; tell whether its table of positions changed."""
    grid = size // network.patch_embed.patch_size[0]
    if grid == network.patch_embed.grid_size[0]:
        return False
    table = network.pos_embed.detach()[0]
    prefix = 0 if network.no_embed_class else 1
    network.set_input_size((size, size))
    network.pos_embed = nn.Parameter(resized_table(table, rule, grid=grid, prefix=prefix)[None])
    return True
