"""A stream through the batch scorer: every few frames, the newest among the latest ones.

Each round costs a whole set. It serves where a few frames at a time will do, as in the demo.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from zeroline.edge_app.options import ScoreOptions
from zeroline.edge_app.verdicts import Scores, scores_of
from zeroline.runtime.bundle import Bundle
from zeroline.runtime.frames import Frame
from zeroline.runtime.scoring import score_tokens
from zeroline.runtime.tokens import Tokens, joined

Item = TypeVar("Item")


@dataclass(frozen=True)
class Rounds:
    """When scores are made, in frames.

    Attributes
    ----------
    first : int
        Frames before the first scores; with few, each rests on few comparisons.
    every : int
        Frames from one round to the next.
    window : int
        Frames that a round compares; the oldest are forgotten.
    """

    first: int = 40
    every: int = 20
    window: int = 80

    def __post_init__(self) -> None:
        if not 2 <= self.first <= self.window or not 1 <= self.every <= self.window:
            raise ValueError(f"{self}: 2 ≤ first ≤ window and 1 ≤ every ≤ window are expected")


def score_stream(
    frames: Iterable[tuple[Item, Frame]],
    bundle: Bundle,
    options: ScoreOptions,
    rounds: Rounds,
) -> Iterator[tuple[Item, Scores]]:
    """Yield each frame's item with its scores, in order, a round at a time.

    The last frames join the latest ones whatever their number; a stream of fewer than two
    frames is an error of `score_tokens`.
    """
    scoring = options.scoring(bundle)
    latest: deque[Tokens] = deque(maxlen=rounds.window)
    waiting: list[Item] = []

    def finish() -> Iterator[tuple[Item, Scores]]:
        outcome = score_tokens(joined(latest), **scoring)
        yield from zip(waiting, scores_of(outcome, options)[-len(waiting) :], strict=True)
        waiting.clear()

    for seen, (item, frame) in enumerate(frames, start=1):
        latest.append(bundle.embed(bundle.prepare(frame)[None]))
        waiting.append(item)
        if seen >= rounds.first and (seen - rounds.first) % rounds.every == 0:
            yield from finish()
    if waiting:
        yield from finish()
