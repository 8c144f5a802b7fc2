"""What finding the part is worth: ranking and recall of parts that lie anywhere.

80 parts for each seed, a quarter of them with a faint defect, at several shifts and turns under a
lamp that stands still. Each set is scored as it is, with the part found by its pattern, and less
each place's own level. A picture without a whole part counts as scored above all others.

- AUROC of the image scores.
- Recall at the defect: defective images of which the score lies over that of 3 % of the good ones,
  and whose worst patch shows the defect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from trials.framed import FramedSet, auroc, frames_of, good_picture
from trials.resumed import Rows
from zeroline.runtime import Bundle, ScoreResult, load_bundle
from zeroline.runtime.framing.framing import Framing

SEEDS = tuple(range(1000, 1005))
#: Largest shifts as a share of the picture's side, and largest turns in degrees, by product.
_FEW = ((0, 0), (0.05, 15), (0.05, 180))
PLACES = {
    "parts": ((0, 0), (0.02, 3), (0.06, 0), (0.12, 0), (0.05, 15), (0.05, 180)),
    "ring": _FEW,
    "connector": _FEW,
}
PARTS, SIDE = 80, 480
LOOKS = "defects=0.25&kinds=scratch,dent,stain,crack&defect_area=0.003&strength=0.6"
#: Good images that may score higher.
FALSE_ALARMS = 0.03


def run(report: Callable[[str], None], *, seeds: Iterable[int] = SEEDS, rows: Rows) -> None:
    """Measure all sets that are not in `rows` yet, and report the table; see `false_alarms.run`."""
    seeds = list(seeds)
    with load_bundle("tiny", threads=1) as bundle:
        for product, places in PLACES.items():
            for seed in seeds:
                for place, turn in places:
                    key = {"product": product, "seed": seed, "place": place, "turn": turn}
                    rows.once(key, lambda k=key, b=bundle: measured(b, **k))
    for text in table([row for row in rows.all() if row["seed"] in seeds]):
        report(text)


def measured(
    bundle: Bundle, *, product: str, seed: int, place: float, turn: float
) -> dict[str, Any]:
    """Score one set in three ways; return AUROC, recall and what was not found."""
    address = f"sim://{product}?seed={seed}&size={SIDE}"
    frames = frames_of(f"{address}&{LOOKS}&place={place}&turn={turn}", parts=PARTS)
    framing = Framing(
        size=(SIDE, SIDE), align="pattern", taught=good_picture(address, number=PARTS - 1)
    )
    whole, found = FramedSet(bundle, Framing(), frames), FramedSet(bundle, framing, frames)
    posed = found.scored()
    return {
        "bad": int(whole.bad.sum()),
        "no pose": figures(whole, whole.scored()),
        "pose": figures(found, posed),
        "pose, less the level": figures(found, found.less_the_level(posed)),
        "not found": [found.refused.count(True), found.refused.count(False)],
        "one pose": found.in_one_pose,
    }


def figures(framed: FramedSet, scored: ScoreResult) -> list[float]:
    """Return AUROC, and recall at the defect."""
    scores, bad = framed.scores(scored), framed.bad
    return [auroc(bad, scores), recall(bad, scores, framed.at_defect(scored))]


def recall(
    bad: npt.NDArray[np.bool_], scores: npt.NDArray[np.float32], at_defect: npt.NDArray[np.bool_]
) -> float:
    """Return the share of bad images, scored at their defect, over 3 % of the good ones."""
    good = np.sort(scores[~bad])
    limit = good[-1 - int(FALSE_ALARMS * len(good))]
    return float(((scores > limit) & at_defect)[bad].mean())


def table(rows: list[dict[str, Any]]) -> Iterable[str]:
    """Yield the lines of a table: mean, least seed, recall, by way; and what was not found."""
    names = ("no pose", "pose", "pose, less the level")
    yield (
        "| part | place, turn | "
        + " | ".join(f"{n}: AUROC, least, recall" for n in names)
        + (" | not found: good, bad | in one pose |")
    )
    yield "|" + "---|" * (4 + len(names))
    for product, places in PLACES.items():
        for place, turn in places:
            some = [
                r for r in rows if (r["product"], r["place"], r["turn"]) == (product, place, turn)
            ]
            if not some:
                continue
            cells = []
            for name in names:
                auroc, recall = np.array([row[name] for row in some]).T
                cells.append(f"{auroc.mean():.3f}, {auroc.min():.3f}, {recall.mean():.0%}")
            good, bad = np.sum([row["not found"] for row in some], axis=0)
            one = sum(row["one pose"] for row in some)
            where = f"{product} | {place:g}, {turn:g}°"
            yield f"| {where} | {' | '.join(cells)} | {good}, {bad} | {one} |"
