"""Tokens of drawn parts: of one product or another, with a mark that a tool leaves, or a stain."""

from __future__ import annotations

import numpy as np

from support.small_network import CHANNELS, CLASS_CHANNELS, PATCHES
from zeroline.runtime import Tokens
from zeroline.runtime.tokens import joined

#: Where the tool leaves its mark, and where a part has a stain.
MARK, STAIN = (27, 28, 35), (12, 13)


def part(number, *, product=0, marked=False, stained=False):
    """Tokens of one part; its place, metal and light differ a little from those of others."""
    rng = np.random.default_rng((1, number))
    layers = []
    for layer, channels in enumerate(CHANNELS):
        places = np.random.default_rng((2, layer, product)).standard_normal((PATCHES, channels))
        rows = places + 0.5 * rng.standard_normal((PATCHES, channels))
        if marked:
            mark = 1.5 * np.random.default_rng((3, layer)).standard_normal(channels)
            rows[list(MARK)] = mark + 0.15 * rng.standard_normal((len(MARK), channels))
        if stained:
            rows[list(STAIN)] = 2 * rng.standard_normal((len(STAIN), channels))
        layers.append(rows[None].astype(np.float32))
    look = np.random.default_rng((4, product)).standard_normal(CLASS_CHANNELS)
    token = (look + 0.05 * rng.standard_normal(CLASS_CHANNELS))[None].astype(np.float32)
    return Tokens(tuple(layers), token / np.linalg.norm(token))


def parts(numbers, **options):
    return joined(part(number, **options) for number in numbers)
