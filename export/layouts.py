"""Names under which programs keep a vision transformer's tensors, turned into those of its tower.

A layout is known by its patch embedding. What stands before that name (`module.`, `model.`,
`_orig_mod.`, `visual.`, …) stands before the whole tower; all else in a file, such as a text tower
or a head, is not part of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from zeroline.export.errors import ExportError
from zeroline.export.frameworks import framework

TowerFamily = Literal["CLIP", "DINO"]

# parts that become one tensor, in this order
_PARTS = ("q", "k", "v")
_SHOWN = 3


@dataclass(frozen=True)
class Layout:
    """One program's names.

    Attributes
    ----------
    name : str
        As users know it.
    family : {"CLIP", "DINO"}
        Of the towers that it holds; DINO stands for DINOv2 too.
    anchor : str
        Pattern of the patch embedding's name.
    beside : str
        Another tensor of the tower, which other networks with such an anchor lack.
    renames : tuple of (pattern, replacement)
        To the tower's names; a part of a joined tensor gets `|q`, `|k` or `|v`.
    unused : tuple of str
        How names begin that the tower has no use for.
    openai : bool
        Most files in it come from OpenAI's weights.
    """

    name: str
    family: TowerFamily
    anchor: str
    beside: str
    renames: tuple[tuple[str, str], ...] = ()
    unused: tuple[str, ...] = ()
    openai: bool = False


_CLIP_BLOCK = r"transformer.resblocks.\1."
_HF_CLIP = r"vision_model\.encoder\.layers\.(\d+)\."
_HF_DINO = r"encoder\.layer\.(\d+)\."
#: The most particular first: the first that fits is taken.
LAYOUTS = (
    Layout("open_clip's CLIP", "CLIP", r"conv1\.weight", "class_embedding"),
    Layout(
        "Hugging Face's CLIP",
        "CLIP",
        r"vision_model\.embeddings\.patch_embedding\.weight",
        "vision_model.embeddings.class_embedding",
        (
            (r"vision_model\.embeddings\.class_embedding", "class_embedding"),
            (r"vision_model\.embeddings\.patch_embedding\.weight", "conv1.weight"),
            (r"vision_model\.embeddings\.position_embedding\.weight", "positional_embedding"),
            (r"vision_model\.pre_layrnorm\.(.*)", r"ln_pre.\1"),
            (r"vision_model\.post_layernorm\.(.*)", r"ln_post.\1"),
            (r"visual_projection\.weight", "proj|T"),
            (_HF_CLIP + r"self_attn\.([qkv])_proj\.(.*)", _CLIP_BLOCK + r"attn.in_proj_\3|\2"),
            (_HF_CLIP + r"self_attn\.out_proj\.(.*)", _CLIP_BLOCK + r"attn.out_proj.\2"),
            (_HF_CLIP + r"layer_norm([12])\.(.*)", _CLIP_BLOCK + r"ln_\2.\3"),
            (_HF_CLIP + r"mlp\.fc1\.(.*)", _CLIP_BLOCK + r"mlp.c_fc.\2"),
            (_HF_CLIP + r"mlp\.fc2\.(.*)", _CLIP_BLOCK + r"mlp.c_proj.\2"),
        ),
        ("text_", "logit_scale", "vision_model.embeddings.position_ids"),
        openai=True,
    ),
    Layout(
        "timm's CLIP",
        "CLIP",
        r"patch_embed\.proj\.weight",
        "norm_pre.weight",
        (
            (r"patch_embed\.proj\.weight", "conv1.weight"),
            (r"cls_token", "class_embedding|1"),
            (r"pos_embed", "positional_embedding|1"),
            (r"norm_pre\.(.*)", r"ln_pre.\1"),
            (r"norm\.(.*)", r"ln_post.\1"),
            (r"head\.weight", "proj|T"),
            (r"blocks\.(\d+)\.attn\.qkv\.(.*)", _CLIP_BLOCK + r"attn.in_proj_\2"),
            (r"blocks\.(\d+)\.attn\.proj\.(.*)", _CLIP_BLOCK + r"attn.out_proj.\2"),
            (r"blocks\.(\d+)\.norm([12])\.(.*)", _CLIP_BLOCK + r"ln_\2.\3"),
            (r"blocks\.(\d+)\.mlp\.fc1\.(.*)", _CLIP_BLOCK + r"mlp.c_fc.\2"),
            (r"blocks\.(\d+)\.mlp\.fc2\.(.*)", _CLIP_BLOCK + r"mlp.c_proj.\2"),
        ),
        openai=True,
    ),
    Layout(
        "Meta's or timm's DINO",
        "DINO",
        r"patch_embed\.proj\.weight",
        "cls_token",
        (
            (r"blocks\.\d+\.(\d+)\.(.*)", r"blocks.\1.\2"),  # in chunks, as DINOv2 is trained
            (r"(blocks\.\d+\.mlp\.)w12\.(.*)", r"\1fc1.\2"),
            (r"(blocks\.\d+\.mlp\.)w3\.(.*)", r"\1fc2.\2"),
        ),
        ("mask_token", "head.", "pre_logits.", "fc_norm."),
    ),
    Layout(
        "Hugging Face's DINO or DINOv2",
        "DINO",
        r"embeddings\.patch_embeddings\.projection\.weight",
        "embeddings.cls_token",
        (
            (r"embeddings\.(cls_token|register_tokens)", r"\1"),
            (r"embeddings\.position_embeddings", "pos_embed"),
            (r"embeddings\.patch_embeddings\.projection\.(.*)", r"patch_embed.proj.\1"),
            (r"layernorm\.(.*)", r"norm.\1"),
            (_HF_DINO + r"attention\.attention\.(q)uery\.(.*)", r"blocks.\1.attn.qkv.\3|\2"),
            (_HF_DINO + r"attention\.attention\.(k)ey\.(.*)", r"blocks.\1.attn.qkv.\3|\2"),
            (_HF_DINO + r"attention\.attention\.(v)alue\.(.*)", r"blocks.\1.attn.qkv.\3|\2"),
            (_HF_DINO + r"attention\.output\.dense\.(.*)", r"blocks.\1.attn.proj.\2"),
            (_HF_DINO + r"(norm[12])\.(.*)", r"blocks.\1.\2.\3"),
            (_HF_DINO + r"layernorm_before\.(.*)", r"blocks.\1.norm1.\2"),
            (_HF_DINO + r"layernorm_after\.(.*)", r"blocks.\1.norm2.\2"),
            (_HF_DINO + r"layer_scale([12])\.lambda1", r"blocks.\1.ls\2.gamma"),
            (_HF_DINO + r"intermediate\.dense\.(.*)", r"blocks.\1.mlp.fc1.\2"),
            (_HF_DINO + r"output\.dense\.(.*)", r"blocks.\1.mlp.fc2.\2"),
            (_HF_DINO + r"mlp\.(?:fc1|weights_in)\.(.*)", r"blocks.\1.mlp.fc1.\2"),
            (_HF_DINO + r"mlp\.(?:fc2|weights_out)\.(.*)", r"blocks.\1.mlp.fc2.\2"),
        ),
        ("embeddings.mask_token", "pooler."),
    ),
)  # fmt: skip
#: Networks that people take for one of these, by a name that only they have.
_OTHERS = (
    (r"lora_[AB]\b|\.lora_", "adapters (LoRA) without their network, or not merged: merge them "
     "into it before saving"),
    (r"rope_embed\.|storage_tokens|^layer\.\d+\.attention\.q_proj", "DINOv3, which has no export "
     "here: export/README.md has the reason"),
    (r"vision_model\.(?:head\.probe|embeddings\.patch_embedding\.bias)|attn_pool\.latent",
     "SigLIP, which has no export here: export/README.md has the reason"),
    (r"layer1\.0\.conv1\.weight|layer1\.0\.conv2\.weight", "a ResNet: a vision transformer is "
     "expected"),
    (r"layers\.0\.blocks\.0\.", "a Swin transformer: a plain vision transformer is expected"),
    (r"stages\.0\.(?:blocks\.)?0\.", "a ConvNeXt: a vision transformer is expected"),
    (r"decoder_embed\.", "a masked autoencoder (MAE): DINO, DINOv2 or CLIP is expected"),
)  # fmt: skip


@dataclass(frozen=True)
class Arranged:
    """A tower's tensors under its own names.

    Attributes
    ----------
    tensors : dict
    layout : Layout
    openai : bool
        They may well come from OpenAI's weights.
    """

    tensors: dict[str, Any]
    layout: Layout
    openai: bool


def arranged(tensors: Mapping[str, Any], *, family: TowerFamily, label: str) -> Arranged:
    """Find the tower in a file's tensors, and give them the tower's names.

    Parameters
    ----------
    tensors : dict
        By the names that the file has.
    family : {"CLIP", "DINO"}
        What is wanted. CLIP gets open_clip's names, DINO and DINOv2 timm's.
    label : str
        Names the file in errors.

    Raises
    ------
    ExportError
        If there is no such tower, or more than one; the layout that it looks like is named.
    """
    layout, prefix = _layout_of(tensors, label)
    if layout.family != family:
        wanted = "DINO or DINOv2" if family == "DINO" else "CLIP"
        raise ExportError(
            f"{label} holds {layout.name}, and {wanted} is wanted: give the name of a backbone "
            "that it is for (zeroline export backbone --list)"
        )
    own = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
    own = {n: t for n, t in own.items() if not n.startswith(layout.unused or ("\0",))}
    found = _joined({_renamed(name, layout): tensor for name, tensor in own.items()}, label)
    if family == "DINO" and "register_tokens" in found:
        _split_registers(found)
    openai = layout.openai or "input_resolution" in tensors
    return Arranged(found, layout, openai)


def _layout_of(tensors: Mapping[str, Any], label: str) -> tuple[Layout, str]:
    """Return the layout of a file, and what stands before the tower's names."""
    for pattern, words in _OTHERS:
        if any(re.search(pattern, name) for name in tensors):
            raise ExportError(f"{label} looks like {words}")
    for layout in LAYOUTS:
        anchor = re.compile(rf"(.*\.|){layout.anchor}")
        prefixes = [hit[1] for name in tensors if (hit := anchor.fullmatch(name))]
        prefixes = [prefix for prefix in prefixes if prefix + layout.beside in tensors]
        if len(prefixes) > 1:  # of a student and its teacher the teacher is the network
            prefixes = [p for p in prefixes if "teacher" in p] or prefixes
        if len(prefixes) > 1:
            names = " and ".join(f'"{prefix}"' for prefix in prefixes)
            raise ExportError(f"{label} holds {len(prefixes)} networks, {names}: save one alone")
        if prefixes:
            return layout, prefixes[0]
    raise ExportError(f"{label} {_described(tensors)}")


