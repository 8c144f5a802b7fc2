"""Towers: a framework's vision transformer with the outputs that the runtime wants.

CLIP (open_clip): raw block outputs, no `ln_post` and no projection; the class token is the
projected image embedding. DINO and DINOv2 (timm): block outputs after the final LayerNorm, and
so the class token; registers are no patches (ALGORITHMS §0; MuSc, arXiv 2401.16753).

PyTorch must be there before this module is imported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.nn import functional

from zeroline.runtime.network.manifest import Rules


@dataclass(frozen=True)
class Pixels:
    """What a network wants of an image: RGB in [0, 1], less the mean, by the spread."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str


@dataclass(frozen=True)
class Described:
    """What is known of a tower beside its numbers.

    Attributes
    ----------
    pixels : Pixels
    licence : str
        Of the weights, as far as the framework knows it.
    rules : Rules
        Whose network it is.
    unit : bool
        The class token has unit length.
    doubts : tuple of str
        What could not be known and was assumed, each a line for the user.
    """

    pixels: Pixels
    licence: str
    rules: Rules = field(default_factory=Rules)
    unit: bool = True
    doubts: tuple[str, ...] = ()


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
    described : Described
    """

    def __init__(
        self, network: nn.Module, layers: Sequence[int], size: int, described: Described
    ) -> None:
        super().__init__()
        self.network = network
        self.layers = list(layers)
        self.size = size
        self.described = described

    @property
    def pixels(self) -> Pixels:
        """How images are prepared."""
        return self.described.pixels

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
        first = last[:, 0]
        return (*tokens, functional.normalize(first, dim=-1) if self.described.unit else first)
