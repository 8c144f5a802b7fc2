"""``zeroline run``: the line, from a source of frames to verdicts."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from zeroline.edge_app.cli import debug_option
from zeroline.edge_app.settings.framing import framing_options, take_framing
from zeroline.edge_app.settings.options import (
    DegreesType,
    NumberList,
    Rate,
    ThresholdType,
    draw_option,
    matching_option,
)
from zeroline.edge_app.station.extras import Extras
from zeroline.runtime.network.model import DEVICES

if TYPE_CHECKING:
    from zeroline.edge_app.configuration.models import Station


@click.command()
@click.argument("config", required=False, type=click.Path(path_type=Path, dir_okay=False))
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE",
              help="With a file: set one value in place of the file's, such as "
                   "recipes.default.window=32.")  # fmt: skip
@click.option("--data", type=click.Path(path_type=Path, file_okay=False),
              help="With a file: the data folder, in place of the file's.")  # fmt: skip
@click.option("--source", metavar="ADDRESS",
              help="Device number, RTSP or HTTP URL, GStreamer pipeline, video file, folder of "
                   "images, watch:FOLDER (pictures as they come), or sim://parts.")  # fmt: skip
@click.option("--model", default="tiny", show_default=True, metavar="NAME|DIR",
              help="Bundled model, or the folder of a bundle.")  # fmt: skip
@click.option("--window", type=click.IntRange(2, 4096), default=64, show_default=True,
              help="Frames in the window. Each new frame is compared with them.")  # fmt: skip
@click.option("--min-window", type=click.IntRange(2, 4096), default=16, show_default=True,
              help="Frames in the window before the first OK or NG.")  # fmt: skip
@click.option("--degrees", type=DegreesType(), metavar="1,3,5|fused",
              help="Neighbourhood sizes of LNAMD, or fused.  [default: the model's]")  # fmt: skip
@click.option("--rscin", type=NumberList(least=1, most=1000, empty="off"), metavar="1,2,3|off",
              help="Neighbourhood sizes of RsCIN, or off.  [default: the model's]")  # fmt: skip
@click.option("--threshold", type=ThresholdType(), metavar="AUTO|NUMBER", default="auto",
              show_default=True,
              help="A frame with a higher score is NG. A distance, 0 to 2.")  # fmt: skip
@click.option("--false-alarm-rate", type=Rate(), default=0.01, show_default=True,
              help="Share of good frames that auto may call NG, as a mean. Of 100 good frames at "
                   "0.01 none to three are NG. Under 0.005 it is extrapolated.")  # fmt: skip
@click.option("--band", type=click.FloatRange(0, 2), default=0.0, show_default=True,
              help="A score nearer to the threshold than this is UNCERTAIN.")  # fmt: skip
@click.option("--exclusion", type=click.IntRange(0, 10_000), default=0, show_default=True,
              help="Frames before each frame that show the same part. They do not match "
                   "it.")  # fmt: skip
@click.option("--settle", type=click.IntRange(1, 10_000), metavar="N",
              help="Judge each frame once more, N frames later.")  # fmt: skip
@click.option("--codegraph/--no-codegraph", default=True, show_default=True,
              help="Search for recurring defects: defects that several frames share.")  # fmt: skip
@click.option("--reference", type=click.Path(path_type=Path, dir_okay=False),
              help="Start with this reference set. The newest of its good frames stay in the "
                   "window. A quarter of the slots stays free.")  # fmt: skip
@click.option("--save-reference", type=click.Path(path_type=Path, dir_okay=False),
              help="At the end, write the good frames of the window to this reference "
                   "set.")  # fmt: skip
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True,
              help="Device that runs the network.")  # fmt: skip
@framing_options()
@matching_option("fast")
@click.option("--threads", type=click.IntRange(1, 256), metavar="N",
              help="CPU threads.  [default: all cores]")  # fmt: skip
@click.option("--frames", type=click.IntRange(1), metavar="N", help="Stop after N frames.")
@click.option("--verdicts", type=click.Path(path_type=Path, dir_okay=False),
              help="Append the JSON lines to this file.  [default: standard output]")  # fmt: skip
@click.option("--overlays", type=click.Path(path_type=Path, file_okay=False),
              help="Write overlays and pictures of recurring defects to this folder.")  # fmt: skip
@draw_option("ng")
@click.option("--keep", type=click.Choice(["ng", "all", "none"]), default="none", show_default=True,
              help="Frames to keep as they came, beside their overlays. ng: those that are not "
                   "OK.")  # fmt: skip
@click.option("--video", type=click.Path(path_type=Path, dir_okay=False),
              help="Write all overlays to this video (.avi, .mkv, .mp4).")  # fmt: skip
@click.option("--show", is_flag=True, help="Show the overlays in a window on the screen.")
@debug_option
def run(config: Path | None, changes: tuple[str, ...], data: Path | None, **values: Any) -> None:
    r"""Inspect frames as they come. Write one JSON line for each.

    CONFIG is the file of a station ("zeroline config init" writes one). Without it --source and the
    other options describe the line.

    Other things have JSON lines too:

    \b
    - revision_of: an earlier frame has a new verdict.
    - alarm: a recurring defect. A tool may be broken.
    - event: for example, a camera is lost.

    Files and the simulated line lose no frame. A camera gives its latest frame. The frames before
    it are dropped and counted. A lost camera is opened again until it is back.

    Ctrl-C or SIGTERM ends the line after the current frame.
    """
    from zeroline.edge_app.commands.line import inspect
    from zeroline.edge_app.configuration.reading import read_station

    if config is not None:
        _refuse_options(allowed={"config", "changes", "data"})
        found = read_station(config, changes=changes, data=data)
        os.environ.update(found.variables)  # as systemd does
        for camera in found.station.cameras:
            if found.station.recipe_of(camera).reference is None:
                click.echo(
                    f'warning: the recipe "{camera.recipe}" has no reference set: a defect that '
                    "begins on all parts at once cannot be seen",
                    err=True,
                )
        inspect(found.station, Extras(), keeps=True)
        return
    if changes or data is not None:
        raise click.UsageError("--set and --data have no meaning without a file")
    inspect(*_described(**values), keeps=False)


def _refuse_options(*, allowed: set[str]) -> None:
    """Refuse options beside a file: it describes the line."""
    context = click.get_current_context()
    for param in context.command.params:
        source = context.get_parameter_source(param.name or "")
        if (
            param.expose_value
            and param.name not in allowed
            and source is ParameterSource.COMMANDLINE
        ):
            raise click.UsageError(
                f"with a file only --set and --data are allowed, not {param.opts[0]}"
            )


def _described(
    *,
    source: str | None,
    verdicts: Path | None,
    overlays: Path | None,
    draw: str,
    keep: str,
    device: str,
    threads: int | None,
    frames: int | None,
    video: Path | None,
    show: bool,
    save_reference: Path | None,
    **recipe: Any,
) -> tuple[Station, Extras]:
    """Return the station that options describe: one camera, one recipe."""
    from zeroline.edge_app.configuration.models import Station

    if source is None:
        raise click.UsageError("--source is missing, or the file of a station")
    if draw == "all" and overlays is None:
        raise click.UsageError("--draw all has no meaning without --overlays")
    if keep != "none" and overlays is None:
        raise click.UsageError(f"--keep {keep} has no meaning without --overlays")
    framed = take_framing(recipe)
    outputs: list[dict[str, Any]] = [{"kind": "json_lines", "path": verdicts}]
    if overlays is not None:
        outputs.append({"kind": "pictures", "folder": overlays, "draw": draw, "keep": keep})
    station = Station.model_validate(
        {
            "data": Path(),
            "device": device,
            "threads": threads,
            "cameras": [{"source": source}],
            "recipes": {"default": recipe | vars(framed)},
            "outputs": outputs,
        }
    )
    return station, Extras(frames, video, show, save_reference)
