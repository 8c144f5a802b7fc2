"""``zeroline export``: make a model bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from zeroline.edge_app.cli import debug_option
from zeroline.edge_app.errors import ImageError, InputError
from zeroline.edge_app.options import NumberList
from zeroline.runtime.frames import Frame

if TYPE_CHECKING:
    from zeroline.runtime.manifest import Manifest


_OF_ONNX = (
    "mean", "std", "colour", "value_range", "interpolation", "architecture", "weights",
)  # fmt: skip
_OF_BACKBONE = (
    "pretrained", "checkpoint", "seed", "layers", "precision", "calibration", "calibration_images",
)  # fmt: skip


class Triple(click.ParamType[tuple[float, float, float]]):
    """Three numbers with commas."""

    name = "R,G,B"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, float, float]:
        """Turn "0.5,0.5,0.5" into three floats."""
        if isinstance(value, tuple):
            return value
        try:
            red, green, blue = (float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r}: three numbers with commas are expected")
        return red, green, blue


@click.command()
@click.option("--backbone", metavar="NAME", help="Export this backbone; see --list.")
@click.option(
    "--onnx",
    "onnx_file",
    type=click.Path(path_type=Path),
    help="Or wrap an ONNX file with outputs tokens_0, tokens_1, … and class_token.",
)
@click.option("--list", "listing", is_flag=True, help="Show the backbones and stop.")
@click.option("--output", type=click.Path(path_type=Path), help="Bundle's folder.")
@click.option("--name", help="Of the bundle.  [default: the output folder's name]")
@click.option(
    "--size",
    type=click.IntRange(8, 4096),
    help="Side of the input.  [default with --backbone: what it was made for]",
)
@click.option(
    "--pretrained",
    metavar="TAG|none",
    help="Weights by their tag, from the hub's cache or the hub; none: random.",
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="Weights from a file, .safetensors or a state_dict; a tag says how they were trained.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**32 - 1),
    default=0,
    show_default=True,
    help="Of random weights.",
)
@click.option(
    "--layers",
    metavar="auto|5,11,…",
    default="auto",
    show_default=True,
    help="Blocks whose tokens are taken, the first is 0; auto: the ends of the quarters.",
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "fp16"]),
    default="fp32",
    show_default=True,
    help="Of weights and activations; in and out stay float32.",
)
@click.option(
    "--calibration",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of pictures for the parity gate.  [default: drawn ones]",
)
@click.option(
    "--calibration-images",
    type=click.IntRange(2, 1000),
    default=8,
    show_default=True,
    help="How many of them, at the most.",
)
@click.option("--mean", type=Triple(), help="Of an ONNX file, per channel, for RGB in [0, 1].")
@click.option("--std", type=Triple(), help="Of an ONNX file, per channel, for RGB in [0, 1].")
@click.option(
    "--colour",
    type=click.Choice(["RGB", "BGR"]),
    default="RGB",
    show_default=True,
    help="Channel order that an ONNX file wants; mean and std stay in RGB order.",
)
@click.option(
    "--value-range",
    type=click.Choice(["0..1", "0..255"]),
    default="0..1",
    show_default=True,
    help="Of an ONNX file's pixel values, for its mean and std.",
)
@click.option(
    "--interpolation",
    type=click.Choice(["bicubic", "bilinear", "lanczos", "nearest"]),
    default="bicubic",
    show_default=True,
    help="Of the resize to an ONNX file's size.",
)
@click.option(
    "--degrees",
    type=NumberList(least=1, most=99, odd=True),
    default="1,3,5",
    show_default=True,
    help="Default neighbourhood sizes of LNAMD.",
)
@click.option(
    "--rscin",
    type=NumberList(least=1, most=1000, empty="off"),
    default="1,2,3",
    show_default=True,
    help="Default neighbourhood sizes of RsCIN, or off.",
)
@click.option("--architecture", default="unknown", help="Of an ONNX file, for the manifest.")
@click.option("--weights", default="unknown", help="Of an ONNX file, for the manifest.")
@click.option("--licence", help="Of the weights, for the manifest.")
@debug_option
def export(
    backbone: str | None,
    onnx_file: Path | None,
    listing: bool,
    output: Path | None,
    **values: Any,
) -> None:
    """Make a bundle: of a named backbone, or of an ONNX file that has the outputs of one.

    A backbone is exported once, on a workstation. The finished bundle is compared with the
    framework's network on the same pictures, and kept only if it follows.
    """
    if listing:
        _list()
        return
    if (backbone is None) == (onnx_file is None):
        raise click.UsageError("one of --backbone NAME, --onnx FILE and --list is expected")
    if output is None:
        raise click.UsageError("--output DIR is missing")
    _refuse_foreign("--onnx" if backbone else "--backbone", _OF_ONNX if backbone else _OF_BACKBONE)
    if backbone is not None:
        manifest = _export(backbone, output, values)
    else:
        assert onnx_file is not None  # noqa: S101 - checked above
        manifest = _wrap(onnx_file, output, values)
    tokens = ", ".join(f"{t.name} {t.patches}×{t.channels}" for t in manifest.outputs.tokens)
    click.echo(f'bundle "{manifest.name}" in {output}: {tokens}')


def _refuse_foreign(mode: str, names: tuple[str, ...]) -> None:
    """Refuse options that would be ignored."""
    context = click.get_current_context()
    for name in names:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"--{name.replace('_', '-')} belongs to {mode}")


def _export(backbone: str, output: Path, values: dict[str, Any]) -> Manifest:
    from zeroline.export.backbones import find_backbone
    from zeroline.export.frameworks import framework
    from zeroline.export.weights import Weights

    framework("torch")
    from zeroline.export.backbone_bundle import Request, export_backbone
    from zeroline.runtime.manifest import Defaults

    tag, checkpoint = values["pretrained"], values["checkpoint"]
    if tag is None and checkpoint is None:
        raise click.UsageError("--pretrained TAG|none or --checkpoint FILE is expected")
    request = Request(
        find_backbone(backbone),
        Weights(None if tag == "none" else tag, checkpoint, values["seed"]),
        size=values["size"],
        layers=_layers(values["layers"]),
        precision=values["precision"],
        licence=values["licence"],
        defaults=Defaults(degrees=values["degrees"], rscin=values["rscin"]),
    )
    frames = _frames(values["calibration"], values["calibration_images"])
    return export_backbone(
        request,
        output,
        name=values["name"],
        frames=frames,
        tell=lambda line: click.echo(line, err=True),
    ).manifest


def _wrap(onnx_file: Path, output: Path, values: dict[str, Any]) -> Manifest:
    from zeroline.export.wrap import InputRules, wrap_onnx
    from zeroline.runtime.manifest import Defaults, Source

    for name in ("size", "mean", "std"):
        if values[name] is None:
            raise click.UsageError(f"--{name} is missing: an ONNX file does not tell it")
    return wrap_onnx(
        onnx_file,
        output,
        rules=InputRules(**{key: values[key] for key in InputRules.__dataclass_fields__}),
        name=values["name"],
        defaults=Defaults(degrees=values["degrees"], rscin=values["rscin"]),
        source=Source(
            architecture=values["architecture"],
            weights=values["weights"],
            licence=values["licence"] or "unknown",
        ),
    )


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


def _frames(folder: Path | None, most: int) -> list[Frame] | None:
    """Read the pictures for the gate."""
    if folder is None:
        return None
    from zeroline.edge_app.images import find_images, read_image

    files = find_images([folder]).files[:most]
    if len(files) < 2:
        raise InputError(f'calibration folder "{folder}" holds {len(files)} image(s), 2 are needed')
    frames = []
    for file in files:
        try:
            frames.append(read_image(file.path))
        except ImageError as error:  # noqa: PERF203 - its message lacks the name
            raise InputError(f'calibration picture "{file.path}": {error}') from error
    return frames


def _list() -> None:
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