def _described(tensors: Mapping[str, Any]) -> str:
    """Say how the tensors of a file are called."""
    shared = _shared_prefix(tensors)
    names = [name.removeprefix(shared) for name in tensors]
    before = f'all begin with "{shared}" and go on with' if shared else "are called"
    more = ", …" if len(names) > _SHOWN else ""
    return (
        f"holds no vision transformer in a layout of timm, Meta, open_clip or Hugging Face: its "
        f"{len(names)} tensors {before} {', '.join(names[:_SHOWN])}{more}"
    )


def _shared_prefix(names: Iterable[str]) -> str:
    """Return the words that all names begin with, each with its dot."""
    split = [name.split(".")[:-1] for name in names]
    shared = []
    for words in zip(*split, strict=False):
        if len(set(words)) > 1:
            break
        shared.append(words[0] + ".")
    return "".join(shared)


def _renamed(name: str, layout: Layout) -> str:
    for pattern, replacement in layout.renames:
        if hit := re.fullmatch(pattern, name):
            name = hit.expand(replacement)
    return name


def _joined(tensors: Mapping[str, Any], label: str) -> dict[str, Any]:
    """Join queries, keys and values, and bring tensors to the tower's form."""
    torch = framework("torch")
    found: dict[str, Any] = {}
    for name, tensor in tensors.items():
        short, _, form = name.partition("|")
        if form == "T":
            found[short] = tensor.T.contiguous()
        elif form == "1":  # without the dimension of the batch
            found[short] = tensor.reshape(tensor.shape[2:] if short.startswith("class") else
                                          tensor.shape[1:])  # fmt: skip
        elif not form:
            found[short] = tensor
        elif form == _PARTS[0]:
            parts = [tensors.get(f"{short}|{part}") for part in _PARTS]
            if any(part is None for part in parts):
                raise ExportError(f"{label} has no keys or values for {short}")
            found[short] = torch.cat(parts)
    return found


def _split_registers(found: dict[str, Any]) -> None:
    """Keep registers as timm does: the class token's position is part of the class token."""
    found["reg_token"] = found.pop("register_tokens")
    if "pos_embed" in found:
        positions = found["pos_embed"]
        found["cls_token"] = found["cls_token"] + positions[:, :1]
        found["pos_embed"] = positions[:, 1:]
