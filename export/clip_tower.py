"""CLIP's towers, built by open_clip.

MuSc's authors run OpenAI's weights with QuickGELU at the trained size and with plain GELU at any
other, so that their figures at 518 are of that network (docs/performance.md).
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
from zeroline.export.tower import ClipTower, Described, Pixels
from zeroline.export.weights import Weights, load_checked
from zeroline.runtime.network.manifest import Rules

_OPENAI = "openai"
#: Weights that the authors of MuSc offer.
_AUTHORS_TAGS = (_OPENAI, "laion400m_e31", "laion400m_e32")
_WORDS = {"gelu": "GELU", "quick_gelu": "QuickGELU"}


def build_clip(
    backbone: Backbone,
    weights: Weights,
    size: int,
    layers: Sequence[int],
    *,
    follows: Follows,
    activation: str | None,
    hub: Callable[[], AbstractContextManager[None]],
) -> ClipTower:
    """Build a tower of CLIP; see `zeroline.export.towers.build_tower`.

    `hub` is what downloads stand in.
    """
    open_clip = framework("open_clip")
    if weights.tag is not None:
        known = open_clip.list_pretrained_tags_by_model(backbone.model)
        if weights.tag not in known:
            raise ExportError(
                f'{backbone.name} has no weights "{weights.tag}"; '
                f"known: {', '.join(known) or 'none'}"
            )
    # a tag says more than where the weights lie: how pixels are prepared, which GELU was trained
    trained_with = (
        open_clip.get_pretrained_cfg(backbone.model, weights.tag) if weights.tag is not None else {}
    )
    file = None if weights.checkpoint is None else tensors_for(backbone, weights.checkpoint)
    torch.manual_seed(weights.seed)
    with hub():
        model = open_clip.create_model(
            backbone.model,
            pretrained=weights.tag if file is None else None,
            force_image_size=backbone.size if file is None else trained_size(
                backbone, file.tensors
            ),
            force_quick_gelu=bool(trained_with.get("quick_gelu")),
            force_preprocess_cfg={
                key: trained_with[key]
                for key in ("mean", "std", "interpolation")
                if trained_with.get(key)
            },
        )  # fmt: skip
    visual = model.visual
    if file is not None:
        label = f'checkpoint "{weights.checkpoint}"'
        load_checked(visual, file.tensors, label=label, hint=hint(backbone, file.tensors))
    configured = bool(open_clip.get_model_config(backbone.model).get("quick_gelu"))
    makers = "quick_gelu" if configured or trained_with.get("quick_gelu") else "gelu"
    theirs = makers
    if weights.tag in _AUTHORS_TAGS:  # they go by the configuration, but for OpenAI's own size
        quick = configured or (weights.tag == _OPENAI and size == backbone.size)
        theirs = "quick_gelu" if quick else "gelu"
    chosen = activation or (theirs if follows == "musc" else makers)
    _set_activation(visual, chosen)
    doubts = []
    if file is not None and file.openai and weights.tag is None and activation is None:
        doubts.append(
            f'"{weights.checkpoint}" may come from OpenAI\'s weights, which were trained with '
            f"QuickGELU, and {_WORDS[chosen]} is taken: give --pretrained openai, or --activation "
            "gelu|quick_gelu"
        )
    rule = TableRule(antialias=follows != "musc")
    resized = _resize(visual, size, rule)
    settings = open_clip.get_model_preprocess_cfg(model)
    described = Described(
        pixels=Pixels(
            tuple(settings["mean"]),
            tuple(settings["std"]),
            "bicubic" if follows == "musc" else settings["interpolation"],
        ),
        licence="MIT" if weights.tag == _OPENAI else "unknown",
        rules=Rules(
            follows=follows,
            position_table=str(rule) if resized else "as trained",
            activation=chosen,
        ),
        doubts=tuple(doubts),
    )
    return ClipTower(visual, layers, size, described)


def _set_activation(visual: Any, activation: str) -> None:
    quick = framework("open_clip").transformer.QuickGELU
    for block in visual.transformer.resblocks:
        block.mlp.gelu = quick() if activation == "quick_gelu" else nn.GELU()


def _resize(visual: Any, size: int, rule: TableRule) -> bool:
    """Bring a tower to another size of input; tell whether its table of positions changed."""
    grid = size // visual.patch_size[0]
    if grid == visual.grid_size[0]:
        return False
    table = visual.positional_embedding.detach()
    visual.positional_embedding = nn.Parameter(resized_table(table, rule, grid=grid, prefix=1))
    visual.image_size, visual.grid_size = (size, size), (grid, grid)
    return True
