"""A trained student becomes a bundle: norms folded into convolutions, tokens in their scale."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tiny.distil import Scale
from tiny.student import STUDENTS
from zeroline.export.convert import to_onnx
from zeroline.export.wrap import InputRules, wrap_onnx
from zeroline.runtime.batch import patch_and_image_scores
from zeroline.runtime.network.manifest import Defaults, Manifest, Source
from zeroline.runtime.network.onnxruntime import OnnxRuntimeSession
from zeroline.runtime.network.parity import Parity, measure_parity
from zeroline.runtime.tokens import Tokens

SIDE = 320
OUTPUTS = ("tokens_0", "tokens_1", "class_token")


class Shipped(nn.Module):
    """The student as the runtime wants it: token rows (B, P, C), unit class tokens.

    Parameters
    ----------
    student : Module
        In eval mode.
    scale : Scale
        The teacher's spread gives each channel the weight in distances that it has in the
        teacher; the means matter too, since rows are brought to unit length.
    """

    def __init__(self, student: nn.Module, scale: Scale) -> None:
        super().__init__()
        self.student = student
        for depth, (mean, spread) in enumerate(zip(scale.means, scale.spreads, strict=True)):
            self.register_buffer(f"mean_{depth}", mean)
            self.register_buffer(f"spread_{depth}", spread)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, 3, S, S) → two of (B, P, C_l), and (B, D)."""
        first, second, class_tokens = self.student(images)
        return (
            _as_rows(first * self.spread_0 + self.mean_0),
            _as_rows(second * self.spread_1 + self.mean_1),
            functional.normalize(class_tokens, dim=1),
        )


def trained(checkpoint: Path) -> Shipped:
    """Load the averaged student of a checkpoint, its norms folded."""
    saved = torch.load(checkpoint, weights_only=True)
    student = saved["kind"]
    scale = Scale(**saved["scale"])
    channels = (scale.means[0].shape[1], scale.means[1].shape[1])
    network = STUDENTS[student](channels, scale.class_axes.shape[1])
    network.load_state_dict(saved["average"])
    _fold_norms(network.eval())
    shipped = Shipped(network, scale)
    shipped.eval()
    return shipped


def parity(network: nn.Module, path: Path, images: NDArray[np.float32]) -> Parity:
    """Compare the framework's network with the ONNX file on (B, 3, S, S) images, two or more."""
    with torch.no_grad():
        wanted = [output.numpy() for output in network(torch.from_numpy(images.copy()))]
    session = OnnxRuntimeSession(path, device="cpu")
    found = session.run("images", np.ascontiguousarray(images))
    made = [found[name] for name in OUTPUTS]
    both = (Tokens(tuple(outputs[:-1]), outputs[-1]) for outputs in (wanted, made))
    return measure_parity(*both, names=OUTPUTS, size=SIDE, scorer=patch_and_image_scores)


def ship(
    checkpoint: Path,
    output: Path,
    *,
    images: NDArray[np.float32],
    source: Source,
    defaults: Defaults,
) -> Manifest:
    """Make the bundle; ``images`` (B, 3, 320, 320) are what parity is measured on.

    Raises
    ------
    BundleError
        If the output folder is taken.
    """
    network = trained(checkpoint)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tiny.onnx"
        to_onnx(network, path, size=SIDE, outputs=OUTPUTS)
        return wrap_onnx(
            path,
            output,
            rules=InputRules(size=SIDE, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
            name=output.resolve().name,
            defaults=defaults,
            source=source,
            parity=parity(network, path, images).figures(),
            tools={"torch": torch.__version__},
        )


def _as_rows(maps: Tensor) -> Tensor:
    """(B, C, g, g) → (B, P, C)."""
    return maps.flatten(2).transpose(1, 2)


def _fold_norms(network: nn.Module) -> None:
    """Fold every batch norm that follows a convolution into it."""
    for part in network.modules():
        if (
            isinstance(part, nn.Sequential)
            and len(part) > 1
            and isinstance(part[0], nn.Conv2d)
            and isinstance(part[1], nn.BatchNorm2d)
        ):
            part[0] = fuse_conv_bn_eval(part[0], part[1])
            part[1] = nn.Identity()
