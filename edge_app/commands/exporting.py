"""What ``zeroline export`` does with its options, mode by mode."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from zeroline.edge_app.errors import ImageError, InputError
from zeroline.runtime.frames import Frame

if TYPE_CHECKING:
    from zeroline.export.precision import Shown
    from zeroline.runtime.network.manifest import Defaults, Manifest

Options = Mapping[str, Any]

_CALIBRATION = 4
"""Times as many frames for int8's ranges as for the gate."""
_OF_ONNX = (
    "mean", "std", "colour", "value_range", "interpolation", "architecture", "weights",
)  # fmt: skip
_OF_WEIGHTS = ("pretrained", "checkpoint", "seed")
_OF_PRECISION = ("precision", "int8_form", "calibration", "calibration_images")
_OF_NEW = ("size", "layers", "degrees", "rscin", "licence")


@dataclass(frozen=True)
class Mode:
    """One way to use the command.

    Attributes
    ----------
    option : str
        That chooses it.
    run : callable
    foreign : tuple of str
        Options that have no meaning in it.
    """

    option: str
    run: Callable[[Options], None]
    foreign: tuple[str, ...]


def mode_of(options: Options) -> str:
    """Return the one mode that was asked for.

    Raises
    ------
    UsageError
        If there are none or several, or what it needs is missing.
    """
    chosen = [mode for mode in MODES if options[mode] is not None]
    if len(chosen) != 1:
        names = ", ".join(f"{mode.option}" for mode in MODES.values())
        raise click.UsageError(f"one of {names} and --list is expected")
    if chosen != ["engine"] and options["output"] is None:
        raise click.UsageError("--output DIR is missing")
    if options["batch"] is not None and chosen != ["engine"] and not options["tensorrt"]:
        raise click.UsageError("--batch has no meaning without --engine or --tensorrt")
    return chosen[0]


def refuse_foreign(mode: str, context: click.Context) -> None:
    """Refuse options that would be ignored.

    Raises
    ------
    UsageError
    """
    for name in MODES[mode].foreign:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = name.replace("_", "-")
            raise click.UsageError(f"--{option} has no meaning with {MODES[mode].option}")


def list_backbones() -> None:
    """Print the backbones as a table."""
    from zeroline.export.backbones import backbones

    click.echo(
        f"{'name':<30} {'from':<10} {'layers':>6} {'patch':>5} {'size':>5} {'parameters':>10}"
    )
    for b in backbones():
        library = "open_clip" if b.family == "CLIP" else "timm"
        click.echo(
            f"{b.name:<30} {library:<10} {b.blocks:>6} {b.patch:>5} {b.size:>5} "
            f"{b.parameters / 1e6:>8.0f} M"
        )


def _backbone(options: Options) -> None:
    from zeroline.export.backbones import find_backbone
    from zeroline.export.frameworks import framework
    from zeroline.export.weights import Weights

    framework("torch")
    from zeroline.export.backbone_bundle import Request, export_backbone
    from zeroline.export.int8 import Form

    tag, checkpoint = options["pretrained"], options["checkpoint"]
    if tag is None and checkpoint is None:
        raise click.UsageError("--pretrained TAG|none or --checkpoint FILE is expected")
    request = Request(
        find_backbone(options["backbone"]),
        Weights(None if tag == "none" else tag, checkpoint, options["seed"]),
        size=options["size"],
        layers=_layers(options["layers"]),
        precision=options["precision"],
        form=Form(options["int8_form"]),
        licence=options["licence"],
        defaults=_defaults(options),
    )
    made = export_backbone(
        request, options["output"], name=options["name"], shown=_shown(options), tell=_teller()
    )
    _finish(made.manifest, options)


def _other_precision(options: Options) -> None:
    from zeroline.export.int8 import Form
    from zeroline.export.other_precision import export_other_precision

    made = export_other_precision(
        options["bundle"],
        options["output"],
        precision=options["precision"],
        form=Form(options["int8_form"]),
        name=options["name"],
        shown=_shown(options),
        tell=_teller(),
    )
    _finish(made.manifest, options)


