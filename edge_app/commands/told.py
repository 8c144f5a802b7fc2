"""What `score` and `threshold` tell in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from zeroline.edge_app.batch.embedding import Problem
from zeroline.edge_app.batch.sets import JudgedSets
from zeroline.edge_app.batch.thresholds import ThresholdSummary
from zeroline.runtime.results import Verdict

_MOST_GROUPS = 5  # of copies
_MOST_NAMED = 10  # of images without a picture: where a folder was moved, none has one


def tell_results(output: Path, judged: JudgedSets, summary: ThresholdSummary) -> None:
    """Print the verdicts in numbers, the threshold with its neighbours, and the files."""
    ng = sum(result.verdict is Verdict.NG for result in judged.results)
    click.echo(f"{len(judged.results)} images: {len(judged.results) - ng} OK, {ng} NG")
    for line in (*summary.lines, *summary.table):
        click.echo(line)
    for remark in summary.remarks:
        click.echo(f"note: {remark}", err=True)
    tell_copies(judged)
    for defect in judged.defects:
        click.echo(str(defect))
    for name in ("scores.csv", "report.html"):
        click.echo(f"  {output / name}")


def tell_early(line: str) -> None:
    """Print a line before the long part."""
    click.echo(line, err=True)


def tell_copies(judged: JudgedSets, *, of: str = "") -> None:
    """Name files that show the picture of another file; `of` is put before."""
    copies = judged.copies
    if not copies:
        return
    named = [" = ".join([name, *names]) for name, names in copies.items()]
    more = f"; and {len(named) - _MOST_GROUPS} more" if len(named) > _MOST_GROUPS else ""
    count = sum(map(len, copies.values()))
    files = "1 file shows" if count == 1 else f"{count} files show"
    listed = "; ".join(named[:_MOST_GROUPS])
    click.echo(
        f"note: {of}{files} the picture of another file. A picture counts once: {listed}{more}",
        err=True,
    )


def end_without_pictures(missing: Sequence[Problem]) -> None:
    """Count images whose picture could not be drawn, name some, and end with 1 if there are any."""
    for problem in missing[:_MOST_NAMED]:
        click.echo(f"no picture: {problem.name}: {problem.reason}", err=True)
    if missing:
        click.echo(f"{len(missing)} image(s) without a picture", err=True)
        raise click.exceptions.Exit(1)
