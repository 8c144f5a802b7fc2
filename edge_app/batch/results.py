"""The results of `score`: one row for each image, as CSV and as maps."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zeroline.edge_app.images import RESULTS_HEADER, ImageFile, flat_names
from zeroline.edge_app.writing import prepare_folder, remove_files, whole_file
from zeroline.runtime.framing.view import View
from zeroline.runtime.grid import Grid
from zeroline.runtime.results import FrameScores, Reason, Verdict

COLUMNS = RESULTS_HEADER.split(",")
#: The file of patch scores and scores, which another threshold needs.
KEPT_SCORES = "scores.npz"


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
    reason : Reason or None
        Why it is not OK.
    copy_of : str or None
        The name of the file whose picture it shows as well.
    view : View or None
        Where in the picture the patches lie; None: the whole picture.
    """

    file: ImageFile
    verdict: Verdict
    scores: FrameScores
    recurring: bool = False
    reason: Reason | None = None
    copy_of: str | None = None
    view: View | None = None

    @property
    def over(self) -> float | None:
        """How far the score lies over the image's own threshold; None where it has none."""
        threshold = self.scores.threshold
        return None if threshold is None else self.scores.score - threshold


def copies_in(results: Sequence[ImageResult]) -> dict[str, list[str]]:
    """Return names of originals that have copies, and names of these."""
    found: dict[str, list[str]] = {}
    for result in results:
        if result.copy_of:
            found.setdefault(result.copy_of, []).append(result.file.name)
    return found


def write_csv(results: Sequence[ImageResult], path: Path, *, unplaced: Sequence[str] = ()) -> None:
    """Write ``scores.csv``, in the order of the results; whole or not at all.

    `unplaced` are names of images without a score, since they show no whole part: they come last.
    """
    with whole_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for r in results:
            values = (r.scores.score, r.scores.raw_score, r.scores.threshold)
            numbers = ("" if value is None else f"{value:.6f}" for value in values)
            recurring = str(r.recurring).lower()
            writer.writerow([r.file.name, *numbers, r.verdict.value, r.copy_of or "", recurring])
        for name in unplaced:
            writer.writerow([name, "", "", "", Verdict.UNCERTAIN.value, "", "false"])


def write_maps(results: Sequence[ImageResult], folder: Path) -> None:
    """Write each image's float32 patch scores as ``<image path with / as __>.npy``.

    Of shape (g, g); with R×C tiles (R, C, g, g).
    """
    prepare_folder(folder)
    names = flat_names((r.file.name for r in results), suffix=".npy")
    for name, result in zip(names, results, strict=True):
        tiles = (1, 1) if result.view is None else result.view.tiles
        side = Grid.of(len(result.scores.patch_scores), tiles).side
        shape = (side, side) if tiles == (1, 1) else (*tiles, side, side)
        with whole_file(folder / name, "wb", sync=False) as file:
            np.save(file, result.scores.patch_scores.reshape(shape), allow_pickle=False)


def read_csv(path: Path) -> list[dict[str, str]] | None:
    """Read a ``scores.csv``; None where there is none, or it is of another program."""
    if not path.is_file():
        return None
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        rows = csv.reader(file)
        try:
            if next(rows, []) != COLUMNS:
                return None
            return [dict(zip(COLUMNS, row, strict=False)) for row in rows if row]
        except csv.Error:  # damaged: no table of ours any more
            return None


def remove_earlier(output: Path, *, scores_too: bool = True) -> None:
    """Remove what an earlier run wrote to `output`, by its own table; nothing else is touched.

    Parameters
    ----------
    output : Path
    scores_too : bool
        Maps and kept scores as well, which do not depend on a threshold.
    """
    rows = read_csv(output / "scores.csv")
    if rows is None:
        return
    names = [row["image"] for row in rows]
    folders = {"overlays": ".png", "maps": ".npy"} if scores_too else {"overlays": ".png"}
    for folder, suffix in folders.items():
        if (output / folder).is_dir():
            remove_files(output / folder, flat_names(names, suffix=suffix))
    remove_files(output, ["report.html", KEPT_SCORES] if scores_too else ["report.html"])
