"""A checkpoint's tensors, ready for a backbone's tower; and what to do where they do not fit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zeroline.export.backbones import Backbone, Family, fitting
from zeroline.export.checkpoint_file import read_tensors
from zeroline.export.errors import ExportError
from zeroline.export.layouts import Arranged, TowerFamily, arranged

_SHOWN = 3
# by family: the patch embedding, the table of positions, and what stands before a block's number
_NAMES = {
    "CLIP": ("conv1.weight", "positional_embedding", "transformer.resblocks."),
    "DINO": ("patch_embed.proj.weight", "pos_embed", "blocks."),
}


def tensors_for(backbone: Backbone, checkpoint: Path) -> Arranged:
    """Read a checkpoint for a backbone.

    Raises
    ------
    ExportError
        If it cannot be read, holds no such tower, or has patches of another size.
    """
    label = f'checkpoint "{checkpoint}"'
    family: TowerFamily = "CLIP" if backbone.family == "CLIP" else "DINO"
    found = arranged(read_tensors(checkpoint), family=family, label=label)
    patches = found.tensors[_NAMES[family][0]]
    if patches.ndim == 4 and patches.shape[-1] != backbone.patch:
        raise ExportError(
            f"{label} has patches of {patches.shape[-1]} pixels, {backbone.name} "
            f"{backbone.patch}{hint(backbone, found.tensors)}"
        )
    return found


def trained_size(backbone: Backbone, tensors: Mapping[str, Any]) -> int:
    """Return the side in pixels of the input that a checkpoint's table of positions is for.

    Where there is no square table it is the backbone's own, and loading will say so.
    """
    table = tensors.get(_NAMES["CLIP" if backbone.family == "CLIP" else "DINO"][1])
    if table is None or table.ndim < 2:
        return backbone.size
    places = table.shape[-2] - (0 if backbone.registers else 1)
    grid = round(max(places, 0) ** 0.5)
    return grid * backbone.patch if grid and grid * grid == places else backbone.size


def hint(backbone: Backbone, tensors: Mapping[str, Any]) -> str:
    """Name the backbones that a checkpoint would fit, or what it lacks."""
    embedding, _, before = _NAMES["CLIP" if backbone.family == "CLIP" else "DINO"]
    if backbone.family == "CLIP" and "proj" not in tensors:
        return (
            ". It lacks the projection of the class token: save the whole CLIP model, or "
            "CLIPVisionModelWithProjection"
        )
    numbers = {
        int(name.removeprefix(before).split(".")[0])
        for name in tensors
        if name.startswith(before) and name.removeprefix(before).split(".")[0].isdigit()
    }
    family: Family = backbone.family
    if family != "CLIP":
        family = "DINOv2" if "blocks.0.ls1.gamma" in tensors else "DINO"
    width, patch = tensors[embedding].shape[0], tensors[embedding].shape[-1]
    registers = tensors["reg_token"].shape[1] if "reg_token" in tensors else 0
    names = fitting(family, blocks=len(numbers), width=width, patch=patch, registers=registers)
    if not names or backbone.name in names:
        return ""
    return f". It would fit {', '.join(names[:_SHOWN])}"
