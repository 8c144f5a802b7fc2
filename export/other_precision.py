"""From a float32 bundle to the same one in another precision; no framework is needed."""

from __future__ import annotations

import shutil
from pathlib import Path

import onnx

from zeroline.export.errors import ExportError
from zeroline.export.gate import BundleOriginal
from zeroline.export.making import COPIES, Exported, make_bundle
from zeroline.export.precision import SampleFrames, check_request
from zeroline.export.staging import free_output, staged
from zeroline.export.wrap import InputRules
from zeroline.runtime.loading import load_bundle
from zeroline.runtime.network.drawn import DRAWN
from zeroline.runtime.network.manifest import InputSpec, Manifest
from zeroline.runtime.network.model import Report


def export_other_precision(
    bundle_name: str | Path,
    output: Path,
    *,
    precision: str,
    name: str | None = None,
    samples: SampleFrames | None = None,
    report: Report = lambda _: None,
) -> Exported:
    """Make a bundle of another precision.

    Parameters
    ----------
    bundle_name : str or Path
        A bundled model's name, or the folder of a float32 bundle.
    output : Path
        The new bundle's folder; must not exist yet, or be empty.
    precision : {"fp16", "int8"}
    name : str, optional
        Of the new bundle; the output folder's name when not given.
    samples : SampleFrames, optional
        Of your parts; int8 needs them.
    report : callable
        Takes lines of progress.

    Raises
    ------
    ExportError
        For a request that cannot be met.
    ParityError
        If the result differs too much from the original.
    BundleError
        If a bundle cannot be read or written.
    """
    samples = samples or SampleFrames()
    check_request(precision, samples)
    output = output.resolve()
    free_output(output)
    with load_bundle(bundle_name, device="cpu") as bundle:
        manifest = bundle.manifest
        if manifest.precision != "fp32" or precision == "fp32":
            raise ExportError(
                f'bundle "{bundle.name}" is {manifest.precision}; from fp32 to fp16 or int8 is '
                "possible"
            )
        if set(manifest.files) - {manifest.model, DRAWN}:
            raise ExportError(
                f'bundle "{bundle.name}" has tensors beside its ONNX file, too many for {precision}'
            )
        network = bundle.path / manifest.model
        with staged(output, size=COPIES[precision] * network.stat().st_size) as staging:
            plain = staging / "plain.onnx"
            shutil.copyfile(network, plain)
            return make_bundle(
                plain,
                output,
                staging,
                original=BundleOriginal(bundle),
                samples=samples,
                precision=precision,
                label=f'bundle "{bundle.name}"',
                rules=_rules(manifest.input),
                report=report,
                name=name or output.name,
                layers=manifest.layers,
                defaults=manifest.defaults,
                source=manifest.source,
                network_rules=manifest.rules,
                unit_class_token=manifest.outputs.class_token.unit,
                tools=_tools(manifest),
            )


def _rules(spec: InputSpec) -> InputRules:
    """Return a manifest's input rules as `wrap_onnx` takes them: in RGB order."""
    mean, std = spec.mean, spec.std
    if spec.colour == "BGR":
        mean, std = (mean[2], mean[1], mean[0]), (std[2], std[1], std[0])
    return InputRules(
        size=spec.size,
        mean=mean,
        std=std,
        colour=spec.colour,
        value_range=spec.value_range,
        interpolation=spec.interpolation,
    )


def _tools(manifest: Manifest) -> dict[str, str]:
    own = {"onnxruntime", "numpy"}
    return {k: v for k, v in manifest.tools.items() if k not in own} | {"onnx": onnx.__version__}
