"""``zeroline sim``: write the simulated line as a labelled folder or a video."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from pydantic.fields import FieldInfo

from zeroline.edge_app.cli import debug_option
from zeroline.edge_app.errors import InputError
from zeroline.edge_app.sim.settings import LineSettings, settings_of

_PARTS = 200


def _option(name: str, field: FieldInfo) -> Any:
    """Make the option of a setting; its values are checked by the settings themselves."""
    default = _PARTS if name == "parts" else field.default
    words = ",".join(default) if isinstance(default, tuple) else default
    shown = {"rate": "  [default: 10 for a video]"}.get(name, f"  [default: {words}]")
    return click.option(
        f"--{name.replace('_', '-')}", name, metavar="VALUE", help=f"{field.description}.{shown}"
    )


def _settings_options(command: Any) -> Any:
    for name, field in reversed(LineSettings.model_fields.items()):
        command = _option(name, field)(command)
    return command


@click.command()
@click.option("--output", type=click.Path(path_type=Path, file_okay=False),
              help="Write a labelled folder in MVTec AD's layout.")  # fmt: skip
@click.option("--video", type=click.Path(path_type=Path, dir_okay=False),
              help="Write all frames as .avi or .mp4, and the truth as .csv.")  # fmt: skip
@_settings_options
@debug_option
def sim(output: Path | None, video: Path | None, **values: str | None) -> None:
    """Write the simulated line, with labels and masks.

    A folder has one image of each part. A video has every frame: stops and empty belt too.
    """
    from zeroline.edge_app.progress import progress_bars
    from zeroline.edge_app.sim.line import SimulatedLine
    from zeroline.edge_app.sim.writing import write_dataset, write_video

    if (output is None) == (video is None):
        raise click.UsageError("one of --output DIR and --video FILE is expected")
    given = {name: value for name, value in values.items() if value is not None}
    try:
        settings = settings_of({"parts": str(_PARTS), **given}, option=True)
    except InputError as error:
        raise click.UsageError(str(error)) from error
    # nobody watches a file being written
    line = SimulatedLine(settings.model_copy(update={"rate": None}))
    with progress_bars() as bars:
        if output is not None:
            counts = write_dataset(line, output, bars("drawing", settings.parts or 0))
        else:
            assert video is not None  # noqa: S101 - checked above
            counts = write_video(line, video, settings, bars("drawing", line.frame_count()))
    what = "images" if output is not None else "frames"
    click.echo(
        f"{sum(counts.values())} {what}: " + ", ".join(f"{n} {k}" for k, n in counts.most_common())
    )
    click.echo(f"  {output or video}")