def _onnx(options: Options) -> None:
    from zeroline.export.wrap import InputRules, wrap_onnx
    from zeroline.runtime.network.manifest import Source

    for name in ("size", "mean", "std"):
        if options[name] is None:
            raise click.UsageError(f"--{name} is missing: an ONNX file does not tell it")
    manifest = wrap_onnx(
        options["onnx_file"],
        options["output"],
        rules=InputRules(**{key: options[key] for key in InputRules.__dataclass_fields__}),
        name=options["name"],
        defaults=_defaults(options),
        source=Source(
            architecture=options["architecture"],
            weights=options["weights"],
            licence=options["licence"] or "unknown",
        ),
    )
    _finish(manifest, options)


def _engine(options: Options) -> None:
    from zeroline.runtime.batch import patch_and_image_scores
    from zeroline.runtime.network.bundle import check_files, find_bundle
    from zeroline.runtime.network.engines import open_engine
    from zeroline.runtime.network.manifest import read_manifest
    from zeroline.runtime.network.tensorrt_build import BATCHES, Batches

    folder = find_bundle(options["engine"] or options["output"])
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    batches = BATCHES
    if options["batch"] is not None:
        if len(options["batch"]) != 3:
            raise click.UsageError("--batch: three numbers are expected, as 1,4,8")
        batches = Batches(*options["batch"])
    session = open_engine(
        folder, manifest, report=_teller(), scorer=patch_and_image_scores, batches=batches
    )
    click.echo(f'bundle "{manifest.name}" runs on {session.providers[0]}')


MODES: Mapping[str, Mode] = {
    "backbone": Mode("--backbone NAME", _backbone, _OF_ONNX),
    "onnx_file": Mode("--onnx FILE", _onnx, (*_OF_WEIGHTS, "layers", *_OF_PRECISION)),
    "bundle": Mode("--bundle DIR", _other_precision, (*_OF_ONNX, *_OF_WEIGHTS, *_OF_NEW)),
    "engine": Mode(
        "--engine DIR",
        _engine,
        (*_OF_ONNX, *_OF_WEIGHTS, *_OF_NEW, *_OF_PRECISION, "output", "name", "tensorrt"),
    ),
}


def _finish(manifest: Manifest, options: Options) -> None:
    tokens = ", ".join(f"{t.name} {t.patches}×{t.channels}" for t in manifest.outputs.tokens)
    click.echo(f'bundle "{manifest.name}" in {options["output"]}: {tokens}')
    if options["tensorrt"]:
        _engine(options)


def _teller() -> Callable[[str], None]:
    """Return what prints lines of progress, each with the seconds since now."""
    began = time.monotonic()

    def tell(line: str) -> None:
        click.echo(f"{time.monotonic() - began:6.1f} s  {line}", err=True)

    return tell


def _defaults(options: Options) -> Defaults:
    from zeroline.runtime.network.manifest import Defaults

    return Defaults(degrees=options["degrees"], rscin=options["rscin"])


def _layers(text: str) -> tuple[int, ...] | None:
    """Turn "5,11,17,23" into numbers, "auto" into None."""
    if text == "auto":
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise click.UsageError(
            f'--layers {text}: "auto" or whole numbers with commas are expected'
        ) from None


def _shown(options: Options) -> Shown:
    """Read the pictures for the gate, and for int8 those that it is calibrated on."""
    from zeroline.edge_app.images import find_images
    from zeroline.export.precision import Shown
    from zeroline.runtime.network.probes import probe_frames

    folder, most = options["calibration"], options["calibration_images"]
    if folder is None:
        return Shown(probe_frames())
    files = [file.path for file in find_images([folder]).files]
    if len(files) < 2:
        raise InputError(f'calibration folder "{folder}" holds {len(files)} image(s), 2 are needed')
    others = files[most : most * (1 + _CALIBRATION)] if options["precision"] == "int8" else []
    return Shown([_frame(path) for path in files[:most]], [_frame(path) for path in others])


def _frame(path: Path) -> Frame:
    from zeroline.edge_app.images import read_image

    try:
        return read_image(path)
    except ImageError as error:
        raise InputError(f'calibration picture "{path}": {error}') from error
