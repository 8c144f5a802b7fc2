"""``zeroline reference``: sets of parts that a person has called good."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from zeroline.edge_app.cli import CommandGroup, debug_option
from zeroline.edge_app.settings.framing import framing_options, take_framing
from zeroline.edge_app.settings.options import (
    DegreesType,
    Rate,
    ScoreOptions,
    described_degrees,
)
from zeroline.runtime.network.model import DEVICES

if TYPE_CHECKING:
    from zeroline.runtime.reference.sets import ReferenceReport

_PLACE = "zeroline.edge_app.commands.reference"
_COMMANDS = {"build": f"{_PLACE}:build", "show": f"{_PLACE}:show"}


@click.group(cls=CommandGroup, places=_COMMANDS)
def reference() -> None:
    """Make or show a reference set: parts that a person has called good.

    A line that starts with a reference set has verdicts from the first frame on.
    """


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), required=True,
              help="File of the reference set (.npz).")  # fmt: skip
@click.option("--model", default="tiny", show_default=True, metavar="NAME|DIR",
              help="Bundled model, or the folder of a bundle. The line must have the "
                   "same.")  # fmt: skip
@click.option("--degrees", type=DegreesType(), metavar="1,3,5|fused",
              help="Neighbourhood sizes of LNAMD, or fused.  [default: the model's]")  # fmt: skip
@click.option("--false-alarm-rate", type=Rate(), default=0.01, show_default=True,
              help="Share of good pictures that may be left out, as a mean.")  # fmt: skip
@click.option("--keep", multiple=True, metavar="NAME",
              help="Keep this picture, though it is unusual or shares a look with others. A name "
                   "as it is printed. * stands for any text. May be repeated.")  # fmt: skip
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True,
              help="Device that runs the network.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1, 256), metavar="N",
              help="CPU threads.  [default: all cores]")  # fmt: skip
@framing_options()
@debug_option
def build(paths: tuple[Path, ...], output: Path, keep: tuple[str, ...], **values: Any) -> None:
    """Make a reference set from pictures of good parts.

    The pictures are scored against each other, with a search for recurring defects. Unusual ones
    are named and left out. Take 60 pictures or more: in fewer, a recurring defect may stay unseen.

    Look at the pictures first. A part with a defect must not be among them.
    """
    from zeroline.edge_app.batch.framed import opened_framing
    from zeroline.edge_app.batch.reference import build_reference
    from zeroline.edge_app.images import find_images
    from zeroline.edge_app.progress import progress_bars

    framed = take_framing(values)
    options = ScoreOptions(**values)
    images = find_images(paths)
    if images.note:
        click.echo(f"note: {images.note}", err=True)
    source = ", ".join(str(path) for path in paths)
    with options.open_bundle() as bundle, progress_bars() as bars:
        framing = opened_framing(framed, images.files, bundle.manifest)
        report, problems = build_reference(
            images.files,
            output,
            bundle,
            options,
            bars,
            framing=framing,
            source=source,
            keep=keep,
        )
    for problem in problems:
        click.echo(f"not used: {problem.name}: {problem.reason}", err=True)
    tell(report)
    click.echo(f'{report} to "{output}"')
    if problems:
        click.echo(f"{len(problems)} image(s) could not be used", err=True)
        raise click.exceptions.Exit(1)


def tell(report: ReferenceReport) -> None:
    """Name what a new reference set does not hold, and what may be wrong with it."""
    for one in report.left_out:
        click.echo(f"left out: {one}", err=True)
    if report.note:
        click.echo(f"note: {report.note}", err=True)
    if report.warning:
        click.echo(f"warning: {report.warning}", err=True)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@debug_option
def show(file: Path) -> None:
    """Print what a reference set holds: how it was made, and each frame.

    A frame's line has its time, its score, the threshold that it was kept by, and its name.
    """
    from zeroline.runtime.reference.files import read_reference

    held = read_reference(file)
    scores = [frame.score for frame in held.frames]
    low, middle, high = np.quantile(scores, (0, 0.5, 1))
    click.echo(
        f"{len(held.frames)} frames, {held.left_out} were left out\n"
        f'made by zeroline {_shown(held.program)} with "{_shown(held.bundle)}" '
        f"(degrees {described_degrees(held.degrees)}, false-alarm rate {held.false_alarm_rate:g})\n"
        f"from {_shown(held.source) or 'an unnamed source'}\n"
        f"looks at {held.framing}\n"
        f"scores {low:.3f} to {high:.3f}, median {middle:.3f}"
    )
    for frame in held.frames:
        taken = datetime.fromtimestamp(frame.time).astimezone().isoformat(timespec="seconds")
        click.echo(f"{taken}  {frame.score:.3f}  {frame.threshold:.3f}  {_shown(frame.name)}")


def _shown(text: str) -> str:
    """Return text of a file as a terminal may have it: what does not print is escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
