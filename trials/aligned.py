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

from trials.resumed import Rows
from zeroline.edge_app.batch.metrics import ranking_metrics
from zeroline.edge_app.sim.line import GOOD, SimFrame, SimulatedLine
from zeroline.edge_app.sim.settings import settings_from
from zeroline.runtime import load_bundle
from zeroline.runtime.batch import score_tokens
from zeroline.runtime.framing.framer import Framer
from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.framing.look import Look
from zeroline.runtime.grid import grid_side
from zeroline.runtime.stages.levels import in_one_pose
from zeroline.runtime.tokens import joined

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


def measured(bundle: Any, *, product: str, seed: int, place: float, turn: float) -> dict[str, Any]:
    """Score one set in three ways; return AUROC, recall and what was not found."""
    address = f"sim://{product}?seed={seed}&size={SIDE}&parts={PARTS}"
    line = SimulatedLine(settings_from(f"{address}&{LOOKS}&place={place}&turn={turn}"))
    taught = SimulatedLine(settings_from(f"{address}&defects=0")).part(PARTS - 1)
    frames = [line.part(number) for number in range(PARTS)]
    whole = Framer(Framing(), bundle.manifest.input, patches=bundle.patches)
    framing = Framing(size=(SIDE, SIDE), align="pattern", taught=taught.image)
    found = Framer(framing, bundle.manifest.input, patches=bundle.patches)
    result: dict[str, Any] = {"bad": sum(frame.kind != GOOD for frame in frames)}
    result["no pose"] = ways(bundle, whole, frames, levels=(False,))["as matched"]
    both = ways(bundle, found, frames, levels=(False, True))
    result["pose"], result["pose, less the level"] = both["as matched"], both["less the level"]
    result["not found"], result["one pose"] = both["not found"], both["one pose"]
    return result


def ways(
    bundle: Any, framer: Framer, frames: list[SimFrame], *, levels: tuple[bool, ...]
) -> dict[str, Any]:
    """Score frames by a framer, with or without each place's own level."""
    looks = [framer.look(frame.image) for frame in frames]
    placed = [number for number, look in enumerate(looks) if not look.problem]
    tokens = joined(bundle.embed(bundle.prepare(looks[n].images[0])[None]) for n in placed)
    nowhere = np.zeros(bundle.patches, bool)
    absent = np.array([nowhere if looks[n].absent is None else looks[n].absent for n in placed])
    away = [frames[n].kind != GOOD for n in range(len(frames)) if looks[n].problem]
    turns = [pose.turn for n in placed if (pose := looks[n].pose) is not None]
    result: dict[str, Any] = {
        "not found": [away.count(False), away.count(True)],
        "one pose": in_one_pose(turns),
    }
    for own_level in levels:
        scored = score_tokens(
            tokens,
            size=bundle.size,
            degrees=bundle.manifest.defaults.degrees,
            rscin=(),
            roi=framer.roi,
            absent=absent,
            own_level=own_level,
            threads=1,
        )
        at_defect = [
            shows_defect(frames[n], looks[n], int(scores.argmax()))
            for n, scores in zip(placed, scored.patch_scores, strict=True)
        ]
        bad = np.array([frames[n].kind != GOOD for n in placed] + away)
        scores = np.append(scored.raw_scores, np.full(len(away), np.inf))
        result["less the level" if own_level else "as matched"] = figures(
            bad, scores, np.array(at_defect + [False] * len(away))
        )
    return result


def shows_defect(frame: SimFrame, look: Look, patch: int) -> bool:
    """Tell whether a patch, or one beside it, shows the frame's defect."""
    side = grid_side(400)
    marked = look.view.touched(frame.mask > 0, side=side).reshape(side, side)
    row, column = divmod(patch, side)
    return bool(marked[max(0, row - 1) : row + 2, max(0, column - 1) : column + 2].any())


def figures(
    bad: npt.NDArray[np.bool_], scores: npt.NDArray[np.float32], at_defect: npt.NDArray[np.bool_]
) -> list[float]:
    """Return AUROC, and recall at the defect."""
    ranking = ranking_metrics(bad, np.minimum(scores, 1e6))
    assert ranking is not None  # noqa: S101 - both kinds are there
    good = np.sort(scores[~bad])
    limit = good[-1 - int(FALSE_ALARMS * len(good))]
    return [ranking.auroc, float(((scores > limit) & at_defect)[bad].mean())]


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
