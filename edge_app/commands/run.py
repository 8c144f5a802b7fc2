"""``zeroline run``: the line, from a source of frames to verdicts."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from zeroline.edge_app.cli import debug_option
from zeroline.edge_app.settings.framing import FramingOptions, framing_options, take_framing
from zeroline.edge_app.settings.options import (
    DegreesType,
    NumberList,
    Rate,
    ScoreOptions,
    ThresholdType,
    draw_option,
    matching_option,
)
from zeroline.runtime.network.model import DEVICES

if TYPE_CHECKING:
    from zeroline.edge_app.captured import FrameSource
    from zeroline.edge_app.events import Events
    from zeroline.edge_app.outputs.guarded import Output
    from zeroline.edge_app.runs import Run
    from zeroline.edge_app.sources.peeked import PeekedSource
    from zeroline.runtime.framing.framing import Framing
    from zeroline.runtime.line.inspector import RollingInspector
    from zeroline.runtime.network.manifest import Manifest
    from zeroline.runtime.network.model import Bundle


@click.command()
@click.option("--source", required=True, metavar="ADDRESS",
              help="Device number, RTSP or HTTP URL, GStreamer pipeline, video file, folder of "
                   "images, or sim://parts.")  # fmt: skip
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
def run(
    source: str,
    window: int,
    min_window: int,
    band: float,
    exclusion: int,
    settle: int | None,
    reference: Path | None,
    save_reference: Path | None,
    frames: int | None,
    verdicts: Path | None,
    overlays: Path | None,
    draw: str,
    keep: str,
    video: Path | None,
    show: bool,
    **values: Any,
) -> None:
    r"""Inspect frames as they come. Write one JSON line for each.

    Other things have JSON lines too:

    \b
    - revision_of: an earlier frame has a new verdict.
    - alarm: a recurring defect. A tool may be broken.
    - event: for example, a camera is lost.

    Files and the simulated line lose no frame. A camera gives its latest frame. The frames before
    it are dropped and counted. A lost camera is opened again until it is back.

    Ctrl-C or SIGTERM ends the line after the current frame.
    """
    from zeroline.edge_app.commands.told import tell_early
    from zeroline.edge_app.events import Events
    from zeroline.edge_app.memory import check_window, memory_teller
    from zeroline.edge_app.outputs.json_lines import open_to_append
    from zeroline.edge_app.passwords import without_password
    from zeroline.edge_app.runs import Run
    from zeroline.edge_app.sources.address import open_source
    from zeroline.edge_app.sources.peeked import PeekedSource
    from zeroline.edge_app.station.loop import run_line, stopped_by_signals
    from zeroline.runtime.line.inspector import RollingInspector

    if draw == "all" and overlays is None:
        raise click.UsageError("--draw all has no meaning without --overlays")
    if keep != "none" and overlays is None:
        raise click.UsageError(f"--keep {keep} has no meaning without --overlays")
    framed = take_framing(values)
    options = ScoreOptions(**values)
    events = Events()
    events.listen(lambda event: click.echo(event.text, err=True))

    with ExitStack() as stack:
        outputs = _opened_outputs(
            Run(without_password(source)),
            stack.enter_context(open_to_append(verdicts)) if verdicts else sys.stdout,
            events,
            folder=None if draw == keep == "none" else overlays,
            draw=draw,
            keep=keep,
            video=video,
            show=show,
            sheets_of=window if options.codegraph and draw != "none" else None,
        )
        starting = time.monotonic()
        bundle = stack.enter_context(options.open_bundle())
        stop = stack.enter_context(stopped_by_signals())
        opened = PeekedSource(open_source(source, events=events, stop=stop))
        framing = _framing(framed, reference, opened, bundle.manifest)
        chosen = options.rolling(bundle, framing)
        check_window(
            bundle,
            window,
            degrees=chosen["degrees"],
            tiles=framing.tiles,
            searches=options.codegraph,
        )
        inspector = stack.enter_context(
            RollingInspector(
                bundle,
                window=window,
                min_window=min_window,
                band=band,
                exclusion=exclusion,
                settle=settle,
                wait_for_search=not opened.live,
                tell_memory=memory_teller(bundle, window, tell=tell_early),
                **chosen,
            )
        )
        click.echo(
            f"window of {window} frames, {inspector.shape.memory / 2**20:.0f} MiB, "
            f"matched by {inspector.shape.form}",
            err=True,
        )
        if bundle.session.device != "cpu":
            seconds = time.monotonic() - starting
            click.echo(f"started on {bundle.session.device} in {seconds:.1f} s", err=True)
        _tell_tiles(bundle, inspector, framing, options)
        if reference is not None:
            _load_reference(inspector, reference, window=window, events=events)
        if verdicts or not sys.stdout.isatty():
            outputs |= _progress(stack, opened, frames)
        began = time.monotonic()
        tally = run_line(opened, inspector, outputs, events=events, stop=stop, most=frames)
        rate = tally.frames / max(time.monotonic() - began, 1e-9)
        click.echo(f"{tally}; {rate:.1f} frames/s", err=True)
        _end(inspector, save_reference, source=without_password(source))
        if opened.incomplete:
            raise click.exceptions.Exit(1)


def _framing(
    framed: FramingOptions, reference: Path | None, source: PeekedSource, manifest: Manifest
) -> Framing:
    """Return what of a frame is looked at: by the options, or as a reference set was made."""
    from zeroline.runtime.reference.files import read_reference

    kept = None if reference is None else read_reference(reference).framing
    if kept is not None and (framed.is_plain or framed.only_aligns(kept)):
        return kept
    return framed.opened(source.size, manifest)


def _tell_tiles(
    bundle: Bundle, inspector: RollingInspector, framing: Framing, options: ScoreOptions
) -> None:
    """Tell what tiles cost, where there are any."""
    from zeroline.edge_app.tiles import tile_cost
    from zeroline.runtime.framing.framer import Framer

    if not framing.is_tiled:
        return
    shape = inspector.shape
    cost = tile_cost(
        bundle,
        Framer(framing, bundle.manifest.input, patches=bundle.patches),
        frames=shape.capacity,
        degrees=shape.degrees,
        matching=options.matching,
        threads=options.threads,
        one_way=True,
    )
    for line in cost.lines(shape.memory + inspector.memory.tokens):
        click.echo(line, err=True)


def _end(inspector: RollingInspector, reference: Path | None, *, source: str) -> None:
    """Save the reference set that was asked for; end with an error where the device is lost."""
    from zeroline.edge_app.commands.reference import tell
    from zeroline.edge_app.station.loop import check_device

    check_device(inspector, unsaved="" if reference is None else str(reference))
    if reference is not None:
        saved = inspector.save_reference(reference, source=source)
        tell(saved)
        click.echo(f'{saved} to "{reference}"', err=True)


def _opened_outputs(
    run: Run,
    file: IO[str],
    events: Events,
    *,
    folder: Path | None,
    draw: str,
    keep: str,
    video: Path | None,
    show: bool,
    sheets_of: int | None,
) -> dict[str, Output]:
    """Open the outputs of a run: JSON lines into `file` first, then pictures.

    `sheets_of` is the number of frames in which a recurring defect may be found; None: no sheets.
    """
    from zeroline.edge_app.outputs.json_lines import JsonLines
    from zeroline.edge_app.outputs.pictures import DefectSheets, Pictures

    pictures = None
    if folder is not None or video is not None or show:
        pictures = Pictures(run.id, folder=folder, draw=draw, keep=keep, video=video, window=show)
    lines = JsonLines(file, run, pictures=pictures)
    events.listen(lines.event)
    outputs: dict[str, Output] = {"JSON lines": lines}
    if pictures is not None:
        outputs["overlays"] = pictures
    if folder is not None and sheets_of is not None:
        sheets = DefectSheets(run.id, folder, kept=sheets_of)
        outputs["pictures of recurring defects"] = sheets
    return outputs


def _progress(stack: ExitStack, source: FrameSource, most: int | None) -> dict[str, Output]:
    """Show how far the line has come, where it is known how many frames there are."""
    from zeroline.edge_app.outputs.progress import Progress
    from zeroline.edge_app.progress import progress_bars

    counts = [count for count in (source.announced, most) if count is not None]
    if source.announced is None:
        return {}
    bars = stack.enter_context(progress_bars())
    return {"progress": Progress(bars("inspecting", min(counts)))}


def _load_reference(
    inspector: RollingInspector, reference: Path, *, window: int, events: Events
) -> None:
    """Load a reference set, and tell what came of it."""
    from zeroline.edge_app.events import events_of_reference

    loaded = inspector.load_reference(reference)
    click.echo(f'{loaded} from "{reference}"', err=True)
    if loaded.unused:
        click.echo(
            f"the newest {loaded.frames} stay in the window: a quarter of its {window} slots is "
            "free for the line",
            err=True,
        )
    for event in events_of_reference(str(reference), loaded):
        events(event)
