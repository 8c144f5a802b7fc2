"""A window that keeps account of its slots, for tests of the distances alone."""

from __future__ import annotations

import numpy as np

from zeroline.runtime.line.shape import WindowShape
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
