"""A window that keeps account of its slots, for tests of the distances alone."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

from zeroline.runtime.line.contents import Contents
from zeroline.runtime.line.scorer import WindowScorer
from zeroline.runtime.line.shape import WindowShape
from zeroline.runtime.line.slots import Slots
from zeroline.runtime.line.verdicts import LineJudge
from zeroline.runtime.line.window import Window
from zeroline.runtime.matching.distances import distances_by
from zeroline.runtime.matching.forms import FORMS


class KeptWindow(Window):
    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        self.filled = np.zeros(self.shape.capacity, bool)

    def match(self, features, *, ignore=None, apart=None):  # type: ignore[override]
        reachable = self.filled if apart is None else self.filled & ~apart
        return super().match(features, reachable=reachable, ignore=ignore)

    def admit(self, slot, matches):
        super().admit(slot, matches)
        self.filled[slot] = True

    def evict(self, slot):
        super().evict(slot)
        self.filled[slot] = False


def kept_window(sizes, pool, **options):
    """Sizes: those of `WindowShape`, in its order."""
    named = {k: options.pop(k) for k in ("counted", "tiles") if k in options}
    return KeptWindow(WindowShape(*sizes, **named), pool, **options)


def matched_by(form, features, *, ignore=None, groups=None):
    """Match distances by a form of a given name."""
    return distances_by(
        FORMS[form], features, ignore=ignore, groups=groups, threads=1, progress=None
    )


def line_parts(sizes, pool, *, xp=np, neighbours=(1, 2, 3), **options):
    """The parts of a line that score a frame, without a network."""
    window = Window(WindowShape(*sizes), pool, xp=xp, **options)
    slots = Slots(window.shape.capacity)
    scorer = WindowScorer(window, slots, size=32, neighbours=neighbours)
    held = Contents(window, slots, None, xp=xp)
    judge = LineJudge(scorer, slots, held, None, least=4, settle=None, band=0.0)
    return SimpleNamespace(window=window, slots=slots, contents=held, judge=judge)
