"""The results of `score`: one row for each image, as CSV and as maps."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zeroline.edge_app.batch.verdicts import Scores
from zeroline.edge_app.images import RESULTS_HEADER, ImageFile, flat_names
from zeroline.edge_app.writing import prepare_folder, remove_files, whole_file
from zeroline.runtime.grid import grid_side

COLUMNS = RESULTS_HEADER.split(",")


@dataclass(frozen=True)
class ImageResult(Scores):
    """The scores of an image file."""

    file: ImageFile

    @classmethod
    def of(cls, file: ImageFile, scores: Scores) -> ImageResult:
        """Put a file's name to its scores."""
        return cls(**vars(scores), file=file)


def write_csv(results: Sequence[ImageResult], path: Path) -> None:
    """Write ``scores.csv``, in the order of the results; whole or not at all."""
    with whole_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for r in results:
            numbers = (f"{value:.6f}" for value in (r.score, r.raw_score, r.threshold))
            writer.writerow([r.file.name, *numbers, r.verdict, str(r.consistent).lower()])


def write_maps(results: Sequence[ImageResult], folder: Path) -> None:
    """Write each image's g×g float32 patch scores as ``<image path with / as __>.npy``."""
    prepare_folder(folder)
    names = flat_names((r.file.name for r in results), suffix=".npy")
    for name, result in zip(names, results, strict=True):
        side = grid_side(len(result.patch_scores))
        with whole_file(folder / name, "wb", sync=False) as file:
            np.save(file, result.patch_scores.reshape(side, side), allow_pickle=False)


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
