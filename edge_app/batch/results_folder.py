"""Everything that a scoring run leaves behind: table, kept scores, maps, overlays, report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from zeroline.edge_app.batch.embedding import Problem
from zeroline.edge_app.batch.kept import KeptScores, write_scores
from zeroline.edge_app.batch.overlays import write_overlays
from zeroline.edge_app.batch.recurring import SetDefect, pictures_of
from zeroline.edge_app.batch.report import write_report
from zeroline.edge_app.batch.results import ImageResult, remove_earlier, write_csv, write_maps
from zeroline.edge_app.batch.thresholds import ThresholdSummary
from zeroline.edge_app.progress import Bars


def write_results(
    output: Path,
    results: Sequence[ImageResult],
    *,
    title: str,
    settings: Mapping[str, str],
    bars: Bars,
    false_alarm_rate: float,
    summary: ThresholdSummary | None = None,
    problems: Sequence[Problem] = (),
    recurring: Sequence[SetDefect] = (),
    keep: KeptScores | None = None,
    again: bool = False,
    maps: bool = False,
    draw: str = "all",
    white_level: int | None = None,
    threads: int | None = None,
) -> list[Problem]:
    """Write ``scores.csv``, ``overlays/*.png``, ``report.html`` and what else is wanted.

    What an earlier run left in the folder is removed first. See `write_overlays` and
    `write_report` for the other options.

    Parameters
    ----------
    output : Path
    results : sequence of ImageResult
    keep : KeptScores, optional
        Write ``scores.npz``.
    again : bool
        New verdicts on scores that the folder holds already: its maps and kept scores stay.
    maps : bool
        Write ``maps/*.npy``.

    Returns
    -------
    list of Problem
        Images that were scored and could not be read for their picture.
    """
    remove_earlier(output, scores_too=not again)
    # what is smallest and matters most is written first
    unplaced = [problem.name for problem in problems if problem.verdict is not None]
    write_csv(results, output / "scores.csv", unplaced=unplaced)
    if keep is not None:
        write_scores(output, keep)
    if maps:
        write_maps(results, output / "maps")
    drawn = write_overlays(
        results,
        output / "overlays",
        draw=draw,
        false_alarm_rate=false_alarm_rate,
        white_level=white_level,
        threads=threads,
        progress=bars("drawing", len(results)),
    )
    write_report(
        output / "report.html",
        results,
        pictures=drawn.pictures,
        summary=summary,
        problems=problems,
        recurring=[(defect, pictures_of(defect, white_level=white_level)) for defect in recurring],
        settings=settings,
        draw=draw,
        title=title,
    )
    return drawn.missing
