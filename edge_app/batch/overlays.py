"""Draw and write the overlays of a run, and keep the worst for the report."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from zeroline.edge_app.batch.embedding import Problem
from zeroline.edge_app.batch.report import MOST_PICTURES, worst_first
from zeroline.edge_app.batch.results import ImageResult
from zeroline.edge_app.draw.overlay import HeatScale, draw_overlay, is_drawn
from zeroline.edge_app.errors import ImageError
from zeroline.edge_app.images import flat_names, read_image
from zeroline.edge_app.opencv import opencv
from zeroline.edge_app.writing import prepare_folder, write_png
from zeroline.runtime.results import Verdict
from zeroline.runtime.workers import run_in_threads

_REPORT_SIDE = 480
_JPEG_QUALITY = 85


@dataclass(frozen=True)
class Drawn:
    """What was drawn for the report, and which images were no longer there to be drawn.

    Attributes
    ----------
    pictures : dict
        JPEG files by the name of the image.
    missing : list of Problem
        In the order of the results.
    """

    pictures: dict[str, bytes] = field(default_factory=dict)
    missing: list[Problem] = field(default_factory=list)


def write_overlays(
    results: Sequence[ImageResult],
    folder: Path,
    *,
    draw: str,
    false_alarm_rate: float,
    white_level: int | None,
    threads: int | None,
    progress: Callable[[int], None],
) -> Drawn:
    """Write ``overlays/*.png`` and return JPEG files of the worst for the report.

    Parameters
    ----------
    results : sequence of ImageResult
    folder : Path
        Made if need be.
    draw : {"all", "ng", "none"}
        Which overlays are written; the report has its pictures all the same.
    false_alarm_rate : float
        Of the one heat scale.
    white_level, threads
        See `read_image` and `run_in_threads`.
    progress : callable
        Called with 1 after each image.

    Returns
    -------
    Drawn
    """
    cv2 = opencv("to draw overlays")
    prepare_folder(folder)
    scale = HeatScale.of(
        np.array([r.scores.raw_score for r in results]), false_alarm_rate=false_alarm_rate
    )
    shown = {r.file.name for r in worst_first(results)[:MOST_PICTURES]}
    pictures: dict[str, bytes] = {}
    missing: dict[str, Problem] = {}

    def draw_one(item: tuple[str, ImageResult]) -> None:
        name, result = item
        write = is_drawn(draw, result.verdict)
        if write or result.file.name in shown:
            try:
                frame = read_image(result.file.path, white_level=white_level)
            except ImageError as error:  # it could be read when it was scored
                missing[result.file.name] = Problem(result.file.name, str(error))
                progress(1)
                return
            picture = draw_overlay(
                frame,
                result.scores.patch_scores,
                scale=scale,
                contour_at=_contour_level(result, scale),
                verdict=result.verdict.value,
                score=result.scores.score,
                threshold=result.scores.threshold,
                recurring=result.recurring,
                view=result.view,
            )
            if write:
                write_png(folder / name, picture)
            if result.file.name in shown:
                factor = min(1.0, _REPORT_SIDE / max(picture.shape[:2]))
                small = cv2.resize(
                    picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA
                )
                quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
                pictures[result.file.name] = cv2.imencode(".jpg", small, quality)[1].tobytes()
        progress(1)

    names = flat_names((r.file.name for r in results), suffix=".png")
    run_in_threads(draw_one, list(zip(names, results, strict=True)), threads=threads)
    order = [r.file.name for r in results if r.file.name in missing]
    return Drawn(pictures, [missing[name] for name in order])


def _contour_level(result: ImageResult, scale: HeatScale) -> float | None:
    """Return the patch score to enclose: an NG picture always shows where."""
    level = result.scores.pixel_threshold
    if result.verdict is Verdict.NG:  # RsCIN may call NG what lies under the pixel threshold
        highest = (scale.low + result.scores.raw_score) / 2
        return highest if level is None else min(level, highest)
    return level
