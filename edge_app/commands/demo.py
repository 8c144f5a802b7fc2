"""``zeroline demo``: the whole pipeline on a simulated line, with nothing but this package."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from zeroline.edge_app.batch.results import ImageResult, remove_earlier
from zeroline.edge_app.cli import debug_option
from zeroline.edge_app.errors import InputError
from zeroline.edge_app.images import ImageFile
from zeroline.edge_app.settings.options import Rate, ScoreOptions, Share
from zeroline.edge_app.sim.line import GOOD, SimulatedLine
from zeroline.edge_app.writing import prepare_folder, remove_files, whole_file, write_png
from zeroline.runtime.frames import Frame

_TRUTH = ["image", "kind"]
_FIRST = 16  # parts before the first verdict


@click.command()
@click.option("--parts", type=click.IntRange(10, 100_000), default=160, show_default=True,
              help="Parts on the line.")  # fmt: skip
@click.option("--defects", type=Share(), default=0.15, show_default=True,
              help="Share of parts with a defect.")  # fmt: skip
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True,
              help="The same seed gives the same parts, scores and verdicts.")  # fmt: skip
@click.option("--model", default="tiny", show_default=True, metavar="NAME|DIR",
              help="A bundled model or the folder of a bundle.")  # fmt: skip
@click.option("--output", type=click.Path(path_type=Path, file_okay=False),
              default=Path("results/demo"), show_default=True,
              help="Folder of the results.")  # fmt: skip
@click.option("--false-alarm-rate", type=Rate(), default=0.01,
              show_default=True, help="Wanted share of good parts called NG.")  # fmt: skip
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
    """Inspect a simulated line of milled plates, with verdicts beside the truth.

    The model has seen no such part and no label. Writes the frames with their truth, scores.csv,
    overlays/*.png and report.html.
    """
    from zeroline.edge_app.batch.results_folder import write_results
    from zeroline.edge_app.progress import progress_bars
    from zeroline.edge_app.sim.settings import LineSettings
    from zeroline.edge_app.station.streaming import score_stream
    from zeroline.runtime.line.inspector import RollingInspector

    options = ScoreOptions(
        model=model, false_alarm_rate=false_alarm_rate, seed=seed, threads=threads
    )
    line = SimulatedLine(LineSettings(seed=seed, parts=parts, defects=defects))
    first = min(_FIRST, parts)
    inspected: list[Inspected] = []
    with options.open_bundle() as bundle:
        remove_earlier(output)  # so that an interrupted run leaves nothing that does not belong
        _prepare_frames(output / "frames", line, parts)
        click.echo(
            f'{parts} parts, model "{bundle.name}" on {bundle.session.device}; first verdicts '
            f"after {first} parts, then with each"
        )
        click.echo(_row("part", "verdict", "score", "threshold", "truth"))
        stream = _saved(line, output / "frames")
        with RollingInspector(
            bundle, min_window=first, admit_copies=True, **options.rolling(bundle)
        ) as inspector:
            for (file, kind), scores in score_stream(stream, inspector):
                part = Inspected(ImageResult.of(file, scores), kind)
                click.echo(part.line())
                inspected.append(part)
        settings = {"Source": f"simulated line, seed {seed}", **options.described(bundle)}
    with progress_bars() as bars:
        write_results(
            output,
            [part.result for part in inspected],
            title="Simulated line",
            settings=settings,
            bars=bars,
            false_alarm_rate=false_alarm_rate,
            threads=threads,
        )
    click.echo(_summary(inspected))
    for name in ("report.html", "overlays", "scores.csv", "frames"):
        click.echo(f"  {output / name}")


@dataclass(frozen=True)
class Inspected:
    """A part's result and the truth about it."""

    result: ImageResult
    kind: str

    @property
    def defective(self) -> bool:
        """Whether it should be NG."""
        return self.kind != GOOD

    @property
    def right(self) -> bool:
        """Whether the verdict is true."""
        return self.defective == (self.result.verdict == "NG")

    def line(self) -> str:
        """Return a line of the table; what is wrong stands out."""
        result = self.result
        note = "" if self.right else "missed" if self.defective else "false alarm"
        text = _row(
            result.file.path.stem,
            result.verdict,
            f"{result.score:.3f}",
            f"{result.threshold:.3f}",
            self.kind,
            note,
        )
        return click.style(text, fg="yellow" if note else "red" if self.defective else None)


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


def _saved(line: SimulatedLine, folder: Path) -> Iterator[tuple[tuple[ImageFile, str], Frame]]:
    """Save each frame as it passes, for the overlays and for other commands."""
    for frame in line:
        path = folder / _name(frame.number)
        write_png(path, frame.image)
        yield (ImageFile(path, path.name), frame.kind), frame.image


def _summary(inspected: Sequence[Inspected]) -> str:
    """Return the confusion table, and how many of each kind of defect were found."""
    counts = Counter((part.defective, part.result.verdict) for part in inspected)
    lines = ["", _row("", "OK", "NG")]
    lines += [
        _row(name, *(str(counts[defective, verdict]) for verdict in ("OK", "NG")))
        for name, defective in (("good", False), ("defective", True))
    ]
    found = Counter(part.kind for part in inspected if part.defective and part.right)
    kinds = Counter(part.kind for part in inspected if part.defective)
    if kinds:
        parts = ", ".join(
            f"{kind} {found[kind]} of {count}" for kind, count in sorted(kinds.items())
        )
        lines.append(f"found: {parts}")
    return "\n".join([*lines, ""])
