"""How large a defect must be: recall against its size in patches.

Plates that lie anywhere within 5 % and 10 degrees, found by their pattern. A third of them have a
dent or a stain of about one size. Its size is the side of a square of the area of its mask, against
the side of a patch. Recall is that of the automatic threshold at a stated rate of 1 %.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import numpy as np

from trials.framed import FramedSet, frames_of, good_picture
from trials.resumed import Rows
from zeroline.runtime import Bundle, auto_threshold, load_bundle
from zeroline.runtime.framing.framing import Framing

SEEDS = tuple(range(1000, 1003))
#: Largest defects, as a share of the part's area.
AREAS = (0.0006, 0.001, 0.002, 0.004, 0.008)
STRENGTHS = (0.5, 1.0)
PARTS, SIDE = 60, 480
#: Edges of the classes of the table, in patches.
CLASSES = (0.0, 0.2, 0.35, 0.5, 0.75, 1.0, 2.0)


def run(report: Callable[[str], None], *, seeds: Iterable[int] = SEEDS, rows: Rows) -> None:
    """Measure all sets that are not in `rows` yet, and report the table; see `false_alarms.run`."""
    seeds = list(seeds)
    with load_bundle("tiny", threads=1) as bundle:
        for seed in seeds:
            for strength in STRENGTHS:
                for area in AREAS:
                    key = {"seed": seed, "strength": strength, "area": area}
                    rows.once(key, lambda k=key, b=bundle: measured(b, **k))
    for text in table([row for row in rows.all() if row["seed"] in seeds]):
        report(text)


def measured(bundle: Bundle, *, seed: int, strength: float, area: float) -> dict[str, Any]:
    """Return the size in patches of each defect, whether it was found, and the good parts NG."""
    address = f"sim://parts?seed={seed}&size={SIDE}"
    defects = f"defects=0.33&kinds=dent,stain&defect_area={area}&strength={strength}"
    frames = frames_of(f"{address}&{defects}&place=0.05&turn=10", parts=PARTS)
    taught = good_picture(address, number=PARTS + 1)
    framed = FramedSet(bundle, Framing(size=(SIDE, SIDE), align="pattern", taught=taught), frames)
    scored = framed.scored()
    scores = (framed.less_the_level(scored) if framed.in_one_pose else scored).scores
    ng = scores > auto_threshold(scores)
    bad, patch = framed.bad[: len(scores)], framed.framer.part.side / framed.framer.grid.side
    sizes = [
        [float(np.sqrt((frame.mask > 0).sum())) / patch, bool(over)]
        for frame, over, of_bad in zip(framed.placed, ng, bad, strict=True)
        if of_bad
    ]
    return {"defects": sizes, "false": int(ng[~bad].sum()), "good": len(scores) - len(sizes)}


def table(rows: list[dict[str, Any]]) -> Iterable[str]:
    """Yield the lines of a table: recall by size and strength, and the good parts that are NG."""
    yield (
        "| side of the defect, in patches | "
        + " | ".join(f"strength {strength:g}: found" for strength in STRENGTHS)
        + " |"
    )
    yield "|---|" + "---|" * len(STRENGTHS)
    for low, high in pairwise(CLASSES):
        cells = []
        for strength in STRENGTHS:
            some = [
                found
                for row in rows
                if row["strength"] == strength
                for size, found in row["defects"]
                if low <= size < high
            ]
            cells.append(f"{sum(some)} of {len(some)}" + (f", {np.mean(some):.0%}" if some else ""))
        yield f"| {low:g} to {high:g} | {' | '.join(cells)} |"
    yield f"good parts NG: {sum(r['false'] for r in rows)} of {sum(r['good'] for r in rows)}"
