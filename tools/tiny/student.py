"""The students: small networks with two depths of patch tokens at a sixteenth of the input's side.

`ConvStudent` is what ships. `ViTStudent` is its rival of equal cost, kept so that the comparison
in the model card can be repeated.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn
from torch.nn import functional

STRIDE = 16
"""Pixels from one patch to the next."""


def _convolution(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1, active: bool = True
) -> nn.Sequential:
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    if active:
        layers.append(nn.ReLU())
    return nn.Sequential(*layers)


class _Block(nn.Module):
    """Widen, look around, narrow; added to its input where shapes allow.

    With ``dense`` one full 3×3 convolution widens and looks around at once (fused inverted
    residual, EfficientNetV2, arXiv 2104.00298): more operations, but the cheaper ones on a CPU
    where there are few channels. Otherwise 1×1, depthwise 3×3, 1×1 (MobileNetV2,
    arXiv 1801.04381).
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        widen: float,
        stride: int = 1,
        dense: bool = False,
        identity: bool = False,
    ) -> None:
        super().__init__()
        hidden = int(inputs * widen)
        around = (
            [_convolution(inputs, hidden, 3, stride=stride)]
            if dense
            else [
                _convolution(inputs, hidden, 1),
                _convolution(hidden, hidden, 3, stride=stride, groups=hidden),
            ]
        )
        self.layers = nn.Sequential(*around, _convolution(hidden, outputs, 1, active=False))
        self.residual = stride == 1 and inputs == outputs
        if identity:
            nn.init.zeros_(self.layers[-1][1].weight)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.layers(x)
        return x + y if self.residual else y


class ConvStudent(nn.Module):
    """Dense blocks to an eighth of the side, inverted residuals at a sixteenth.

    Parameters
    ----------
    channels : (int, int)
        Of the two token outputs.
    class_channels : int
        Of the class token.
    more : int
        Blocks added to the shallow part. They begin as the identity, so that a trained student
        can be grown and trained on.
    """

    def __init__(self, channels: tuple[int, int], class_channels: int, *, more: int = 0) -> None:
        super().__init__()
        self.shallow = nn.Sequential(
            _convolution(3, 16, 3, stride=2),
            _convolution(16, 32, 3, stride=2),
            _Block(32, 32, widen=1, dense=True),
            _Block(32, 64, widen=2, stride=2, dense=True),
            _Block(64, 64, widen=1.5, dense=True),
            _Block(64, 64, widen=1.5, dense=True),
            _Block(64, 128, widen=4, stride=2),
            _Block(128, 128, widen=3),
            _Block(128, 128, widen=3),
            *(_Block(128, 128, widen=3, identity=True) for _ in range(more)),
        )
        self.deep = nn.Sequential(_Block(128, 128, widen=3), _Block(128, 128, widen=3))
        self.shallow_head = nn.Conv2d(128, channels[0], 1)
        self.deep_head = nn.Conv2d(128, channels[1], 1)
        self.gather = _convolution(128, 256, 1)
        self.class_head = nn.Linear(256, class_channels)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, S, S) → two maps (B, C_l, S/16, S/16) and class tokens (B, D), not normalised."""
        shallow = self.shallow(images)
        deep = self.deep(shallow)
        gathered = self.gather(deep).mean((2, 3))
        return self.shallow_head(shallow), self.deep_head(deep), self.class_head(gathered)


class _Attention(nn.Module):
    """A block of a vision transformer, norms first."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.perceive = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        batch, patches, width = x.shape
        parts = self.query_key_value(self.before(x)).view(batch, patches, 3, self.heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        x = x + self.project(mixed.transpose(1, 2).reshape(batch, patches, width))
        y: Tensor = x + self.perceive(x)
        return y


class ViTStudent(nn.Module):
    """A convolutional stem, places told by a depthwise convolution, four transformer blocks."""

    def __init__(self, channels: tuple[int, int], class_channels: int) -> None:
        super().__init__()
        width = 128
        self.stem = nn.Sequential(
            _convolution(3, 16, 3, stride=2),
            _convolution(16, 32, 3, stride=2),
            _convolution(32, 64, 3, stride=2),
            nn.Conv2d(64, width, 2, 2),
        )
        self.places = nn.Conv2d(width, width, 3, 1, 1, groups=width)
        self.shallow = nn.Sequential(*(_Attention(width, 2) for _ in range(2)))
        self.deep = nn.Sequential(*(_Attention(width, 2) for _ in range(2)))
        self.shallow_head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, channels[0]))
        self.deep_norm = nn.LayerNorm(width)
        self.deep_head = nn.Linear(width, channels[1])
        self.class_head = nn.Sequential(
            nn.Linear(width, 256), nn.ReLU(), nn.Linear(256, class_channels)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `ConvStudent.forward`."""
        stem = self.stem(images)
        stem = stem + self.places(stem)
        side = stem.shape[2:]
        shallow = self.shallow(stem.flatten(2).transpose(1, 2))
        deep = self.deep_norm(self.deep(shallow))
        return (
            self.shallow_head(shallow).transpose(1, 2).unflatten(2, side),
            self.deep_head(deep).transpose(1, 2).unflatten(2, side),
            self.class_head(deep.mean(1)),
        )


STUDENTS: dict[str, Callable[[tuple[int, int], int], nn.Module]] = {
    "conv": ConvStudent,
    "grown": partial(ConvStudent, more=2),
    "vit": ViTStudent,
}
