"""``zeroline threshold``: new verdicts on a folder that `score` wrote, without scoring again."""

from __future__ import annotations

from pathlib import Path

import click

from zeroline.edge_app.cli import debug_option
from zeroline.edge_app.settings.options import Rate, ThresholdType, described_rule, draw_option


@click.command()
@click.argument("results", type=click.Path(path_type=Path))
@click.option("--threshold", "fixed", type=ThresholdType(auto=False),
              help="An image with a higher score is NG. A distance, 0 to 2.")  # fmt: skip
@click.option("--false-alarm-rate", "rate", type=Rate(),
              help="Share of good images that may be called NG, as a mean.")  # fmt: skip
@draw_option(None)
@debug_option
def threshold(results: Path, fixed: float | None, rate: float | None, draw: str | None) -> None:
    """Judge scored images anew, by another threshold. Nothing is scored again.

    RESULTS is the folder that "zeroline score" wrote. Its scores.csv, overlays and report.html
    are replaced. Give one of --threshold and --false-alarm-rate.
    """
    if (fixed is None) == (rate is None):
        raise click.UsageError("one of --threshold and --false-alarm-rate is expected")

    from zeroline.edge_app.batch.kept import read_scores
    from zeroline.edge_app.batch.results_folder import write_results
    from zeroline.edge_app.batch.sets import judge_sets
    from zeroline.edge_app.batch.thresholds import threshold_summary
    from zeroline.edge_app.commands.told import end_without_pictures, tell_results
    from zeroline.edge_app.progress import progress_bars
    from zeroline.edge_app.writing import prepare_folder
    from zeroline.runtime.stages.threshold import ThresholdRule

    kept = read_scores(results)
    prepare_folder(results)
    rule = ThresholdRule(fixed, kept.false_alarm_rate if rate is None else rate)
    judged = judge_sets(kept.sets, rule)
    summary = threshold_summary(judged)
    with progress_bars() as bars:
        missing = write_results(
            results,
            judged.results,
            title=kept.title,
            settings={**kept.settings, "Threshold": described_rule(rule)},
            bars=bars,
            false_alarm_rate=rule.false_alarm_rate,
            summary=summary,
            problems=kept.problems,
            recurring=judged.defects,
            again=True,
            draw=draw or kept.draw,
            white_level=kept.white_level,
        )
    tell_results(results, judged, summary)
    end_without_pictures(missing)
