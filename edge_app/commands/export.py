"""``zeroline export``: make a model bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from zeroline.edge_app.cli import debug_option
from zeroline.edge_app.commands import exporting
from zeroline.edge_app.settings.options import NumberList


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
@click.option("--bundle", metavar="NAME|DIR", help="Or make another precision of a float32 bundle.")
@click.option(
    "--engine",
    metavar="NAME|DIR",
    help="Or build a bundle's TensorRT engine, on the device that will run it.",
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
    type=click.Choice(["fp32", "fp16", "int8"]),
    default="fp32",
    show_default=True,
    help="Of weights and activations; in and out stay float32.",
)
@click.option(
    "--int8-form",
    type=click.Choice([form.lower() for form in ("CPU", "TENSORRT")]),
    default="cpu",
    show_default=True,
    help="What shall run int8; TensorRT reads symmetric ranges only.",
)
@click.option(
    "--calibration",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of pictures for the parity gate and for int8.  [default: drawn ones]",
)
@click.option(
    "--calibration-images",
    type=click.IntRange(2, 1000),
    default=8,
    show_default=True,
    help="How many of them for the gate, at the most; int8 takes four times as many others.",
)
@click.option(
    "--tensorrt", is_flag=True, help="Build the TensorRT engine of the new bundle as well."
)
@click.option(
    "--batch",
    type=NumberList(least=1, most=1024, repeated=True),
    metavar="LEAST,BEST,MOST",
    help="Batches of the engine: least, preferred, largest.  [default: 1,1,8]",
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
def export(listing: bool, **options: Any) -> None:
    """Make a bundle, or a bundle's TensorRT engine.

    A bundle is made of a named backbone, of an ONNX file that has the outputs of one, or of a
    float32 bundle in another precision. The finished bundle is compared with what it was made
    from on the same pictures, and kept only if it follows.
    """
    if listing:
        exporting.list_backbones()
        return
    mode = exporting.mode_of(options)
    exporting.refuse_foreign(mode, click.get_current_context())
    exporting.MODES[mode].run(options)
