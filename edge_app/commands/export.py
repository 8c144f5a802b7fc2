"""``zeroline export``: make a model bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from zeroline.edge_app.cli import debug_option
from zeroline.edge_app.options import NumberList


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
@click.option(
    "--onnx",
    "onnx_file",
    required=True,
    type=click.Path(path_type=Path),
    help="ONNX file with outputs tokens_0, tokens_1, … and class_token.",
)
@click.option("--size", required=True, type=click.IntRange(8, 4096), help="Side of the input.")
@click.option("--mean", required=True, type=Triple(), help="Per channel, for RGB in [0, 1].")
@click.option("--std", required=True, type=Triple(), help="Per channel, for RGB in [0, 1].")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Bundle's folder.")
@click.option("--name", help="Of the bundle.  [default: the output folder's name]")
@click.option(
    "--colour",
    type=click.Choice(["RGB", "BGR"]),
    default="RGB",
    show_default=True,
    help="Channel order that the network wants; mean and std stay in RGB order.",
)
@click.option(
    "--value-range",
    type=click.Choice(["0..1", "0..255"]),
    default="0..1",
    show_default=True,
    help="Of the pixel values that mean and std are meant for.",
)
@click.option(
    "--interpolation",
    type=click.Choice(["bicubic", "bilinear", "lanczos", "nearest"]),
    default="bicubic",
    show_default=True,
    help="Of the resize to the input's size.",
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
@click.option("--architecture", default="unknown", help="For the manifest.")
@click.option("--weights", default="unknown", help="For the manifest.")
@click.option("--licence", default="unknown", help="Of the weights, for the manifest.")  # fmt: skip
@debug_option
def export(onnx_file: Path, output: Path, **values: Any) -> None:
    """Make a bundle of an ONNX file that has the outputs of a backbone."""
    from zeroline.export.wrap import InputRules, wrap_onnx
    from zeroline.runtime.manifest import Defaults, Source

    manifest = wrap_onnx(
        onnx_file,
        output,
        rules=InputRules(**{key: values[key] for key in InputRules.__dataclass_fields__}),
        name=values["name"],
        defaults=Defaults(degrees=values["degrees"], rscin=values["rscin"]),
        source=Source(
            architecture=values["architecture"],
            weights=values["weights"],
            licence=values["licence"],
        ),
    )
    tokens = ", ".join(f"{t.name} {t.patches}×{t.channels}" for t in manifest.outputs.tokens)
    click.echo(f'bundle "{manifest.name}" in {output}: {tokens}')
