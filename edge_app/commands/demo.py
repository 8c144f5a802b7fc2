"""``zeroline demo``: the whole pipeline on a simulated line, with nothing but this package."""

from __future__ import annotations

import csv
import re
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import click

from zeroline.edge_app.batch.results import ImageResult, remove_earlier
from zeroline.edge_app.cli import debug_option
from zeroline.edge_app.errors import InputError, OutputError, ReaderGoneError
from zeroline.edge_app.images import ImageFile
from zeroline.edge_app.messages import Message
from zeroline.edge_app.settings.options import Rate, Share
from zeroline.edge_app.sim.line import GOOD, SimulatedLine
from zeroline.edge_app.writing import prepare_folder, remove_files, whole_file, write_png
from zeroline.runtime.results import Inspection, Revision, Verdict

_TRUTH = ["image", "kind"]
_FIRST = 16  # parts before the first verdict


@click.command()
@click.option("--parts", type=click.IntRange(10, 100_000), default=160, show_default=True,
              help="Parts on the line.")  # fmt: skip
@click.option("--defects", type=Share(), default=0.15, show_default=True,
              help="Share of parts with a defect.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True,
              help="The same seed gives the same parts.")  # fmt: skip
@click.option("--model", default="tiny", show_default=True, metavar="NAME|DIR",
              help="Bundled model, or the folder of a bundle.")  # fmt: skip
@click.option("--output", type=click.Path(path_type=Path, file_okay=False),
              default=Path("results/demo"), show_default=True,
              help="Folder for the results.")  # fmt: skip
@click.option("--false-alarm-rate", type=Rate(), default=0.01,
              show_default=True,
              help="Share of good parts that may be called NG, as a mean.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1, 256), metavar="N",
              help="CPU threads.  [default: all cores]")  # fmt: skip
@debug_option
def demo(
    parts: int,
    defects: float,
    seed: int,
    model: str,
    output: Path,
    false_alarm_rate: float,
    threads: int | None,
) -> None:
    """Inspect a simulated line of milled plates. Show each verdict beside the truth.

    The model was not trained on such parts. The first parts are judged later, when enough others
    have come.

    Writes the frames with their truth, scores.csv, overlays/*.png and report.html.
    """
    from zeroline.edge_app.batch.results_folder import write_results
    from zeroline.edge_app.commands.line import run_station
    from zeroline.edge_app.commands.told import end_without_pictures
    from zeroline.edge_app.configuration.cameras import Camera
    from zeroline.edge_app.configuration.models import Recipe, Station
    from zeroline.edge_app.events import Events
    from zeroline.edge_app.progress import progress_bars
    from zeroline.edge_app.runs import Run
    from zeroline.edge_app.sim.settings import settings_from
    from zeroline.edge_app.station.opener import Opener
    from zeroline.edge_app.station.signals import stopped_by_signals
    from zeroline.runtime.errors import DeviceError

    first = min(_FIRST, parts)
    address = f"sim://parts?seed={seed}&parts={parts}&defects={defects}"
    station = Station(
        threads=threads,
        cameras=(Camera(source=address),),
        recipes={
            "default": Recipe(
                model=model, min_window=first, settle=1, false_alarm_rate=false_alarm_rate
            )
        },
    )
    line = SimulatedLine(settings_from(address))
    events = Events()
    events.listen(lambda event: click.echo(event.text))
    with stopped_by_signals() as stop, ExitStack() as stack:
        opener = Opener(station, events=events, stop=stop, named=True, tell=lambda _: None)
        stack.callback(opener.close)
        remove_earlier(output)  # so that an interrupted run leaves nothing that does not belong
        _prepare_frames(output / "frames", line, parts)
        click.echo(f'{parts} parts, model "{model}"; first verdicts after {first} parts')
        click.echo(_row("part", "verdict", "score", "threshold", "truth"))
        table = DemoTable(line, output / "frames")
        running = run_station(
            station, opener, {"table": table}, run=Run(address), events=events, stop=stop
        )
        used = running.inspection.line("camera")
        if used.inspector.device_lost:
            raise DeviceError("the line has ended with its CUDA device")
        missed = running.tally.missed["table"]
        if missed:
            raise OutputError(f'{missed} frame(s) missed in "{output}"')
        described = station.options(used.settings).described(
            used.bundle, form=used.inspector.shape.form, framing=used.framing
        )
        settings = {"Source": f"simulated line, seed {seed}", **described}
    with progress_bars() as bars:
        missing = write_results(
            output,
            table.results(),
            title="Simulated line",
            settings=settings,
            bars=bars,
            false_alarm_rate=false_alarm_rate,
            threads=threads,
        )
    click.echo(_summary(table))
    for name in ("report.html", "overlays", "scores.csv", "frames"):
        click.echo(f"  {output / name}")
    end_without_pictures(missing)


