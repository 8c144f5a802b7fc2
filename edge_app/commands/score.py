"""``zeroline score``: a folder of images in; scores, overlays and a report out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zeroline.edge_app.cli import debug_option
from zeroline.edge_app.settings.framing import framing_options, take_framing
from zeroline.edge_app.settings.options import draw_option, scoring_options, take_options

if TYPE_CHECKING:
    from zeroline.edge_app.batch.scoring import ScoredFiles
    from zeroline.edge_app.images import FoundImages

#: With fewer images than this each score rests on one or two comparisons.
FEW_IMAGES = 5


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@scoring_options
@framing_options()
@click.option("--maps", is_flag=True, help="Write patch scores too, as maps/*.npy.")
@draw_option("all")
@debug_option
def score(paths: tuple[Path, ...], output: Path, maps: bool, draw: str, **values: Any) -> None:
    """Score images and folders as one set. Needs no labels.

    Writes scores.csv, overlays/*.png and report.html, and scores.npz for "zeroline threshold".
    An image that cannot be used is named and left out. The exit code is then 1.
    """
    from zeroline.edge_app.batch.framed import opened_framing
    from zeroline.edge_app.batch.kept import KeptScores
    from zeroline.edge_app.batch.results_folder import write_results
    from zeroline.edge_app.batch.scoring import score_files
    from zeroline.edge_app.batch.sets import judge_sets
    from zeroline.edge_app.batch.thresholds import threshold_summary
    from zeroline.edge_app.commands.told import end_without_pictures, tell_early, tell_results
    from zeroline.edge_app.images import find_images
    from zeroline.edge_app.progress import progress_bars
    from zeroline.edge_app.writing import prepare_folder

    options, framed = take_options(values), take_framing(values)
    images = find_images(paths, output=output)
    with options.open_bundle() as bundle, progress_bars() as bars:
        framing = opened_framing(framed, images.files, bundle.manifest)
        prepare_folder(output)
        scored = score_files(images.files, bundle, options, bars, framing=framing, tell=tell_early)
        judged = judge_sets(scored.sets, options.rule)
        summary = threshold_summary(judged)
        _tell_before_writing(images, scored)
        kept = KeptScores(
            judged.sets,
            tuple(scored.problems),
            title=", ".join(path.resolve().name for path in paths),
            settings=options.described(
                bundle, form=scored.matching, framing=framing, leveled=scored.leveled
            ),
            draw=draw,
            false_alarm_rate=options.false_alarm_rate,
            white_level=options.white_level,
        )
        missing = write_results(
            output,
            judged.results,
            title=kept.title,
            settings=kept.settings,
            bars=bars,
            false_alarm_rate=options.false_alarm_rate,
            summary=summary,
            problems=scored.problems,
            recurring=judged.defects,
            keep=kept,
            maps=maps,
            draw=draw,
            white_level=options.white_level,
            threads=options.threads,
        )
    tell_results(output, judged, summary)
    if scored.problems:
        click.echo(f"{len(scored.problems)} image(s) left out", err=True)
    end_without_pictures(missing)
    if scored.problems:
        raise click.exceptions.Exit(1)


def _tell_before_writing(images: FoundImages, scored: ScoredFiles) -> None:
    """Name what was not scored, while nothing can go wrong with the results yet."""
    if images.note:
        click.echo(f"note: {images.note}", err=True)
    if images.others:
        kinds = ", ".join(
            f"{count} {suffix or 'without ending'}" for suffix, count in images.others.items()
        )
        click.echo(f"note: files that do not end like images were not read: {kinds}", err=True)
    for problem in scored.problems:
        click.echo(f"left out: {problem.name}: {problem.reason}", err=True)
    if scored.smallest_set < FEW_IMAGES:
        click.echo(
            f"warning: {scored.smallest_set} images in a set: with so few, scores and threshold "
            f"are not reliable. Use {FEW_IMAGES} images or more.",
            err=True,
        )
