"""Checkpoints as people have them: one tower's tensors under the names of many programs.

The names were written down from the programs' own files, and are not taken from the export.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from typing import Any


def with_prefix(prefix: str, state: Mapping[str, Any]) -> dict[str, Any]:
    return {prefix + name: tensor for name, tensor in state.items()}


def openai_names(visual: Mapping[str, Any]) -> dict[str, Any]:
    """A whole CLIP as OpenAI and open_clip name it; its text tower is a stub."""
    import torch

    text = {
        "positional_embedding": torch.zeros(77, 8),
        "transformer.resblocks.0.ln_1.weight": torch.zeros(8),
        "text_projection": torch.zeros(8, 8),
        "token_embedding.weight": torch.zeros(9, 8),
        "logit_scale": torch.tensor(4.6),
    }
    return with_prefix("visual.", visual) | text


def hugging_face_clip(visual: Mapping[str, Any], *, whole: bool = True) -> dict[str, Any]:
    """CLIPModel of transformers: queries, keys and values apart, the projection transposed."""
    import torch

    found = {}
    for name, tensor in visual.items():
        if name == "class_embedding":
            found["vision_model.embeddings.class_embedding"] = tensor
        elif name == "positional_embedding":
            found["vision_model.embeddings.position_embedding.weight"] = tensor
        elif name == "conv1.weight":
            found["vision_model.embeddings.patch_embedding.weight"] = tensor
        elif name == "proj":
            found["visual_projection.weight"] = tensor.T.contiguous()
        elif name.startswith("ln_pre"):
            found[name.replace("ln_pre", "vision_model.pre_layrnorm")] = tensor
        elif name.startswith("ln_post"):
            found[name.replace("ln_post", "vision_model.post_layernorm")] = tensor
        else:
            _, _, number, rest = name.split(".", 3)
            block = f"vision_model.encoder.layers.{number}."
            if rest.startswith("attn.in_proj"):
                kind = rest.rsplit("_", 1)[1]
                for letter, part in zip("qkv", tensor.chunk(3), strict=True):
                    found[f"{block}self_attn.{letter}_proj.{kind}"] = part.clone()
                continue
            for ours, theirs in (
                ("attn.out_proj", "self_attn.out_proj"), ("ln_1", "layer_norm1"),
                ("ln_2", "layer_norm2"), ("mlp.c_fc", "mlp.fc1"), ("mlp.c_proj", "mlp.fc2"),
            ):  # fmt: skip
                rest = rest.replace(ours, theirs)
            found[block + rest] = tensor
    found["vision_model.embeddings.position_ids"] = torch.arange(5)[None]
    if whole:
        found["text_model.embeddings.token_embedding.weight"] = torch.zeros(9, 8)
        found["text_projection.weight"] = torch.zeros(8, 8)
        found["logit_scale"] = torch.tensor(4.6)
    return found


def timm_clip(visual: Mapping[str, Any]) -> dict[str, Any]:
    """CLIP's tower in timm."""
    found = {}
    for name, tensor in visual.items():
        if name == "class_embedding":
            found["cls_token"] = tensor[None, None]
        elif name == "positional_embedding":
            found["pos_embed"] = tensor[None]
        elif name == "proj":
            found["head.weight"] = tensor.T.contiguous()
        else:
            short = name
            for ours, theirs in (
                ("conv1", "patch_embed.proj"), ("ln_pre", "norm_pre"), ("ln_post", "norm"),
                ("transformer.resblocks", "blocks"), ("attn.in_proj_", "attn.qkv."),
                ("attn.out_proj", "attn.proj"), ("ln_1", "norm1"), ("ln_2", "norm2"),
                ("mlp.c_fc", "mlp.fc1"), ("mlp.c_proj", "mlp.fc2"),
            ):  # fmt: skip
                short = short.replace(ours, theirs)
            found[short] = tensor
    return found


def hugging_face_dino(state: Mapping[str, Any], *, kind: str) -> dict[str, Any]:
    """DINO (ViTModel) or DINOv2 of transformers, from Meta's names."""
    import torch

    found = {}
    for name, tensor in state.items():
        if name in ("cls_token", "register_tokens", "mask_token"):
            found[f"embeddings.{name}"] = tensor
        elif name == "pos_embed":
            found["embeddings.position_embeddings"] = tensor
        elif name.startswith("patch_embed.proj."):
            found[f"embeddings.patch_embeddings.projection.{name.split('.')[-1]}"] = tensor
        elif name.startswith("norm."):
            found[f"layernorm.{name.split('.')[-1]}"] = tensor
        else:
            _, number, rest = name.split(".", 2)
            block = f"encoder.layer.{number}."
            if rest.startswith("attn.qkv"):
                end = rest.rsplit(".", 1)[1]
                for word, part in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                    found[f"{block}attention.attention.{word}.{end}"] = part.clone()
                continue
            table = [("attn.proj", "attention.output.dense"), ("ls1.gamma", "layer_scale1.lambda1"),
                     ("ls2.gamma", "layer_scale2.lambda1"), ("mlp.w12", "mlp.weights_in"),
                     ("mlp.w3", "mlp.weights_out")]  # fmt: skip
            if kind == "DINO":
                table += [
                    ("norm1", "layernorm_before"), ("norm2", "layernorm_after"),
                    ("mlp.fc1", "intermediate.dense"), ("mlp.fc2", "output.dense"),
                ]  # fmt: skip
            for ours, theirs in table:
                rest = rest.replace(ours, theirs)
            found[block + rest] = tensor
    if kind == "DINO":
        found["pooler.dense.weight"] = torch.zeros(8, 8)
    return found


def in_chunks(state: Mapping[str, Any], chunks: int) -> dict[str, Any]:
    """Meta's names while DINOv2 is trained: blocks in chunks, each numbered through."""
    return {
        re.sub(
            r"^blocks\.(\d+)\.", lambda hit: f"blocks.{int(hit[1]) // chunks}.{hit[1]}.", name
        ): t
        for name, t in state.items()
    }


def training_checkpoint(state: Mapping[str, Any], *, teacher: bool = True) -> dict[str, Any]:
    """DINO's own: student, teacher, heads, optimiser and the program's options."""
    import torch

    student = {f"module.backbone.{n}": torch.zeros_like(t) for n, t in state.items()}
    found: dict[str, Any] = {
        "student": student if teacher else with_prefix("module.backbone.", state),
        "optimizer": {"state": {}, "param_groups": []},
        "epoch": 3,
        "args": argparse.Namespace(arch="vit_small"),
    }
    found["student"]["module.head.last_layer.weight_v"] = torch.zeros(3)
    if teacher:
        found["teacher"] = with_prefix("backbone.", state) | {"head.mlp.0.weight": torch.zeros(3)}
    return found
