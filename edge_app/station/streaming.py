"""A stream through the rolling inspector, for commands that want a score for every frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from zeroline.edge_app.batch.verdicts import Scores
from zeroline.runtime.arrays import to_host
from zeroline.runtime.frames import Frame
from zeroline.runtime.line.inspector import RollingInspector
from zeroline.runtime.results import Inspection

Item = TypeVar("Item")


def score_stream(
    frames: Iterable[tuple[Item, Frame]], inspector: RollingInspector
) -> Iterator[tuple[Item, Scores]]:
    """Yield each frame's item with its scores, in order.

    Frames that come before there is enough to compare with wait until there is, and are then
    scored together, by the first threshold. A frame counts as having a recurring defect where that
    is known when its turn comes. The inspector must admit copies, or those among the
    first would have no place.

    Raises
    ------
    ScoringError
        If fewer than two frames come.
    """
    waiting: list[tuple[Item, Inspection]] = []
    for item, frame in frames:
        made = inspector.push(frame)
        if made.threshold is None:
            waiting.append((item, made))
            continue
        yield from _late(waiting, inspector)
        waiting = []
        yield item, _scores(made)
    yield from _late(waiting, inspector)


def _late(
    waiting: list[tuple[Item, Inspection]], inspector: RollingInspector
) -> Iterator[tuple[Item, Scores]]:
    """Score the frames that have waited."""
    if not waiting:
        return
    numbers, result = inspector.scores()
    scores, raw = to_host(result.scores), to_host(result.raw_scores)
    maps = to_host(result.patch_scores)
    fill = {"fill": len(numbers), "capacity": inspector.capacity}
    threshold = inspector.rule.value(scores.tolist(), **fill)
    pixel = inspector.rule.value(raw.tolist(), **fill)
    places = {number: place for place, number in enumerate(numbers)}
    for item, made in waiting:
        place = places[made.frame_id]
        yield (
            item,
            Scores(float(scores[place]), float(raw[place]), threshold, pixel, False, maps[place]),
        )


def _scores(made: Inspection) -> Scores:
    assert made.score is not None  # noqa: S101 - there is a threshold
    assert made.raw_score is not None  # noqa: S101
    assert made.threshold is not None  # noqa: S101
    assert made.pixel_threshold is not None  # noqa: S101
    assert made.patch_scores is not None  # noqa: S101
    return Scores(
        made.score,
        made.raw_score,
        made.threshold,
        made.pixel_threshold,
        made.consistent,
        made.patch_scores,
    )
