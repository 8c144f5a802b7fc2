"""A station at work: its parts put together, and frames through them."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from zeroline.edge_app.commands.told import tell_early
from zeroline.edge_app.configuration.models import PicturesOutput, Station
from zeroline.edge_app.events import Events
from zeroline.edge_app.memory import check_window, memory_teller
from zeroline.edge_app.outputs.json_lines import open_to_append
from zeroline.edge_app.passwords import without_password
from zeroline.edge_app.runs import Run
from zeroline.edge_app.settings.framing import FramingOptions
from zeroline.edge_app.settings.options import ScoreOptions
from zeroline.edge_app.sources.address import open_source
from zeroline.edge_app.sources.peeked import PeekedSource
from zeroline.edge_app.station.loop import run_line, stopped_by_signals
from zeroline.runtime.line.inspector import RollingInspector

if TYPE_CHECKING:
    from zeroline.edge_app.captured import FrameSource
    from zeroline.edge_app.outputs.guarded import Output
    from zeroline.runtime.framing.framing import Framing
    from zeroline.runtime.network.manifest import Manifest
    from zeroline.runtime.network.model import Bundle


@dataclass(frozen=True)
class Extras:
    """What a run by options has beside its station."""

    frames: int | None = None
    video: Path | None = None
    show: bool = False
    save_reference: Path | None = None


def inspect(station: Station, extras: Extras) -> None:
    """Run a station until its source ends, or it is told to stop."""
    camera = station.cameras[0]
    recipe, source = station.recipe_of(camera), camera.source
    options = station.options(recipe)
    lines, pictures = station.json_lines, station.pictures
    verdicts = None if lines is None or lines.path is None else station.data / lines.path
    draws = pictures is not None and pictures.draw != "none"
    events = Events()
    events.listen(lambda event: click.echo(event.text, err=True))

    with ExitStack() as stack:
        outputs = _opened_outputs(
            Run(without_password(source)),
            stack.enter_context(open_to_append(verdicts)) if verdicts else sys.stdout,
            events,
            pictures,
            extras,
            sheets_of=recipe.window if options.codegraph and draws else None,
        )
        starting = time.monotonic()
        bundle = stack.enter_context(options.open_bundle())
        stop = stack.enter_context(stopped_by_signals())
        opened = PeekedSource(open_source(source, events=events, stop=stop))
        framing = _framing(recipe.framed(), recipe.reference, opened, bundle.manifest)
        chosen = options.rolling(bundle, framing)
        check_window(
            bundle,
            recipe.window,
            degrees=chosen["degrees"],
            tiles=framing.tiles,
            searches=options.codegraph,
        )
        inspector = stack.enter_context(
            RollingInspector(
                bundle,
                window=recipe.window,
                min_window=recipe.min_window,
                band=recipe.band,
                exclusion=recipe.exclusion,
                settle=recipe.settle,
                wait_for_search=not opened.live,
                tell_memory=memory_teller(bundle, recipe.window, tell=tell_early),
                **chosen,
            )
        )
        click.echo(
            f"window of {recipe.window} frames, {inspector.shape.memory / 2**20:.0f} MiB, "
            f"matched by {inspector.shape.form}",
            err=True,
        )
        if bundle.session.device != "cpu":
            seconds = time.monotonic() - starting
            click.echo(f"started on {bundle.session.device} in {seconds:.1f} s", err=True)
        _tell_tiles(bundle, inspector, framing, options)
        if recipe.reference is not None:
            _load_reference(inspector, recipe.reference, window=recipe.window, events=events)
        if verdicts or not sys.stdout.isatty():
            outputs |= _progress(stack, opened, extras.frames)
        began = time.monotonic()
        tally = run_line(opened, inspector, outputs, events=events, stop=stop, most=extras.frames)
        rate = tally.frames / max(time.monotonic() - began, 1e-9)
        click.echo(f"{tally}; {rate:.1f} frames/s", err=True)
        _end(inspector, extras.save_reference, source=without_password(source))
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
    pictures: PicturesOutput | None,
    extras: Extras,
    *,
    sheets_of: int | None,
) -> dict[str, Output]:
    """Open the outputs of a run: JSON lines into `file` first, then pictures.

    `sheets_of` is the number of frames in which a recurring defect may be found; None: no sheets.
    """
    from zeroline.edge_app.outputs.json_lines import JsonLines
    from zeroline.edge_app.outputs.pictures import DefectSheets, Pictures

    folder, draw, keep = None, "ng", "none"
    if pictures is not None and (pictures.draw, pictures.keep) != ("none", "none"):
        folder, draw, keep = pictures.folder, pictures.draw, pictures.keep
    made = None
    if folder is not None or extras.video is not None or extras.show:
        made = Pictures(
            run.id, folder=folder, draw=draw, keep=keep, video=extras.video, window=extras.show
        )
    lines = JsonLines(file, run, pictures=made)
    events.listen(lines.event)
    outputs: dict[str, Output] = {"JSON lines": lines}
    if made is not None:
        outputs["overlays"] = made
    if folder is not None and sheets_of is not None:
        outputs["pictures of recurring defects"] = DefectSheets(run.id, folder, kept=sheets_of)
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
