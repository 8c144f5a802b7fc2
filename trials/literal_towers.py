"""The networks of MuSc's authors, written out from their rules, without timm and open_clip.

Names of weights are OpenAI's for CLIP, and Meta's for DINO and DINOv2. Nothing here is shared with
the export: the position table is sampled by hand, attention is two products and a softmax.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: The cubic of PyTorch's bicubic.
_CUBIC = -0.75
_HEAD = 64  # channels of a head in all these networks


@dataclass(frozen=True)
class LiteralRules:
    """What the authors' code does with a family.

    Attributes
    ----------
    antialias : bool
        Where the position table shrinks.
    offset : float
        The table is scaled by (g + offset)/n.
    interpolation : Resampling
        Of pixels.
    quick : bool
        QuickGELU.
    """

    antialias: bool
    offset: float
    interpolation: Image.Resampling
    quick: bool = False


def musc_rules(family: str, *, native: bool, openai: bool, registers: int) -> LiteralRules:
    """Return the authors' rules; of registers, which they do not have, Meta's."""
    if family == "CLIP":
        return LiteralRules(False, 0.0, Image.Resampling.BICUBIC, quick=openai and native)
    offset, antialias = (0.0, True) if registers else (0.1, False)
    return LiteralRules(antialias, offset, Image.Resampling.BILINEAR)


def literal_pixels(frame: Any, size: int, rules: LiteralRules, *, clip: bool) -> torch.Tensor:
    """Return (1, 3, S, S) of a BGR frame."""
    picture = Image.fromarray(np.ascontiguousarray(frame[:, :, ::-1]))
    values = np.asarray(picture.resize((size, size), rules.interpolation), np.float32) / 255
    mean, std = (CLIP_MEAN, CLIP_STD) if clip else (IMAGENET_MEAN, IMAGENET_STD)
    normal = (values - np.array(mean, np.float32)) / np.array(std, np.float32)
    return torch.from_numpy(normal.transpose(2, 0, 1)[None].copy())


def _weights_of_axis(trained: int, grid: int, offset: float, *, antialias: bool) -> Any:
    """Return (g, n): how much of each trained place is in each wanted one."""
    step = trained / (grid + offset)
    rows = np.zeros((grid, trained))
    for place in range(grid):
        centre = (place + 0.5) * step - 0.5
        # antialiased, PyTorch's cubic is that of Pillow, widened, and cut off at the border
        wide, cubic = (max(step, 1.0), -0.5) if antialias else (1.0, _CUBIC)
        first, last = int(np.floor(centre - 2 * wide)), int(np.ceil(centre + 2 * wide))
        for source in range(first, last + 1):
            far = abs(source - centre) / wide
            if far >= 2:
                continue
            if far < 1:
                share = (cubic + 2) * far**3 - (cubic + 3) * far**2 + 1
            else:
                share = cubic * (far**3 - 5 * far**2 + 8 * far - 4)
            if antialias:
                if 0 <= source < trained:
                    rows[place, source] += share
            else:
                rows[place, min(max(source, 0), trained - 1)] += share
        rows[place] /= rows[place].sum() if antialias else 1
    return rows


def literal_table(table: Any, grid: int, rules: LiteralRules) -> torch.Tensor:
    """Return (1 + g², C) of a table (1 + n², C), sampled by hand in double precision."""
    first, places = table[:1], table[1:].double().numpy()
    trained = round(len(places) ** 0.5)
    if trained == grid:
        return torch.as_tensor(table)
    weights = _weights_of_axis(trained, grid, rules.offset, antialias=rules.antialias)
    square = places.reshape(trained, trained, -1)
    resized = np.einsum("yi,xj,ijc->yxc", weights, weights, square, optimize=True)
    return torch.cat([first, torch.from_numpy(resized.reshape(grid * grid, -1)).float()])


def _block(
    x: Any, state: Mapping[str, Any], names: Mapping[str, str], *, eps: float, act: Any
) -> Any:
    """Run a block: attention and perceptron, each after a norm, each added."""

    def linear(value: Any, key: str) -> Any:
        name = names[key]
        joint = "_" if name.endswith("in_proj") else "."
        return value @ state[f"{name}{joint}weight"].T + state[f"{name}{joint}bias"]

    def norm(value: Any, key: str) -> Any:
        weight, bias = state[names[key] + ".weight"], state[names[key] + ".bias"]
        return functional.layer_norm(value, weight.shape, weight, bias, eps)

    def scaled(value: Any, key: str) -> Any:
        return value * state[names[key]] if names.get(key) in state else value

    batch, count, width = x.shape
    query, key, value = (
        part.reshape(batch, count, width // _HEAD, _HEAD).transpose(1, 2)
        for part in linear(norm(x, "norm1"), "qkv").split(width, dim=-1)
    )
    attention = (query @ key.transpose(2, 3) / _HEAD**0.5).softmax(dim=-1) @ value
    x = x + scaled(linear(attention.transpose(1, 2).reshape(x.shape), "out"), "scale1")
    inner = linear(norm(x, "norm2"), "fc1")
    return x + scaled(linear(act(inner), "fc2"), "scale2")


def _quick_gelu(x: Any) -> Any:
    return x / (1 + torch.exp(-1.702 * x))


def _patches(images: Any, kernel: Any, bias: Any = None) -> Any:
    return functional.conv2d(images, kernel, bias, stride=kernel.shape[-1]).flatten(2).mT


def literal_clip(
    state: Mapping[str, Any], images: Any, layers: Sequence[int], rules: LiteralRules
) -> tuple[list[Any], Any]:
    """Return raw tokens after blocks, and the unit image embedding."""
    x = _patches(images, state["conv1.weight"])
    grid = round(x.shape[1] ** 0.5)
    first = state["class_embedding"].expand(len(x), 1, -1)
    x = torch.cat([first, x], dim=1)
    x = x + literal_table(state["positional_embedding"], grid, rules)
    x = functional.layer_norm(x, x.shape[-1:], state["ln_pre.weight"], state["ln_pre.bias"], 1e-5)
    found = []
    act = _quick_gelu if rules.quick else functional.gelu
    number = 0
    while f"transformer.resblocks.{number}.ln_1.weight" in state:
        before = f"transformer.resblocks.{number}."
        names = {"norm1": "ln_1", "qkv": "attn.in_proj", "out": "attn.out_proj", "norm2": "ln_2",
                 "fc1": "mlp.c_fc", "fc2": "mlp.c_proj"}  # fmt: skip
        x = _block(x, state, {k: before + v for k, v in names.items()}, eps=1e-5, act=act)
        if number in layers:
            found.append(x[:, 1:])
        number += 1
    last = functional.layer_norm(
        x[:, 0], x.shape[-1:], state["ln_post.weight"], state["ln_post.bias"], 1e-5
    )
    embedding = last @ state["proj"]
    return found, embedding / embedding.norm(dim=-1, keepdim=True)


def literal_dino(
    state: Mapping[str, Any], images: Any, layers: Sequence[int], rules: LiteralRules
) -> tuple[list[Any], Any]:
    """Return tokens after the last norm, and the class token as long as it is."""
    x = _patches(images, state["patch_embed.proj.weight"], state["patch_embed.proj.bias"])
    grid = round(x.shape[1] ** 0.5)
    x = torch.cat([state["cls_token"].expand(len(x), -1, -1), x], dim=1)
    x = x + literal_table(state["pos_embed"][0], grid, rules)
    registers = state.get("register_tokens")
    rest = 1
    if registers is not None:
        x = torch.cat([x[:, :1], registers.expand(len(x), -1, -1), x[:, 1:]], dim=1)
        rest += registers.shape[1]

    def norm(value: Any) -> Any:
        weight, bias = state["norm.weight"], state["norm.bias"]
        return functional.layer_norm(value, weight.shape, weight, bias, 1e-6)

    found = []
    number = 0
    while f"blocks.{number}.norm1.weight" in state:
        gated = f"blocks.{number}.mlp.w12.weight" in state
        names = {"norm1": "norm1", "qkv": "attn.qkv", "out": "attn.proj", "norm2": "norm2",
                 "fc1": "mlp.w12" if gated else "mlp.fc1", "fc2": "mlp.w3" if gated else "mlp.fc2",
                 "scale1": "ls1.gamma", "scale2": "ls2.gamma"}  # fmt: skip
        names = {k: f"blocks.{number}.{v}" for k, v in names.items()}
        x = _block(x, state, names, eps=1e-6, act=_gated if gated else functional.gelu)
        if number in layers:
            found.append(norm(x)[:, rest:])
        number += 1
    return found, norm(x)[:, 0]


def _gated(inner: Any) -> Any:
    first, second = inner.chunk(2, dim=-1)
    return first / (1 + torch.exp(-first)) * second


def off_neutral(network: Any, *, seed: int) -> None:
    """Give a random network norms, scales and positions that are not those of a fresh one."""
    drawn = torch.Generator().manual_seed(seed)

    def noise(tensor: Any) -> Any:
        return torch.randn(tensor.shape, generator=drawn)

    with torch.no_grad():
        for name, tensor in network.named_parameters():
            if name.endswith("gamma"):
                tensor.copy_(0.3 + 0.1 * noise(tensor))
            elif "norm" in name or "ln_" in name:
                tensor.copy_((name.endswith("weight")) + 0.2 * noise(tensor))
            elif name in ("pos_embed", "positional_embedding", "reg_token", "cls_token"):
                tensor.copy_(0.1 * noise(tensor))
            elif name.endswith("bias"):
                tensor.copy_(0.02 * noise(tensor))


def authors_state(network: Any, *, seed: int) -> dict[str, Any]:
    """Return a tower's weights by the names that OpenAI and Meta gave them."""
    state = {name: value.clone() for name, value in network.state_dict().items()}
    if "reg_token" in state:  # Meta's table has a row for the class token
        state["register_tokens"] = state.pop("reg_token")
        drawn = torch.Generator().manual_seed(seed)
        row = 0.1 * torch.randn(state["cls_token"].shape, generator=drawn)
        state["pos_embed"] = torch.cat([row, state["pos_embed"]], dim=1)
        state["mask_token"] = torch.zeros(1, state["cls_token"].shape[-1])
    if any(hasattr(module, "gate_last") for module in network.modules()):
        for name in [name for name in state if ".mlp." in name]:
            short = name.replace("mlp.fc1", "mlp.w12").replace("mlp.fc2", "mlp.w3")
            state[short] = state.pop(name)
    return state


def literal_rscin_scores(scores: Any, class_tokens: Any, neighbours: Sequence[int]) -> Any:
    """Re-score as the authors do: the m largest products of a row, whatever images they are."""
    products = np.asarray(class_tokens, np.float64) @ np.asarray(class_tokens, np.float64).T
    scores = np.asarray(scores, np.float64)
    results = []
    for m in neighbours:
        kept = np.zeros_like(products)
        for row, line in enumerate(products):
            largest = np.argsort(-line, kind="stable")[:m]
            kept[row, largest] = line[largest]
        results.append(kept / kept.sum(axis=1, keepdims=True) @ scores)
    return np.mean(results, axis=0)
