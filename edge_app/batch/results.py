"""The results of `score`: one row for each image, as CSV and as maps."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zeroline.edge_app.images import RESULTS_HEADER, ImageFile, flat_names
from zeroline.edge_app.writing import prepare_folder, remove_files, whole_file
from zeroline.runtime.arrays import to_host
from zeroline.runtime.grid import grid_side
from zeroline.runtime.results import FrameScores, ScoreResult, Verdict, judge
from zeroline.runtime.stages.threshold import ThresholdRule

COLUMNS = RESULTS_HEADER.split(",")


@dataclass(frozen=True)
class ImageResult:
    """The scores and the verdict of an image file; distance units (docs/algorithms.md).

    Attributes
    ----------
    file : ImageFile
        Path, and name in results.
    verdict : Verdict
        What is said of it.
    scores : FrameScores
        After and before RsCIN, what they are held against, and the map.
    recurring : bool
        Whether it has a recurring defect.
    """

    file: ImageFile
    verdict: Verdict
    scores: FrameScores
    recurring: bool = False


def image_results(
    outcome: ScoreResult, files: Sequence[ImageFile], rule: ThresholdRule
) -> list[ImageResult]:
    """Judge a set's scores, in its order (`zeroline.runtime.results.judge`)."""
    scores, raw_scores = to_host(outcome.scores), to_host(outcome.raw_scores)
    maps, recurring = to_host(outcome.patch_scores), to_host(outcome.recurring)
    judgement = judge(scores, raw_scores, rule, recurring=recurring)
    results = []
    for number, file in enumerate(files):
        score, marked = float(scores[number]), bool(recurring[number])
        verdict, _ = judgement.verdict(score, recurring=marked)
        thresholds = judgement.threshold, judgement.pixel_threshold
        frame = FrameScores(score, float(raw_scores[number]), *thresholds, maps[number])
        results.append(ImageResult(file, verdict, frame, marked))
    return results


def write_csv(results: Sequence[ImageResult], path: Path) -> None:
    """Write ``scores.csv``, in the order of the results; whole or not at all."""
    with whole_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for r in results:
            values = (r.scores.score, r.scores.raw_score, r.scores.threshold)
            numbers = ("" if value is None else f"{value:.6f}" for value in values)
            writer.writerow([r.file.name, *numbers, r.verdict.value, str(r.recurring).lower()])


def write_maps(results: Sequence[ImageResult], folder: Path) -> None:
    """Write each image's g×g float32 patch scores as ``<image path with / as __>.npy``."""
    prepare_folder(folder)
    names = flat_names((r.file.name for r in results), suffix=".npy")
    for name, result in zip(names, results, strict=True):
        side = grid_side(len(result.scores.patch_scores))
        with whole_file(folder / name, "wb", sync=False) as file:
            np.save(file, result.scores.patch_scores.reshape(side, side), allow_pickle=False)


def remove_earlier(output: Path) -> None:
    """Remove what an earlier run wrote to `output`, by its own table; nothing else is touched."""
    table = output / "scores.csv"
    if not table.is_file():
        return
    with table.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = csv.reader(file)
        if next(rows, []) != COLUMNS:
            return
        names = [row[0] for row in rows if row]
    for kind, suffix in (("overlays", ".png"), ("maps", ".npy")):
        if (output / kind).is_dir():
            remove_files(output / kind, flat_names(names, suffix=suffix))
    remove_files(output, ["report.html"])
