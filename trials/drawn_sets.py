"""Drawn sets without a recurring defect: in how many is one reported.

200 sets of boards, connectors and prints, of 30 to 80 pieces, 0 to 8 pixels off. In every second
set 6 % of the pieces have a spot of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from trials.drawings import KINDS, SIDE, drawn_set
from trials.resumed import Rows
from zeroline.runtime import load_bundle
from zeroline.runtime.batch import embed_images, score_tokens

SEEDS = tuple(range(1000, 1010))
SETS = 200
PIECES = (30, 40, 60, 80)


def run(report: Callable[[str], None], *, seeds: Iterable[int] = SEEDS, rows: Rows) -> None:
    """Search all sets that are not in `rows` yet, and report those with a community.

    Parameters
    ----------
    report : callable
        Takes lines.
    seeds : iterable of int
        200 sets are shared out among them.
    rows : Rows
        Of an earlier run that was broken off.
    """
    seeds = list(seeds)
    each = SETS // len(seeds)
    found = []
    with load_bundle("tiny", threads=1) as bundle:
        for seed in seeds:
            for number in range(each):
                key = {"seed": seed, "set": number}
                row = rows.once(key, lambda s=seed, n=number: searched(bundle, s, n))
                found += [row] if row["communities"] else []
    report(f"{len(found)} of {each * len(seeds)} sets with a community")
    for row in found:
        report(str(row))


def searched(bundle: Any, seed: int, number: int) -> dict[str, Any]:
    """Draw a set and search it."""
    kind, off = list(KINDS)[number % len(KINDS)], number % 9
    pieces, struck = PIECES[number % 7 % len(PIECES)], 0.06 * (number % 2)
    frames = drawn_set(kind, seed=100 * seed + number, pieces=pieces, off=off, struck=struck)
    result = score_tokens(
        embed_images(frames, bundle), size=SIDE, rscin=(), codegraph=True, matching="fast",
        threads=1,
    )  # fmt: skip
    sizes = [len(community.members) for community in result.communities]
    return {"kind": kind, "off": off, "pieces": pieces, "struck": struck, "communities": sizes}
