"""Towers: a framework's vision transformer with the outputs that the runtime wants.

CLIP (open_clip): raw block outputs, no `ln_post` and no projection; the class token is the
projected image embedding. DINO and DINOv2 (timm): block outputs after the final LayerNorm, and
so the class token. Class tokens have unit length (ALGORITHMS §0; MuSc, arXiv 2401.16753).

PyTorch must be there before this module is imported; `build_tower` is reached by
`zeroline.export.build`.
"""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from zeroline.export.backbones import Backbone
from zeroline.export.errors import ExportError
from zeroline.export.frameworks import framework
from zeroline.export.quiet import quiet
from zeroline.export.weights import Weights, load_checked, read_checkpoint


@dataclass(frozen=True)
class Pixels:
    """What the framework wants of an image: RGB in [0, 1], less the mean, by the spread."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str


class Tower(nn.Module):
    """A vision transformer that gives (tokens of each layer …, class token).

    Attributes
    ----------
    network : Module
        The framework's own.
    layers : tuple of int
        Blocks behind the token outputs, 0-based.
    size : int
        Side of the input in pixels.
    pixels : Pixels
    licence : str
        Of the weights, as far as the framework knows it.
    """

    def __init__(
        self, network: nn.Module, layers: Sequence[int], size: int, pixels: Pixels, licence: str
    ) -> None:
        super().__init__()
        self.network = network
        self.layers = list(layers)
        self.size = size
        self.pixels = pixels
        self.licence = licence

    @property
    def outputs(self) -> list[str]:
        """Names of the outputs, in order."""
        return [*(f"tokens_{number}" for number in range(len(self.layers))), "class_token"]


class ClipTower(Tower):
    """open_clip's vision transformer."""

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, S, S) → tokens (B, P, C) of each layer, class token (B, D)."""
        intermediates: dict[str, Any] = self.network.forward_intermediates(
            images, indices=self.layers, output_fmt="NLC"
        )
        tokens: list[Tensor] = intermediates["image_intermediates"]
        return (*tokens, functional.normalize(intermediates["image_features"], dim=-1))


class DinoTower(Tower):
    """timm's vision transformer."""

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """(B, 3, S, S) → tokens (B, P, C) of each layer, class token (B, C)."""
        last, tokens = self.network.forward_intermediates(
            images, indices=self.layers, norm=True, output_fmt="NLC"
        )
        return (*tokens, functional.normalize(last[:, 0], dim=-1))


def build_tower(
    backbone: Backbone, weights: Weights, *, size: int | None, layers: Sequence[int] | None
) -> Tower:
    """Build a tower; its position embedding is resized to the input's grid here, not in the graph.

    Parameters
    ----------
    backbone : Backbone
    weights : Weights
    size : int or None
        Side of the input in pixels, a multiple of the patch; None takes the backbone's own.
    layers : sequence of int or None
        0-based blocks, rising; None takes `Backbone.layers`.

    Raises
    ------
    ExportError
        For a size or layers that the backbone cannot have, or weights that cannot be had.
    """
    side = backbone.size if size is None else size
    if side % backbone.patch:
        lower = side // backbone.patch * backbone.patch
        fits = [s for s in (lower, lower + backbone.patch) if s]
        raise ExportError(
            f"size {side} is no multiple of {backbone.name}'s patch of {backbone.patch} pixels; "
            f"{' or '.join(map(str, fits))} is"
        )
    chosen = backbone.layers if layers is None else tuple(layers)
    rising = list(chosen) == sorted(set(chosen))
    if not chosen or not rising or not 0 <= chosen[0] <= chosen[-1] < backbone.blocks:
        raise ExportError(
            f"layers {','.join(map(str, chosen))}: rising numbers from 0 to {backbone.blocks - 1} "
            f"are expected, the blocks of {backbone.name}"
        )
    with quiet():
        build = _build_clip if backbone.family == "CLIP" else _build_dino
        tower = build(backbone, weights, side, chosen)
    tower.eval()
    return tower


def _build_clip(backbone: Backbone, weights: Weights, size: int, layers: Sequence[int]) -> Tower:
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
    torch.manual_seed(weights.seed)
    with _hub(backbone, weights):
        model = open_clip.create_model(
            backbone.model,
            pretrained=weights.tag if weights.checkpoint is None else None,
            force_image_size=size,
            force_quick_gelu=bool(trained_with.get("quick_gelu")),
            force_preprocess_cfg={
                key: trained_with[key]
                for key in ("mean", "std", "interpolation")
                if trained_with.get(key)
            },
        )
    visual = model.visual
    if weights.checkpoint is not None:
        tensors = read_checkpoint(weights.checkpoint)
        own = {n.removeprefix("visual."): v for n, v in tensors.items() if n.startswith("visual.")}
        # open_clip resizes in place, under the names of a whole model
        state = {f"visual.{name}": value for name, value in (own or tensors).items()}
        with contextlib.suppress(KeyError, RuntimeError, ValueError):  # refused below
            open_clip.model.resize_pos_embed(state, model)
        tensors = {name.removeprefix("visual."): value for name, value in state.items()}
        load_checked(visual, tensors, label=f'checkpoint "{weights.checkpoint}"')
    settings = open_clip.get_model_preprocess_cfg(model)
    pixels = Pixels(tuple(settings["mean"]), tuple(settings["std"]), settings["interpolation"])
    licence = "MIT" if weights.tag == "openai" else "unknown"
    return ClipTower(visual, layers, size, pixels, licence)


def _build_dino(backbone: Backbone, weights: Weights, size: int, layers: Sequence[int]) -> Tower:
    timm = framework("timm")
    known = backbone.model.split(".")[1]
    if weights.tag not in (None, known):
        raise ExportError(f'{backbone.name} has no weights "{weights.tag}"; known: {known}')
    torch.manual_seed(weights.seed)
    download = weights.tag is not None and weights.checkpoint is None
    with _hub(backbone, weights):
        network = timm.create_model(
            backbone.model, pretrained=download, img_size=size, num_classes=0
        )
    if weights.checkpoint is not None:
        label = f'checkpoint "{weights.checkpoint}"'
        tensors = read_checkpoint(weights.checkpoint)
        patches = tensors.get("patch_embed.proj.weight")
        if patches is not None and patches.shape[-1] != backbone.patch:
            raise ExportError(  # timm would resample them without a word
                f"{label} has patches of {patches.shape[-1]} pixels, {backbone.name} "
                f"{backbone.patch}"
            )
        try:
            fitted = timm.models.vision_transformer.checkpoint_filter_fn(tensors, network)
        except (RuntimeError, KeyError, ValueError, AttributeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise ExportError(f"{label} does not fit {backbone.name}: {reason}") from error
        load_checked(network, fitted, label=label)
    settings = network.pretrained_cfg
    pixels = Pixels(tuple(settings["mean"]), tuple(settings["std"]), settings["interpolation"])
    licence = settings.get("license") or "unknown"
    return DinoTower(network, layers, size, pixels, licence if weights.tag else "unknown")


@contextlib.contextmanager
def _hub(backbone: Backbone, weights: Weights) -> Iterator[None]:
    """Say how to bring the file where the hub cannot be reached."""
    try:
        yield
    except (OSError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        if weights.tag is None or weights.checkpoint is not None:
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise ExportError(
            f'weights "{weights.tag}" of {backbone.name} could not be had from the hub or its '
            f"cache ({reason}); on a machine with a network download them, copy the file here and "
            f"give --pretrained {weights.tag} --checkpoint FILE"
        ) from error