class DemoTable:
    """An output of the line: frames as files, verdicts beside the truth in the terminal.

    Parameters
    ----------
    line : SimulatedLine
        Knows the truth.
    folder : Path
        Of the frames.
    """

    def __init__(self, line: SimulatedLine, folder: Path) -> None:
        self._line, self._folder = line, folder
        self._latest: dict[int, Inspection | Revision] = {}

    def take(self, message: Message, /) -> None:
        """Save a part's frame, and print its verdict, and one that has changed."""
        if message.part is not None:
            (view,) = message.part.views
            if view.captured.frame is not None:
                write_png(self._folder / _name(view.inspection.frame_id), view.captured.frame)
            self._print(view.inspection)
        revision = message.revision
        if revision is None:
            return
        if revision.verdict is not revision.first:
            self._print(revision)
        if revision.verdict is not revision.first or not self._scored(revision.frame_id):
            self._latest[revision.frame_id] = revision

    def safe(self, why: str, /) -> None:
        """Nothing stands behind it."""

    def close(self) -> None:
        """Nothing is left to do."""

    def results(self) -> list[ImageResult]:
        """Return the last word on each part that has a score, in their order."""
        results = []
        for part, last in self._latest.items():
            if last.scores is not None:
                path = self._folder / _name(part)
                file = ImageFile(path, path.name)
                results.append(
                    ImageResult(file, last.verdict, last.scores, last.recurring, last.reason)
                )
        return results

    def truths(self) -> list[tuple[str, Verdict]]:
        """Return kind and verdict of each part."""
        return [(self._line.kind_of(part), last.verdict) for part, last in self._latest.items()]

    def _scored(self, part: int) -> bool:
        return self._latest[part].scores is not None

    def _print(self, judged: Inspection | Revision) -> None:
        """Print a line of the table; what is wrong stands out."""
        part, scores = judged.frame_id, judged.scores
        self._latest[part] = judged
        kind = self._line.kind_of(part)
        defective = kind != GOOD
        note = ""
        if judged.verdict in (Verdict.OK, Verdict.NG):
            right = defective == (judged.verdict is Verdict.NG)
            note = "" if right else "missed" if defective else "false alarm"
        later = "later" if isinstance(judged, Revision) else ""
        numbers = (scores.score, scores.threshold) if scores else (None, None)
        cells = ("" if number is None else f"{number:.3f}" for number in numbers)
        text = _row(f"{part:05d}", judged.verdict.value, *cells, kind, note or later)
        try:
            click.echo(click.style(text, fg="yellow" if note else "red" if defective else None))
        except BrokenPipeError as error:
            raise ReaderGoneError from error


def _row(*cells: str) -> str:
    return "  ".join(f"{cell:<9}" for cell in cells).rstrip()


def _prepare_frames(folder: Path, line: SimulatedLine, parts: int) -> None:
    """Write the truth about the frames to come, and remove those of an earlier run's truth."""
    prepare_folder(folder)
    truth = folder / "truth.csv"
    if truth.is_file():
        with truth.open(newline="", encoding="utf-8", errors="replace") as file:
            header, *rows = list(csv.reader(file)) or [[]]
        if header == _TRUTH:  # else it is not ours, and nothing is removed
            names = [row[0] for row in rows if row]
            remove_files(folder, [name for name in names if re.fullmatch(r"\d{5,}\.png", name)])
            truth.unlink()
    for name in (truth.name, *map(_name, range(parts))):
        if (folder / name).exists():
            raise InputError(
                f'"{folder / name}" is not of an earlier demo: choose another --output'
            )
    with whole_file(truth) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_TRUTH)
        writer.writerows((_name(part), line.kind_of(part)) for part in range(parts))


def _name(part: int) -> str:
    return f"{part:05d}.png"


def _summary(table: DemoTable) -> str:
    """Return the confusion table, and how many of each kind of defect were found."""
    truths = table.truths()
    counts = Counter((kind != GOOD, verdict) for kind, verdict in truths)
    shown = [v for v in Verdict if any(verdict is v for _, verdict in truths)]
    lines = ["", _row("", *(verdict.value for verdict in shown))]
    lines += [
        _row(name, *(str(counts[defective, verdict]) for verdict in shown))
        for name, defective in (("good", False), ("defective", True))
    ]
    caught = Counter(kind for kind, verdict in truths if verdict is Verdict.NG and kind != GOOD)
    kinds = Counter(kind for kind, _ in truths if kind != GOOD)
    if kinds:
        parts = ", ".join(
            f"{kind} {caught[kind]} of {count}" for kind, count in sorted(kinds.items())
        )
        lines.append(f"found: {parts}")
    return "\n".join([*lines, ""])
