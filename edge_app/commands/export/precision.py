"""``zeroline export precision``: a float32 bundle becomes one in another precision."""

from __future__ import annotations

from pathlib import Path

import click

from zeroline.edge_app.cli import debug_option
from zeroline.edge_app.commands.export.shared import (
    bundle_options,
    calibration_options,
    sample_frames,
    show_bundle,
    timed_report,
)


@click.command()
@click.argument("bundle", metavar="NAME|DIR")
@click.option("--precision", "wanted", type=click.Choice(["fp16", "int8"]), required=True,
              help="Precision of weights and activations. Inputs and outputs stay "
                   "float32.")  # fmt: skip
@calibration_options
@bundle_options
@debug_option
def precision(
    bundle: str,
    wanted: str,
    calibration: Path | None,
    calibration_images: int,
    output: Path,
    name: str | None,
) -> None:
    """Make a bundle in another precision from a float32 bundle.

    NAME|DIR is a bundled model, or the folder of a bundle. The new bundle is compared with it. It
    is kept only if both agree. int8 needs --calibration.
    """
    from zeroline.export.other_precision import export_other_precision

    exported = export_other_precision(
        bundle,
        output,
        precision=wanted,
        name=name,
        samples=sample_frames(calibration, calibration_images, precision=wanted),
        report=timed_report(),
    )
    show_bundle(exported.manifest, output)
