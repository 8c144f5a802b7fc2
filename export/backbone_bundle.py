"""From a backbone's name to a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import onnx
import torch

from zeroline.export.backbones import Backbone, Follows
from zeroline.export.checkpoint_file import sha256_of_checkpoint
from zeroline.export.convert import LARGE, is_large, to_onnx
from zeroline.export.errors import ExportError
from zeroline.export.framework_side import FrameworkOriginal
from zeroline.export.making import COPIES, Exported, make_bundle
from zeroline.export.precision import SampleFrames, check_request
from zeroline.export.staging import staged
from zeroline.export.towers import build_tower
from zeroline.export.weights import Weights
from zeroline.export.wrap import InputRules
from zeroline.runtime.network.manifest import Defaults, Source
from zeroline.runtime.network.model import Report


@dataclass(frozen=True)
class Request:
    """What is to be exported; see `build_tower` for size, layers, follows and activation."""

    backbone: Backbone
    weights: Weights
    size: int | None = None
    layers: tuple[int, ...] | None = None
    follows: Follows = "framework"
    activation: str | None = None
    precision: str = "fp32"
    licence: str | None = None
    defaults: Defaults | None = None


def export_backbone(
    request: Request,
    output: Path,
    *,
    name: str | None = None,
    samples: SampleFrames | None = None,
    report: Report = lambda _: None,
) -> Exported:
    """Export a backbone to a bundle.

    Parameters
    ----------
    request : Request
    output : Path
        The bundle's folder; must not exist yet, or be empty.
    name : str, optional
        Of the bundle; the output folder's name when not given.
    samples : SampleFrames, optional
        Of your parts; int8 needs them.
    report : callable
        Takes lines of progress.

    Raises
    ------
    ExportError
        For a request that cannot be met.
    ParityError
        If the bundle differs too much from the framework.
    BundleError
        If the output folder is taken or cannot be written.
    """
    samples = samples or SampleFrames()
    check_request(request.precision, samples)
    output = output.resolve()
    weights = 4 * request.backbone.parameters
    with staged(output, size=COPIES[request.precision] * weights) as staging:
        tower = build_tower(
            request.backbone,
            request.weights,
            size=request.size,
            layers=request.layers,
            follows=request.follows,
            activation=request.activation,
        )
        for doubt in tower.described.doubts:
            report(f"warning: {doubt}")
        if request.precision != "fp32" and is_large(tower):
            raise ExportError(
                f"{request.backbone.name} has over {LARGE / 1e9:.1f} GB of weights, too many for "
                f"{request.precision}; fp32 can be exported"
            )
        rules = tower.described.rules
        report(
            f"built {request.backbone.name} as {rules.follows}, {tower.size}×{tower.size}, layers "
            f"{tower.layers}, {rules.activation}, positions {rules.position_table}"
        )
        plain = staging / "plain.onnx"
        to_onnx(tower, plain, size=tower.size, outputs=tower.outputs)
        report("written as ONNX in float32")
        return make_bundle(
            plain,
            output,
            staging,
            original=FrameworkOriginal(tower),
            samples=samples,
            precision=request.precision,
            label=request.backbone.name,
            rules=InputRules(
                size=tower.size,
                mean=tower.pixels.mean,
                std=tower.pixels.std,
                interpolation=tower.pixels.interpolation,
            ),
            report=report,
            name=name or output.name,
            layers=tuple(tower.layers),
            defaults=request.defaults,
            source=Source(
                architecture=f"{request.backbone.name} ({request.backbone.family})",
                weights=request.weights.described(),
                licence=request.licence or tower.described.licence,
                sha256=_sha256(request.weights),
            ),
            network_rules=rules,
            unit_class_token=tower.described.unit,
            tools=_tools(request.backbone),
        )


def _sha256(weights: Weights) -> str:
    return "unknown" if weights.checkpoint is None else sha256_of_checkpoint(weights.checkpoint)


def _tools(backbone: Backbone) -> dict[str, str]:
    library = "open_clip_torch" if backbone.family == "CLIP" else "timm"
    return {"torch": torch.__version__, "onnx": onnx.__version__, library: version(library)}
