"""What several commands of ``zeroline export`` share."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from zeroline.edge_app.errors import ImageError, InputError
from zeroline.edge_app.settings.options import NumberList

if TYPE_CHECKING:
    from zeroline.export.precision import SampleFrames
    from zeroline.runtime.frames import Frame
    from zeroline.runtime.network.manifest import Manifest
    from zeroline.runtime.network.model import Report

Command = TypeVar("Command", bound=Callable[..., Any])

_CALIBRATION = 4
"""Times as many frames for int8's ranges as for the gate."""

_BUNDLE = (
    click.option("--output", type=click.Path(path_type=Path), required=True,
                 help="Folder of the new bundle."),
    click.option("--name", help="Name of the bundle.  [default: the output folder's name]"),
)  # fmt: skip
_DESCRIPTION = (
    click.option("--degrees", type=NumberList(least=1, most=99, odd=True), default="1,3,5",
                 show_default=True, help="Default neighbourhood sizes of LNAMD."),
    click.option("--rscin", type=NumberList(least=1, most=1000, empty="off"), default="1,2,3",
                 show_default=True, help="Default neighbourhood sizes of RsCIN, or off."),
    click.option("--licence", help="Licence of the weights, for the manifest."),
)  # fmt: skip
_CALIBRATED = (
    click.option("--calibration", type=click.Path(path_type=Path, file_okay=False),
                 help="Folder of images, for the comparison and for int8.  "
                      "[default: drawn images; not for int8]"),
    click.option("--calibration-images", type=click.IntRange(2, 1000), default=8,
                 show_default=True,
                 help="Images for the comparison, at most. int8 needs others, up to four times "
                      "as many."),
)  # fmt: skip


def bundle_options(command: Command) -> Command:
    """Add where a new bundle lies and what it is called."""
    return _with(command, _BUNDLE)


def description_options(command: Command) -> Command:
    """Add what a manifest says of new weights."""
    return _with(command, _DESCRIPTION)


def calibration_options(command: Command) -> Command:
    """Add the pictures for the gate and for int8."""
    return _with(command, _CALIBRATED)


def _with(command: Command, options: tuple[Callable[[Command], Command], ...]) -> Command:
    for option in reversed(options):
        command = option(command)
    return command


def show_bundle(manifest: Manifest, folder: Path) -> None:
    """Print a new bundle's outputs."""
    tokens = ", ".join(f"{t.name} {t.patches}×{t.channels}" for t in manifest.outputs.tokens)
    click.echo(f'bundle "{manifest.name}" in {folder}: {tokens}')


def timed_report() -> Report:
    """Return what prints lines of progress, each with the seconds since now."""
    began = time.monotonic()

    def report(line: str) -> None:
        click.echo(f"{time.monotonic() - began:6.1f} s  {line}", err=True)

    return report


def sample_frames(folder: Path | None, most: int, *, precision: str) -> SampleFrames:
    """Read the pictures for the gate, and for int8 those that it is calibrated on.

    Parameters
    ----------
    folder : Path or None
        Where none is given, the gate has drawn pictures.
    most : int
        Pictures for the gate.
    precision : {"fp32", "fp16", "int8"}

    Raises
    ------
    InputError
        If the folder has fewer than two pictures, or a picture cannot be read.
    """
    from zeroline.edge_app.images import find_images
    from zeroline.export.precision import SampleFrames

    if folder is None:
        return SampleFrames()
    files = [file.path for file in find_images([folder]).files]
    if len(files) < 2:
        raise InputError(f'calibration folder "{folder}" holds {len(files)} image(s), 2 are needed')
    others = files[most : most * (1 + _CALIBRATION)] if precision == "int8" else []
    return SampleFrames([_frame(path) for path in files[:most]], [_frame(path) for path in others])


def _frame(path: Path) -> Frame:
    from zeroline.edge_app.images import read_image

    try:
        return read_image(path)
    except ImageError as error:
        raise InputError(f'calibration picture "{path}": {error}') from error
