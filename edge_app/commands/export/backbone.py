"""``zeroline export backbone``: a vision transformer by its name becomes a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from zeroline.edge_app.cli import debug_option
from zeroline.edge_app.commands.export.shared import (
    bundle_options,
    calibration_options,
    description_options,
    sample_frames,
    show_bundle,
    timed_report,
)
from zeroline.edge_app.settings.options import NumberList

if TYPE_CHECKING:
    from zeroline.export.backbones import Follows


def _list_backbones(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    """Print the backbones as a table and stop."""
    if not wanted or ctx.resilient_parsing:
        return
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
    ctx.exit()


@click.command()
@click.argument("backbone_name", metavar="NAME")
@click.option("--list", is_flag=True, is_eager=True, expose_value=False, callback=_list_backbones,
              help="Show all backbones and exit.")  # fmt: skip
@bundle_options
@click.option("--pretrained", metavar="TAG|none",
              help="Weights by their tag, from the hub or its cache. none: random "
                   "weights.")  # fmt: skip
@click.option("--checkpoint", type=click.Path(path_type=Path),
              help="Weights from a file: .safetensors or a state_dict. Give the tag too: it says "
                   "how they were trained.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True,
              help="Seed of random weights.")  # fmt: skip
@click.option("--size", type=click.IntRange(8, 4096),
              help="Side of the input, in pixels.  [default: the backbone's own]")  # fmt: skip
@click.option("--as", "follows", type=click.Choice(["musc", "framework"]), default="framework",
              show_default=True,
              help="Whose network where they differ: that of MuSc's authors, to which the "
                   "published figures belong, or that of its makers.")  # fmt: skip
@click.option("--activation", type=click.Choice(["gelu", "quick_gelu"]),
              help="Activation of CLIP, where no tag says it.  [default: by the tag, else the "
                   "backbone's own]")  # fmt: skip
@click.option("--layers", type=NumberList(least=0, most=999, empty="auto"), default="auto",
              show_default=True, metavar="auto|5,11,…",
              help="Blocks whose tokens are used. The first is 0. auto: the last block of each "
                   "quarter.")  # fmt: skip
@click.option("--precision", type=click.Choice(["fp32", "fp16", "int8"]), default="fp32",
              show_default=True,
              help="Precision of weights and activations. Inputs and outputs stay "
                   "float32.")  # fmt: skip
@calibration_options
@description_options
@debug_option
def backbone(
    backbone_name: str,
    output: Path,
    name: str | None,
    pretrained: str | None,
    checkpoint: Path | None,
    seed: int,
    size: int | None,
    follows: Follows,
    activation: str | None,
    layers: tuple[int, ...],
    precision: str,
    calibration: Path | None,
    calibration_images: int,
    degrees: tuple[int, ...],
    rscin: tuple[int, ...],
    licence: str | None,
) -> None:
    """Make a bundle of the vision transformer NAME. See --list.

    The bundle is compared with the framework's own network. It is kept only if both agree.
    """
    from zeroline.export.backbones import find_backbone
    from zeroline.export.frameworks import framework
    from zeroline.export.weights import Weights
    from zeroline.runtime.network.manifest import Defaults

    if pretrained is None and checkpoint is None:
        raise click.UsageError("--pretrained TAG|none or --checkpoint FILE is expected")
    framework("torch")
    from zeroline.export.backbone_bundle import Request, export_backbone

    request = Request(
        find_backbone(backbone_name),
        Weights(None if pretrained == "none" else pretrained, checkpoint, seed),
        size=size,
        layers=layers or None,
        follows=follows,
        activation=activation,
        precision=precision,
        licence=licence,
        defaults=Defaults(degrees=degrees, rscin=rscin),
    )
    samples = sample_frames(calibration, calibration_images, precision=precision)
    exported = export_backbone(request, output, name=name, samples=samples, report=timed_report())
    show_bundle(exported.manifest, output)
