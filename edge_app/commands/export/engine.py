"""``zeroline export engine``: build a bundle's TensorRT engine."""

from __future__ import annotations

from typing import Any

import click

from zeroline.edge_app.cli import debug_option
from zeroline.edge_app.commands.export.shared import timed_report
from zeroline.runtime.errors import DeviceError
from zeroline.runtime.network.tensorrt import Batches


class BatchesType(click.ParamType[Batches]):
    """Three rising batch sizes with commas."""

    name = "LEAST,BEST,MOST"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Batches:
        """Turn "1,4,8" into batches."""
        if isinstance(value, Batches):
            return value
        try:
            least, best, most = (int(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r}: three whole numbers with commas are expected", param, ctx)
        try:
            return Batches(least, best, most)
        except DeviceError as error:
            self.fail(str(error), param, ctx)


@click.command()
@click.argument("bundle", metavar="NAME|DIR")
@click.option("--batch", type=BatchesType(), default="1,1,8", show_default=True,
              help="Batch sizes of the engine: least, preferred, largest.")  # fmt: skip
@debug_option
def engine(bundle: str, batch: Batches) -> None:
    """Build the TensorRT engine of a bundle. Run this on the device that will use it.

    NAME|DIR is a bundled model, or the folder of a bundle.
    """
    from zeroline.runtime.batch import patch_and_image_scores
    from zeroline.runtime.network.engines import open_engine
    from zeroline.runtime.network.manifest import read_manifest
    from zeroline.runtime.network.open import check_files, find_bundle

    folder = find_bundle(bundle)
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    session = open_engine(
        folder, manifest, report=timed_report(), scorer=patch_and_image_scores, batches=batch
    )
    click.echo(f'bundle "{manifest.name}" runs on {session.providers[0]}')
