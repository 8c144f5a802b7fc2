"""What one frame of a line asks of a CUDA device, counted by CuPy's stand-in, by stage."""

from __future__ import annotations

from collections import Counter

import numpy as np

from support.windows import line_parts
from zeroline.runtime import Tokens
from zeroline.runtime.line import contents
from zeroline.runtime.line.slots import Slot
from zeroline.runtime.stages.threshold import ThresholdRule

PATCHES, CHANNELS, DEGREES, CAPACITY = 4, (32, 32, 24, 24), (1, 3, 5), 9


def counted_frame(cupy, form, pool, monkeypatch, *, tiles=(1, 1)):
    """Counts of a frame by stage, window full and in one pose."""
    patches = PATCHES * tiles[0] * tiles[1]
    line = line_parts(
        (CAPACITY, patches, CHANNELS, DEGREES, form, None, tiles),
        pool,
        xp=cupy,
        neighbours=(1, 2, 3),
    )
    by_stage: dict[str, Counter[str]] = {}
    stages = ["tokens"]

    def timed(stage, owner, name):
        work = getattr(owner, name)

        def worked(*arguments, **options):
            book()
            stages.append(stage)
            try:
                return work(*arguments, **options)
            finally:
                book()
                stages.pop()

        monkeypatch.setattr(owner, name, worked)

    def book():
        by_stage.setdefault(stages[-1], Counter()).update(cupy.counts)
        cupy.counts.clear()

    for stage, owner, name in (
        ("lnamd", line.window, "features_of"),
        ("match", line.window, "match"),
        ("copies", contents, "original_of"),
        ("score", line.contents, "compared"),
        ("admit", line.contents, "admit"),
        ("score", line.judge, "judge"),
    ):
        timed(stage, owner, name)

    rng = np.random.default_rng(0)
    for number in range(CAPACITY + 1):
        layers = tuple(
            cupy.asarray(rng.standard_normal((1, patches, c)).astype(np.float32)) for c in CHANNELS
        )
        cls = rng.standard_normal((1, 8)).astype(np.float32)
        tokens = Tokens(layers, cupy.asarray(cls / np.linalg.norm(cls)), tiles)
        by_stage.clear()
        cupy.counts.clear()
        finite, tokens = tokens.checked()
        if not finite.all():
            raise AssertionError
        slot = Slot(number, None, line.contents.placed(tokens))
        matches = line.contents.matched(slot)
        compared = line.contents.compared(matches, roi=np.ones(patches, bool), copies=False)
        line.contents.admit(compared.place, slot, matches)
        line.judge.judge(slot, compared, ThresholdRule())
        book()
        if len(line.slots) == CAPACITY and not compared.admitted:
            raise AssertionError
    return by_stage
