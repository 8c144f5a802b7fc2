"""From a backbone's name to a bundle."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import onnx
import torch

from zeroline.export.backbones import Backbone
from zeroline.export.convert import LARGE, is_large, to_onnx
from zeroline.export.errors import ExportError
from zeroline.export.framework_side import FrameworkOriginal
from zeroline.export.making import Exported, make_bundle, staged
from zeroline.export.precision import SampleFrames, check_request
from zeroline.export.towers import build_tower
from zeroline.export.weights import Weights
from zeroline.export.wrap import InputRules
from zeroline.runtime.network.manifest import Defaults, Source
from zeroline.runtime.network.model import Report


@dataclass(frozen=True)
class Request:
    """What is to be exported; see `build_tower` for size and layers."""

    backbone: Backbone
    weights: Weights
    size: int | None = None
    layers: tuple[int, ...] | None = None
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
    with staged(output) as staging:
        tower = build_tower(
            request.backbone, request.weights, size=request.size, layers=request.layers
        )
        if request.precision != "fp32" and is_large(tower):
            raise ExportError(
                f"{request.backbone.name} has over {LARGE / 1e9:.1f} GB of weights, too many for "
                f"{request.precision}; fp32 can be exported"
            )
        report(f"built {request.backbone.name}, {tower.size}×{tower.size}, layers {tower.layers}")
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
                licence=request.licence or tower.licence,
            ),
            tools=_tools(request.backbone),
        )


def _tools(backbone: Backbone) -> dict[str, str]:
    library = "open_clip_torch" if backbone.family == "CLIP" else "timm"
    return {"torch": torch.__version__, "onnx": onnx.__version__, library: version(library)}
