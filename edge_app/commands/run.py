"""``zeroline run``: the line, from a source of frames to verdicts."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from pathlib import Path

import click

from zeroline.edge_app.cli import debug_option
from zeroline.edge_app.settings.options import (
    PRECISIONS,
    DegreesType,
    NumberList,
    Rate,
    ScoreOptions,
    ThresholdType,
)
from zeroline.runtime.network.session import DEVICES


@click.command()
@click.option("--source", required=True, metavar="ADDRESS",
              help="Device number, RTSP or HTTP URL, GStreamer pipeline, video file, folder of "
                   "pictures, or sim://parts.")  # fmt: skip
@click.option("--model", default="tiny", show_default=True, metavar="NAME|DIR",
              help="A bundled model or the folder of a bundle.")  # fmt: skip
@click.option("--window", type=click.IntRange(2, 4096), default=64, show_default=True,
              help="Frames that each frame is compared with.")  # fmt: skip
@click.option("--min-window", type=click.IntRange(2, 4096), default=16, show_default=True,
              help="Frames before the first verdict.")  # fmt: skip
@click.option("--degrees", type=DegreesType(), metavar="1,3,5|fused",
              help="Neighbourhood sizes of LNAMD.  [default: the model's]")  # fmt: skip
@click.option("--rscin", type=NumberList(least=1, most=1000, empty="off"), metavar="1,2,3|off",
              help="Neighbourhood sizes of RsCIN.  [default: the model's]")  # fmt: skip
@click.option("--threshold", type=ThresholdType(), metavar="AUTO|NUMBER", default="auto",
              show_default=True,
              help="Score over which a frame is NG, in distance units.")  # fmt: skip
@click.option("--false-alarm-rate", type=Rate(), default=0.01, show_default=True,
              help="Wanted share of good frames over the auto threshold.")  # fmt: skip
@click.option("--band", type=click.FloatRange(0, 2), default=0.0, show_default=True,
              help="Scores nearer to the threshold than this are UNCERTAIN.")  # fmt: skip
@click.option("--exclusion", type=click.IntRange(0, 10_000), default=0, show_default=True,
              help="Frames that see one part: they do not match each other.")  # fmt: skip
@click.option("--settle", type=click.IntRange(1, 10_000), metavar="N",
              help="Score each frame once more after N later ones.")  # fmt: skip
@click.option("--codegraph/--no-codegraph", default=True, show_default=True,
              help="Look for defects that recur in many frames, and would vouch for each "
                   "other.")  # fmt: skip
@click.option("--reference", type=click.Path(path_type=Path, dir_okay=False),
              help="Reference bank of known-good parts, pinned in the window.")  # fmt: skip
@click.option("--save-reference", type=click.Path(path_type=Path, dir_okay=False),
              help="Write the window to this file at the end.")  # fmt: skip
@click.option("--device", type=click.Choice(DEVICES), default="auto", show_default=True,
              help="Where the network runs.")  # fmt: skip
@click.option("--precision", type=click.Choice(PRECISIONS), default="auto",
              show_default=True,
              help="How neighbours are found: exactly (fp32), by a cheap product first (screened, "
                   "on the CPU), or in float16 (on CUDA); auto takes the quickest, by a short "
                   "measurement.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1, 256), metavar="N",
              help="CPU threads.  [default: all cores]")  # fmt: skip
@click.option("--frames", type=click.IntRange(1), metavar="N", help="Stop after N frames.")
@click.option("--verdicts", type=click.Path(path_type=Path, dir_okay=False),
              help="Append the JSON lines to this file.  [default: standard output]")  # fmt: skip
@click.option("--overlays", type=click.Path(path_type=Path, file_okay=False),
              help="Write pictures of frames that are not OK, and of recurring defects, to this "
                   "folder.")  # fmt: skip
@click.option("--all-overlays", is_flag=True, help="Write pictures of good frames as well.")
@click.option("--video", type=click.Path(path_type=Path, dir_okay=False),
              help="Write all pictures to this video (.avi, .mkv, .mp4).")  # fmt: skip
@click.option("--show", is_flag=True, help="Show the pictures in a window.")
@debug_option
def run(
    source: str,
    model: str,
    window: int,
    min_window: int,
    degrees: tuple[int, ...] | str | None,
    rscin: tuple[int, ...] | None,
    threshold: float | None,
    false_alarm_rate: float,
    band: float,
    exclusion: int,
    settle: int | None,
    codegraph: bool,
    reference: Path | None,
    save_reference: Path | None,
    device: str,
    precision: str,
    threads: int | None,
    frames: int | None,
    verdicts: Path | None,
    overlays: Path | None,
    all_overlays: bool,
    video: Path | None,
    show: bool,
) -> None:
    """Inspect the frames of a source as they come: one JSON line for each.

    A frame that turns out NG later has a line of its own ("revision_of"), and so has a defect that
    recurs in many frames ("alarm"), since it means that a tool is broken.

    Files and the simulated line lose no frame; of a camera or a stream the latest frame counts,
    and frames that were not taken are counted. A lost camera is tried again until it is back.
    Ctrl-C or SIGTERM ends the line after the frame under way.
    """
    from zeroline.edge_app.captured import frames_per_second
    from zeroline.edge_app.outputs.alarms import Alarms
    from zeroline.edge_app.outputs.json_lines import JsonLines
    from zeroline.edge_app.outputs.pictures import DefectSheets, Overlays
    from zeroline.edge_app.sources.address import open_source
    from zeroline.edge_app.station.loop import Sink, run_line, stopped_by_signals
    from zeroline.runtime.line.inspector import RollingInspector

    if all_overlays and overlays is None:
        raise click.UsageError("--all-overlays has no meaning without --overlays")
    options = ScoreOptions(
        model=model,
        device=device,
        precision=precision,
        degrees=degrees,
        rscin=rscin,
        threshold=threshold,
        false_alarm_rate=false_alarm_rate,
        codegraph=codegraph,
        threads=threads,
    )

    def tell(line: str) -> None:
        click.echo(line, err=True)

    with ExitStack() as stack:
        bundle = stack.enter_context(options.open_bundle())
        inspector = stack.enter_context(
            RollingInspector(
                bundle,
                window=window,
                min_window=min_window,
                band=band,
                exclusion=exclusion,
                settle=settle,
                **options.rolling(bundle),
            )
        )
        tell(
            f"window of {window} frames, {inspector.memory / 2**20:.0f} MiB, "
            f"matched in {inspector.shape.precision}"
        )
        if reference is not None:
            tell(f'{inspector.load_reference(reference)} frames from "{reference}"')
        if verdicts is None:
            lines = JsonLines(sys.stdout)
        else:
            verdicts.parent.mkdir(parents=True, exist_ok=True)
            lines = JsonLines(stack.enter_context(verdicts.open("a", encoding="utf-8")))
        sinks: list[Sink] = [lines, Alarms(tell)]
        if overlays is not None or video is not None or show:
            sinks.append(Overlays(folder=overlays, video=video, window=show, every=all_overlays))
        if overlays is not None and codegraph:
            sinks.append(DefectSheets(overlays, kept=window))
        with stopped_by_signals() as stop:
            opened = open_source(source, tell=tell, stop=stop)
            began = time.monotonic()
            tally = run_line(opened, inspector, sinks, stop=stop, most=frames)
        tell(f"{tally}; {frames_per_second(tally.frames, began):.1f} frames/s")
        if save_reference is not None:
            tell(f'{inspector.save_reference(save_reference)} frames to "{save_reference}"')
