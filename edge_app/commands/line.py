"""A station at work: its parts put together, and frames through them."""

from __future__ import annotations

import logging
import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zeroline.edge_app.commands.outlets import opened_outputs
from zeroline.edge_app.commands.told import tell_early
from zeroline.edge_app.configuration.models import Station
from zeroline.edge_app.configuration.outputs import JsonLinesOutput
from zeroline.edge_app.errors import ReaderGoneError
from zeroline.edge_app.events import Events, HeldEvents
from zeroline.edge_app.outputs.hub import OutputHub
from zeroline.edge_app.passwords import without_password
from zeroline.edge_app.runs import Run
from zeroline.edge_app.station.controls import StationControl
from zeroline.edge_app.station.extras import Extras
from zeroline.edge_app.station.opener import Opener
from zeroline.edge_app.station.running import RunningStation
from zeroline.edge_app.station.signals import stopped_by_signals
from zeroline.runtime.errors import DeviceError

if TYPE_CHECKING:
    import threading
    from collections.abc import Mapping

    from zeroline.edge_app.commands.kept import Kept
    from zeroline.edge_app.messages import Message
    from zeroline.edge_app.outputs.output import Output
    from zeroline.edge_app.sources.peeked import PeekedSource
    from zeroline.runtime.line.inspector import RollingInspector


def inspect(station: Station, extras: Extras, *, keeps: bool) -> None:
    """Run a station until its sources end, or it is told to stop.

    Parameters
    ----------
    station : Station
    extras : Extras
    keeps : bool
        Whether it is a station by a file, with store, state and local interface.
    """
    run = Run(", ".join(dict.fromkeys(without_password(c.source) for c in station.cameras)))
    if keeps:
        from zeroline.edge_app.commands.kept import Kept

        _log_to_stderr(station, run)
    events = Events()
    events.listen(lambda event: click.echo(event.text, err=True))
    held = HeldEvents(events)
    with ExitStack() as stack:
        stop = stack.enter_context(stopped_by_signals())
        kept = stack.enter_context(Kept(station, events)) if keeps else None
        outputs = opened_outputs(station, run, extras, stack, store=kept.store if kept else None)
        opener = Opener(
            station, events=events, stop=stop, tell=tell_early, state=kept.state if kept else None
        )
        stack.callback(opener.close)
        if kept is None and (_writes_to_a_file(station) or not sys.stdout.isatty()):
            outputs |= _progress(stack, next(iter(opener.sources.values())), extras.frames)
        running = run_station(
            station,
            opener,
            outputs,
            run=run,
            events=events,
            stop=stop,
            held=held,
            kept=kept,
            most=extras.frames,
        )
        inspector = running.inspection.line(station.cameras[0].name).inspector
        _end(inspector, extras.save_reference, source=run.address)
        if running.faulty or opener.incomplete:
            raise click.exceptions.Exit(1)


def run_station(
    station: Station,
    opener: Opener,
    outputs: Mapping[str, Output],
    *,
    run: Run,
    events: Events,
    stop: threading.Event,
    held: HeldEvents | None = None,
    kept: Kept | None = None,
    most: int | None = None,
) -> RunningStation:
    """Run a station whose sources are open until it ends; tell what has passed.

    Parameters
    ----------
    station : Station
    opener : Opener
    outputs : mapping of str to Output
        By their names; closed at the end.
    run : Run
    events : Events
    stop : Event
    held : HeldEvents, optional
        Events of the time before.
    kept : Kept, optional
        Its data folder.
    most : int, optional
        Parts, at the most.

    Raises
    ------
    ReaderGoneError
        If nobody reads the verdicts any more.
    """
    hub = OutputHub(outputs, events=events, patient=kept is None and not opener.live)
    running = RunningStation(
        station,
        opener.lanes(),
        opener.first_lines(),
        hub,
        run=run,
        events=events,
        stop=stop,
        held=held,
        store=kept.store if kept else None,
        opened=opener.line,
        state=kept.state if kept else None,
        operator=kept.operator if kept else None,
        most=most,
        tap=kept.metrics.take if kept else _nowhere,
        beat=kept.beat if kept else _nobody,
    )
    began = time.monotonic()
    with running, ExitStack() as around:
        if kept is not None:
            around.enter_context(kept.serving(StationControl(running)))
        running.wait()
    running.tally.missed.update(hub.missed)
    if running.hung:
        _leave_behind(kept)
    if hub.gone.is_set():
        raise ReaderGoneError
    rate = running.tally.frames / max(time.monotonic() - began, 1e-9)
    click.echo(f"{running.tally}; {rate:.1f} frames/s", err=True)
    return running


def _leave_behind(kept: Kept | None) -> None:
    """End the process at once, its rows written: a thread that hangs would hold it for ever."""
    if kept is not None:
        kept.store.close()
    click.echo("Error: the inspection hangs, and the station ends", err=True)
    sys.stdout.flush()
    os._exit(1)


def _nowhere(message: Message, /) -> None:
    """Take a message that nothing counts."""


def _nobody() -> None:
    """Nobody watches."""


def _writes_to_a_file(station: Station) -> bool:
    lines = [output for output in station.outputs if isinstance(output, JsonLinesOutput)]
    return all(output.path is not None for output in lines)


def _log_to_stderr(station: Station, run: Run) -> None:
    """Log as the station's file says; each line has the run's name."""
    handler = logging.StreamHandler()
    handler.setFormatter(_LogLines(run, tracebacks=station.log_level == "debug"))
    logger = logging.getLogger("zeroline")
    logger.handlers[:] = [handler]
    logger.setLevel(station.log_level.upper())


class _LogLines(logging.Formatter):
    """One line for each thing that is logged; tracebacks where somebody looks for a fault."""

    def __init__(self, run: Run, *, tracebacks: bool) -> None:
        super().__init__(f"%(asctime)s %(levelname)s {run.id} %(name)s: %(message)s")
        self._tracebacks = tracebacks

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as text."""
        if not self._tracebacks and record.exc_info:
            error = record.exc_info[1]
            record.msg = f"{record.getMessage()}: {error!r}" if error else record.getMessage()
            record.args = record.exc_info = record.exc_text = None
        return super().format(record)


def _end(inspector: RollingInspector, reference: Path | None, *, source: str) -> None:
    """Save the reference set that was asked for; end with an error where the device is lost."""
    from zeroline.edge_app.commands.reference import tell

    if inspector.device_lost:
        more = "" if reference is None else f', and "{reference}" was not written'
        raise DeviceError(f"the line has ended with its CUDA device{more}")
    if reference is not None:
        saved = inspector.save_reference(reference, source=source)
        tell(saved)
        click.echo(f'{saved} to "{reference}"', err=True)


def _progress(stack: ExitStack, source: PeekedSource, most: int | None) -> dict[str, Output]:
    """Show how far the line has come, where it is known how many frames there are."""
    from zeroline.edge_app.outputs.progress import Progress
    from zeroline.edge_app.progress import progress_bars

    counts = [count for count in (source.announced, most) if count is not None]
    if source.announced is None:
        return {}
    bars = stack.enter_context(progress_bars())
    return {"progress": Progress(bars("inspecting", min(counts)))}
