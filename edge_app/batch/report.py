"""The report of `score`: one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import numpy as np

from zeroline.edge_app.batch.embedding import Problem
from zeroline.edge_app.batch.recurring import SetDefect
from zeroline.edge_app.batch.results import ImageResult, copies_in
from zeroline.edge_app.batch.thresholds import ThresholdSummary
from zeroline.edge_app.writing import whole_file
from zeroline.runtime.errors import MissingExtraError
from zeroline.runtime.results import Reason, Verdict

#: Pictures in the report; the others are in the overlays folder.
MOST_PICTURES = 100
_BINS = 40
_WIDTH, _HEIGHT = 720, 160
_MOST_COUNTS = 5  # numbers over 0 on the axis of images


@dataclass(frozen=True)
class Bar:
    """One bar of the histogram, in pixels of the drawing."""

    x: float
    width: float
    ok_height: float
    ng_height: float
    title: str


@dataclass(frozen=True)
class Histogram:
    """Scores as bars, OK below NG, and what stands at the axes; in pixels of the drawing.

    Attributes
    ----------
    bars : list of Bar
    ticks, counts : list of (float, str)
        Places and numbers of the score axis, and heights and numbers of the axis of images.
    thresholds : list of float
        Places of the lowest and of the highest threshold; one where there is one.
    threshold : float
        The lowest threshold; 0 where there is none.
    """

    bars: list[Bar]
    ticks: list[tuple[float, str]]
    counts: list[tuple[float, str]]
    thresholds: list[float]
    threshold: float
    width: int = _WIDTH
    height: int = _HEIGHT


def histogram(results: Sequence[ImageResult]) -> Histogram:
    """Lay out the histogram of the scores."""
    scores = np.array([r.scores.score for r in results])
    thresholds = sorted({t for r in results if (t := r.scores.threshold) is not None})
    low, high = min([scores.min(), *thresholds]), max([scores.max(), *thresholds])
    pad = 0.02 * (high - low) or 0.01
    edges = np.linspace(low - pad, high + pad, _BINS + 1)
    ng = np.array([r.verdict is Verdict.NG for r in results])
    ok_counts, ng_counts = (np.histogram(scores[mask], edges)[0] for mask in (~ng, ng))
    tallest = max(int((ok_counts + ng_counts).max()), 1)

    def x(value: float) -> float:
        return float((value - edges[0]) / (edges[-1] - edges[0]) * _WIDTH)

    bars = [
        Bar(
            x(edges[b]),
            _WIDTH / _BINS - 1,
            ok_counts[b] / tallest * _HEIGHT,
            ng_counts[b] / tallest * _HEIGHT,
            f"{edges[b]:.3f} to {edges[b + 1]:.3f}: {ok_counts[b]} OK, {ng_counts[b]} NG",
        )
        for b in range(_BINS)
    ]
    step = 10 ** math.floor(math.log10((edges[-1] - edges[0]) / 2))
    first = math.ceil(edges[0] / step)
    ticks = [(x(n * step), f"{n * step:.3g}") for n in range(first, int(edges[-1] / step) + 1)]
    if len(ticks) > 12:
        ticks = ticks[:: math.ceil(len(ticks) / 12)]
    every = _count_step(tallest)
    counts = [(n / tallest * _HEIGHT, str(n)) for n in range(0, tallest + 1, every)]
    ends = sorted({*thresholds[:1], *thresholds[-1:]})  # each random subset has its own
    return Histogram(bars, ticks, counts, [x(t) for t in ends], ends[0] if ends else 0.0)


def _count_step(tallest: int) -> int:
    """Return how many images lie between two numbers of the axis: 1, 2 or 5 times a power of 10."""
    power = 1
    while True:
        for step in (power, 2 * power, 5 * power):
            if tallest <= _MOST_COUNTS * step:
                return step
        power *= 10


def worst_first(results: Sequence[ImageResult]) -> list[ImageResult]:
    """Sort by what a person looks at first.

    1. NG by score, by how far the score lies over the image's own threshold.
    2. NG for a recurring defect, the highest score first: they are alike, and would push the
       others off the pictures. On a line they have no threshold.
    3. All that are not NG and have a threshold, the nearest to it first.
    4. Without a threshold, the highest score first.
    """

    def place(result: ImageResult) -> tuple[int, float]:
        score, over = result.scores.score, result.over
        if result.verdict is Verdict.NG and result.reason is Reason.RECURRING:
            return 1, -score
        if over is None:
            return 3, -score
        return (0 if result.verdict is Verdict.NG else 2), -over

    return sorted(results, key=place)


def write_report(
    path: Path,
    results: Sequence[ImageResult],
    *,
    pictures: Mapping[str, bytes],
    summary: ThresholdSummary | None = None,
    problems: Sequence[Problem],
    recurring: Sequence[tuple[SetDefect, Mapping[str, bytes]]] = (),
    settings: Mapping[str, str],
    draw: str,
    title: str,
) -> None:
    """Write the report, whole or not at all.

    Parameters
    ----------
    path : Path
    results : sequence of ImageResult
        At least one.
    pictures : mapping
        JPEG files of overlays by the name of the image, for those that are to be shown.
    summary : ThresholdSummary, optional
        For sets that have one threshold each; None for a line, where each part has its own.
    problems : sequence of Problem
        Images that were left out.
    recurring : sequence of (SetDefect, mapping)
        Each with JPEG files of some of its images, by name.
    settings : mapping
        What a reader needs to repeat the run.
    draw : {"all", "ng", "none"}
        Which pictures the folder of overlays holds.
    title : str
    """
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
    except ModuleNotFoundError as error:
        raise MissingExtraError("Jinja2", extra="app", purpose="to write the report") from error
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    ordered = worst_first(results)
    text = environment.get_template("report.html.j2").render(
        title=title,
        written=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        version=version("zeroline"),
        shown=[r for r in ordered if r.file.name in pictures],
        rest=[r for r in ordered if r.file.name not in pictures],
        pictures=_as_addresses(pictures),
        recurring=[(defect, _as_addresses(shown)) for defect, shown in recurring],
        results=results,
        uncertain_count=sum(r.verdict is Verdict.UNCERTAIN for r in results),
        ng_count=sum(r.verdict is Verdict.NG for r in results),
        problems=problems,
        copies=copies_in(results),
        settings=settings,
        draw=draw,
        summary=summary,
        histogram=histogram(results),
    )
    with whole_file(path) as file:
        file.write(text)


def _as_addresses(pictures: Mapping[str, bytes]) -> dict[str, str]:
    """Return JPEG files as addresses that hold them."""
    return {
        name: "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
        for name, jpeg in pictures.items()
    }
