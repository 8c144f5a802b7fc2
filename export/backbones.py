"""Which backbones can be exported: their names, sizes and where they come from."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from zeroline.export.errors import ExportError
from zeroline.export.frameworks import framework

Family = Literal["CLIP", "DINO", "DINOv2"]

_TIMM = {
    "DINO-ViT-S-16": ("DINO", "vit_small_patch16_224.dino"),
    "DINO-ViT-S-8": ("DINO", "vit_small_patch8_224.dino"),
    "DINO-ViT-B-16": ("DINO", "vit_base_patch16_224.dino"),
    "DINO-ViT-B-8": ("DINO", "vit_base_patch8_224.dino"),
    "DINOv2-ViT-S-14": ("DINOv2", "vit_small_patch14_dinov2.lvd142m"),
    "DINOv2-ViT-B-14": ("DINOv2", "vit_base_patch14_dinov2.lvd142m"),
    "DINOv2-ViT-L-14": ("DINOv2", "vit_large_patch14_dinov2.lvd142m"),
}
_TIMM_SHAPES = {"S": (12, 384), "B": (12, 768), "L": (24, 1024)}


@dataclass(frozen=True)
class Backbone:
    """A backbone that can be built.

    Attributes
    ----------
    name : str
        As users write it.
    family : {"CLIP", "DINO", "DINOv2"}
    model : str
        Its name in open_clip (CLIP) or timm.
    blocks, width, patch : int
        Depth, channels of a token, side of a patch in pixels.
    size : int
        Side of the input that it was made for, in pixels.
    widening : float
        Hidden channels of a block's perceptron, as a multiple of `width`.
    """

    name: str
    family: Family
    model: str
    blocks: int
    width: int
    patch: int
    size: int
    widening: float = 4.0

    @property
    def parameters(self) -> int:
        """Weights of the vision tower, without heads: patches, positions, blocks."""
        inner = int(self.width * self.widening)
        block = 4 * self.width**2 + 2 * self.width * inner + 9 * self.width + inner
        places = (self.size // self.patch) ** 2 + 2
        return self.blocks * block + (3 * self.patch**2 + places + 5) * self.width

    @property
    def layers(self) -> tuple[int, ...]:
        """The blocks whose tokens are taken by default, 0-based: the ends of the quarters."""
        return tuple(self.blocks * quarter // 4 - 1 for quarter in (1, 2, 3, 4))


def backbones() -> Iterator[Backbone]:
    """Yield every backbone that can be exported, timm's first."""
    for name, (family, model) in _TIMM.items():
        blocks, width = _TIMM_SHAPES[name.split("-")[-2]]
        patch = int(name.split("-")[-1])
        size = 518 if family == "DINOv2" else 224
        yield Backbone(
            name, "DINO" if family == "DINO" else "DINOv2", model, blocks, width, patch, size
        )
    open_clip = framework("open_clip")
    for name in open_clip.list_models():
        vision: dict[str, Any] = open_clip.get_model_config(name)["vision_cfg"]
        # towers of other make (ResNets, ConvNeXts, timm's) have no such layers and patches
        if (
            name.startswith("ViT-")
            and isinstance(vision.get("layers"), int)
            and "patch_size" in vision
        ):
            yield Backbone(
                name,
                "CLIP",
                name,
                vision["layers"],
                vision["width"],
                vision["patch_size"],
                vision["image_size"],
                vision.get("mlp_ratio", 4.0),
            )


def find_backbone(name: str) -> Backbone:
    """Return a backbone by its name.

    Raises
    ------
    ExportError
        If there is none; the nearest names are named.
    """
    known = {backbone.name: backbone for backbone in backbones()}
    if name in known:
        return known[name]
    lower = {other.lower(): other for other in known}
    near = [lower[hit] for hit in difflib.get_close_matches(name.lower(), lower, 3, 0.4)]
    hint = f"did you mean {' or '.join(near)}?" if near else "see zeroline export backbone --list"
    raise ExportError(f'there is no backbone "{name}"; {hint}')
