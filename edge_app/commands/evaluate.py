"""``zeroline evaluate``: how well defects are found on labelled folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zeroline.edge_app.cli import debug_option
from zeroline.edge_app.settings.framing import FramingOptions, framing_options, take_framing
from zeroline.edge_app.settings.options import (
    ScoreOptions,
    draw_option,
    scoring_options,
    take_options,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from zeroline.edge_app.batch.datasets import Dataset
    from zeroline.edge_app.batch.embedding import Problem
    from zeroline.edge_app.progress import Bars
    from zeroline.runtime.network.model import Bundle

_COLUMNS = {
    "image_auroc": "image\nAUROC",
    "image_f1max": "image\nF1max",
    "image_ap": "image\nAP",
    "pixel_auroc": "pixel\nAUROC",
    "pixel_f1max": "pixel\nF1max",
    "pixel_ap": "pixel\nAP",
    "aupro": "AUPRO",
}

#: A mask that covers more of an image is told: it may be inverted.
MOST_DEFECTIVE = 0.9

Figures = dict[str, Any]


@click.command()
@click.argument("datasets", nargs=-1, required=True, type=click.Path(path_type=Path))
@scoring_options
@framing_options()
@draw_option("none")
@debug_option
def evaluate(datasets: tuple[Path, ...], output: Path, draw: str, **values: Any) -> None:
    """Measure on labelled folders. The layout is that of MVTec AD, VisA or BTAD.

    Prints a table. Writes metrics.json, and verdicts.json with the verdicts at the threshold.
    Writes recall and false alarms against the threshold to thresholds/<data set>.csv and .png.
    With --draw, writes overlays/<data set>/*.png too.
    """
    from zeroline.edge_app.batch.datasets import find_datasets
    from zeroline.edge_app.commands.told import end_without_pictures
    from zeroline.edge_app.progress import progress_bars
    from zeroline.edge_app.writing import prepare_folder, whole_file

    options, framed = take_options(values), take_framing(values)
    opened = find_datasets(datasets)
    prepare_folder(output)
    metrics: dict[str, Figures] = {}
    verdicts: dict[str, Figures] = {}
    problems: list[Problem] = []
    missing: list[Problem] = []
    with options.open_bundle() as bundle, progress_bars() as bars:
        for dataset in opened:
            figures, at_threshold, left_out, undrawn = _evaluate_one(
                dataset, bundle, options, framed, bars, output=output, draw=draw
            )
            metrics[dataset.name], verdicts[dataset.name] = figures, at_threshold
            problems += left_out
            missing += undrawn
            for name, content in (("metrics.json", metrics), ("verdicts.json", verdicts)):
                with whole_file(output / name) as file:
                    json.dump(content, file, indent=1)
                    file.write("\n")
    _print_table(metrics, verdicts)
    for dataset in opened:
        unknown = _unknown(dataset, metrics[dataset.name], verdicts[dataset.name])
        for remark in (*dataset.remarks, *unknown):
            click.echo(f"warning: {dataset.name}: {remark}", err=True)
    for problem in problems:
        click.echo(f"left out: {problem.name}: {problem.reason}", err=True)
    if problems:
        click.echo(f"{len(problems)} image(s) left out", err=True)
    end_without_pictures(missing)
    if problems:
        raise click.exceptions.Exit(1)


def _evaluate_one(
    dataset: Dataset,
    bundle: Bundle,
    options: ScoreOptions,
    framed: FramingOptions,
    bars: Bars,
    *,
    output: Path,
    draw: str,
) -> tuple[Figures, Figures, list[Problem], list[Problem]]:
    """Score one data set.

    Returns its metrics, its verdicts in figures, what was left out, and what has no picture.
    """
    import numpy as np

    from zeroline.edge_app.batch.embedding import Problem
    from zeroline.edge_app.batch.framed import opened_framing
    from zeroline.edge_app.batch.metrics import set_metrics
    from zeroline.edge_app.batch.overlays import write_overlays
    from zeroline.edge_app.batch.recall import (
        recall_table,
        write_recall_picture,
        write_recall_table,
    )
    from zeroline.edge_app.batch.scoring import score_files
    from zeroline.edge_app.batch.sets import judge_sets
    from zeroline.edge_app.commands.told import tell_copies, tell_early
    from zeroline.edge_app.writing import prepare_folder
    from zeroline.runtime.framing.tiles import joined_map
    from zeroline.runtime.results import Verdict

    samples = {sample.file.name: sample for sample in dataset.samples}

    def labelled_bars(text: str, total: int) -> Any:
        return bars(f"{dataset.name}: {text}", total)

    # before the long part: a mask that cannot be read ends the run
    masks_by_name = {}
    if dataset.has_masks:
        masks_by_name = {n: s.mask(size=bundle.size) for n, s in samples.items()}
        dataset.remarks.extend(_odd_masks(dataset, masks_by_name))
    files = [s.file for s in dataset.samples]
    framing = opened_framing(framed, files, bundle.manifest)
    scored = score_files(
        files, bundle, options, labelled_bars, framing=framing, thumbnails=False, tell=tell_early
    )
    judged = judge_sets(scored.sets, options.rule)
    tell_copies(judged, of=f"{dataset.name}: ")
    results = judged.results
    used = [samples[r.file.name] for r in results]
    defective = np.array([s.defective for s in used])
    masks = maps = None
    if dataset.has_masks:
        masks = [masks_by_name[s.file.name] for s in used]
        if not framing.is_plain:
            masks = [
                s.mask(size=bundle.size, view=r.view) for s, r in zip(used, results, strict=True)
            ]
        maps = np.stack(
            [
                joined_map(r.scores.patch_scores, tiles=framing.tiles, side=bundle.size)
                for r in results
            ]
        )
    unplaced = [samples[p.name].defective for p in scored.problems if p.verdict is not None]
    figures = set_metrics(
        np.append(defective, np.array(unplaced, bool)),
        *(
            np.append(some, np.full(len(unplaced), some.max() + 1))  # above all others
            for some in (
                np.array([r.scores.score for r in results]),
                np.array([r.scores.raw_score for r in results]),
            )
        ),
        masks=masks,
        maps=maps,
    )
    ng = np.array([r.verdict is Verdict.NG for r in results])
    at_threshold = {
        "good": int((~defective).sum()),
        "false_alarms": int((ng & ~defective).sum()),
        "defective": int(defective.sum()),
        "found": int((ng & defective).sum()),
        "copies": sum(map(len, judged.copies.values())),
        "thresholds": sorted(set(judged.thresholds)),
        "no_whole_part": {"good": unplaced.count(False), "defective": unplaced.count(True)},
    }
    table = recall_table(judged, [s.kind for s in used], [not s.defective for s in used])
    folder = output / "thresholds"
    prepare_folder(folder)
    write_recall_table(table, folder / f"{dataset.name}.csv")
    write_recall_picture(table, folder / f"{dataset.name}.png", title=dataset.name)
    missing: list[Problem] = []
    if draw != "none":
        drawn = write_overlays(
            results,
            output / "overlays" / dataset.name,
            draw=draw,
            false_alarm_rate=options.false_alarm_rate,
            white_level=options.white_level,
            threads=options.threads,
            progress=labelled_bars("drawing", len(results)),
        )
        missing = drawn.missing
    left_out, undrawn = (
        [Problem(f"{dataset.name}/{problem.name}", problem.reason) for problem in some]
        for some in (scored.problems, missing)
    )
    return figures, at_threshold, left_out, undrawn


def _odd_masks(dataset: Dataset, masks: Mapping[str, NDArray[np.bool_]]) -> list[str]:
    """Name the masks of defective images that mark nothing, or nearly all."""
    shares = {s.file.name: masks[s.file.name].mean() for s in dataset.samples if s.defective}
    empty = [name for name, share in shares.items() if share == 0]
    full = [name for name, share in shares.items() if share > MOST_DEFECTIVE]
    remarks = []
    if empty:
        remarks.append(f"{len(empty)} mask(s) of defective images are empty, such as of {empty[0]}")
    if full:
        remarks.append(
            f"{len(full)} mask(s) cover over {MOST_DEFECTIVE:.0%} of the image, such as of "
            f"{full[0]}: white is the defect, black the background"
        )
    return remarks


def _unknown(dataset: Dataset, figures: Figures, counts: Figures) -> list[str]:
    """Say why figures have no value, where the data set's own remarks do not."""
    if not counts["good"] or not counts["defective"]:
        return [
            f'"-": {counts["good"]} good and {counts["defective"]} defective images were scored, '
            "metrics compare both kinds"
        ]
    if figures["pixel_auroc"] is not None and figures["aupro"] is None:
        return ['"-" for AUPRO: too few normal pixels, or hardly any threshold under 30 % of them']
    if figures["pixel_auroc"] is None and dataset.has_masks:
        return ['"-" for pixels: the masks are all empty, or all full']
    return []


def _print_table(metrics: dict[str, Figures], verdicts: dict[str, Figures]) -> None:
    """Print the figures, one line a data set, and their mean."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("data set", overflow="fold", min_width=20)
    for heading in (*_COLUMNS.values(), "false\nalarms", "found"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, figures in metrics.items():
        counts = verdicts[name]
        table.add_row(
            name,
            *(_three_digits(figures[key]) for key in _COLUMNS),
            f"{counts['false_alarms']}/{counts['good']}",
            f"{counts['found']}/{counts['defective']}",
        )
    if len(metrics) > 1:
        known = {key: [f[key] for f in metrics.values() if f[key] is not None] for key in _COLUMNS}
        means = [sum(v) / len(v) if v else None for v in known.values()]
        table.add_section()
        table.add_row("mean", *map(_three_digits, means), "", "")
    console = Console()
    if not console.is_terminal:
        console.width = 200  # a file has no edge to fold names at
    console.print(table)


def _three_digits(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
