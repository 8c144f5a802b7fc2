"""Which backbones can be exported: their names, sizes and where they come from."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from zeroline.export.errors import ExportError
from zeroline.export.frameworks import framework

Family = Literal["CLIP", "DINO", "DINOv2"]
#: Whose network a tower is: that of the published figures, or its makers'.
Follows = Literal["musc", "framework"]

_TIMM = {
    "DINO-ViT-S-16": ("DINO", "vit_small_patch16_224.dino"),
    "DINO-ViT-S-8": ("DINO", "vit_small_patch8_224.dino"),
    "DINO-ViT-B-16": ("DINO", "vit_base_patch16_224.dino"),
    "DINO-ViT-B-8": ("DINO", "vit_base_patch8_224.dino"),
    "DINOv2-ViT-S-14": ("DINOv2", "vit_small_patch14_dinov2.lvd142m"),
    "DINOv2-ViT-B-14": ("DINOv2", "vit_base_patch14_dinov2.lvd142m"),
    "DINOv2-ViT-L-14": ("DINOv2", "vit_large_patch14_dinov2.lvd142m"),
    "DINOv2-ViT-g-14": ("DINOv2", "vit_giant_patch14_dinov2.lvd142m"),
    "DINOv2-ViT-S-14-reg": ("DINOv2", "vit_small_patch14_reg4_dinov2.lvd142m"),
    "DINOv2-ViT-B-14-reg": ("DINOv2", "vit_base_patch14_reg4_dinov2.lvd142m"),
    "DINOv2-ViT-L-14-reg": ("DINOv2", "vit_large_patch14_reg4_dinov2.lvd142m"),
    "DINOv2-ViT-g-14-reg": ("DINOv2", "vit_giant_patch14_reg4_dinov2.lvd142m"),
}
_TIMM_SHAPES = {"S": (12, 384), "B": (12, 768), "L": (24, 1024), "g": (40, 1536)}
_REGISTERS = 4


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
    registers : int
        Tokens beside the class token that stand for no patch.
    """

    name: str
    family: Family
    model: str
    blocks: int
    width: int
    patch: int
    size: int
    widening: float = 4.0
    registers: int = 0

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
        _, _, letter, patch, *registers = name.split("-")
        blocks, width = _TIMM_SHAPES[letter]
        yield Backbone(
            name,
            "DINO" if family == "DINO" else "DINOv2",
            model,
            blocks,
            width,
            int(patch),
            518 if family == "DINOv2" else 224,
            registers=_REGISTERS if registers else 0,
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


def fitting(
    family: Family, *, blocks: int, width: int, patch: int, registers: int = 0
) -> list[str]:
    """Return the names of the backbones of a shape, those with a plain name first."""
    found = [
        b.name
        for b in backbones()
        if (b.family, b.blocks, b.width, b.patch, b.registers)
        == (family, blocks, width, patch, registers)
    ]
    return sorted((name for name in found if "quickgelu" not in name), key=len)
