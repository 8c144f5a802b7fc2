"""``zeroline export onnx``: an ONNX file becomes a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from zeroline.edge_app.cli import debug_option
from zeroline.edge_app.commands.export.shared import (
    bundle_options,
    description_options,
    show_bundle,
)


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
            self.fail(f"{value!r}: three numbers with commas are expected", param, ctx)
        return red, green, blue


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@bundle_options
@click.option(
    "--size", type=click.IntRange(8, 4096), required=True, help="Side of the input, pixels."
)
@click.option("--mean", type=Triple(), required=True, help="Means, in the value range.")
@click.option("--std", type=Triple(), required=True, help="Deviations, in the value range.")
@click.option("--colour", type=click.Choice(["RGB", "BGR"]), default="RGB", show_default=True,
              help="Channel order of the input. Give mean and std in RGB order.")  # fmt: skip
@click.option("--value-range", type=click.Choice(["0..1", "0..255"]), default="0..1",
              show_default=True, help="Range of the pixel values, for mean and std.")  # fmt: skip
@click.option("--interpolation", type=click.Choice(["bicubic", "bilinear", "lanczos", "nearest"]),
              default="bicubic", show_default=True, help="How images are resized.")  # fmt: skip
@description_options
@click.option("--architecture", default="unknown", help="Name of the network, for the manifest.")
@click.option("--weights", default="unknown", help="Name of the weights, for the manifest.")
@debug_option
def onnx(
    file: Path,
    output: Path,
    name: str | None,
    degrees: tuple[int, ...],
    rscin: tuple[int, ...],
    licence: str | None,
    architecture: str,
    weights: str,
    **rules: Any,
) -> None:
    """Make a bundle of an ONNX FILE.

    Its outputs must be called tokens_0, tokens_1, … and class_token.
    """
    from zeroline.export.wrap import InputRules, wrap_onnx
    from zeroline.runtime.network.manifest import Defaults, Source

    manifest = wrap_onnx(
        file,
        output,
        rules=InputRules(**rules),
        name=name,
        defaults=Defaults(degrees=degrees, rscin=rscin),
        source=Source(architecture=architecture, weights=weights, licence=licence or "unknown"),
    )
    show_bundle(manifest, output)
