"""Lines whose parts lie anywhere: false alarms, recall, and a hand over the part.

Each line inspects its parts one by one at a stated rate of 1 %, with a window of 64, once as the
pictures are and once with the part found by its pattern. Frames from the 16th on count. A part is
called NG if its verdict is, also later. A frame without a whole part is no OK either, and is
counted by itself.

On another line of good parts a hand lies over one part in six, once the window is full.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import numpy as np

from trials.framed import frames_of, good_picture
from trials.hand import with_hand
from trials.resumed import Rows
from zeroline.edge_app.sim.line import GOOD
from zeroline.runtime import Bundle, RollingInspector, Verdict, load_bundle
from zeroline.runtime.frames import Frame
from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.framing.pose.rigid import moved

SEEDS = tuple(range(1000, 1005))
SIDE, PARTS, FIRST = 480, 300, 15
LOOKS = "defects=0.1&kinds=scratch,dent,stain,crack&defect_area=0.003&strength=0.6"
PRODUCTS = ("parts", "ring", "connector")
#: Products, largest shift and turn of their parts, and how these are found.
LINES = (
    ("parts", 0.05, 15, "off"),
    ("parts", 0.05, 15, "pattern"),
    ("parts", 0.05, 180, "off"),
    ("parts", 0.05, 180, "pattern"),
    ("ring", 0.05, 15, "pattern"),
    ("connector", 0.05, 15, "pattern"),
)
#: Good parts before the first hand, hands, and good parts for each of them.
BEFORE, HANDS, BETWEEN = 64, 40, 5


def framing_of(product: str, seed: int, align: str) -> Framing:
    """Return a framing that finds a product, or the whole picture."""
    if align == "off":
        return Framing()
    taught = good_picture(f"sim://{product}?seed={seed}&size={SIDE}", number=PARTS + 1)
    return Framing(size=(SIDE, SIDE), align=align, taught=taught)


def verdicts(bundle: Bundle, framing: Framing, frames: Iterable[Frame]) -> list[str]:
    """Inspect a line; return each frame's last verdict, or its reason where nothing was scored."""
    found: list[str] = []
    with RollingInspector(bundle, framing=framing, threads=1) as line:
        for frame in frames:
            made = line.push(frame)
            unseen = made.verdict is Verdict.UNCERTAIN and made.reason is not None
            found.append(made.reason.value if unseen and made.reason else made.verdict.value)
            for late in made.revisions:
                found[late.frame_id] = late.verdict.value
    return found


def inspected(
    bundle: Bundle, *, seed: int, product: str, place: float, turn: float, align: str
) -> dict[str, dict[str, int]]:
    """Return how often each verdict was given to good and to bad parts."""
    address = f"sim://{product}?seed={seed}&size={SIDE}&{LOOKS}&place={place}&turn={turn}"
    frames = frames_of(address, parts=PARTS)
    made = verdicts(bundle, framing_of(product, seed, align), (f.image for f in frames))
    counts: dict[str, dict[str, int]] = {"good": {}, "bad": {}}
    for frame, verdict in list(zip(frames, made, strict=True))[FIRST:]:
        of = counts["good" if frame.kind == GOOD else "bad"]
        of[verdict] = of.get(verdict, 0) + 1
    return counts


def hands(bundle: Bundle, *, seed: int, product: str) -> dict[str, dict[str, int]]:
    """Return how often each verdict was given to a part under a hand."""
    rng = np.random.default_rng(seed)
    parts = BEFORE + HANDS * (BETWEEN + 1)
    address = f"sim://{product}?seed={seed}&size={SIDE}&defects=0&place=0.05&turn=15"
    covered = {BEFORE + n * (BETWEEN + 1) for n in range(HANDS)}

    def pictures() -> Iterator[Frame]:
        for number, frame in enumerate(frames_of(address, parts=parts)):
            x, y = moved(np.full((1, 2), (SIDE - 1) / 2), frame.to_picture)[0]
            over = with_hand(frame.image, rng, over=(x, y))
            yield over if number in covered else frame.image

    made = verdicts(bundle, framing_of(product, seed, "pattern"), pictures())
    counts: dict[str, int] = {}
    for number in covered:
        counts[made[number]] = counts.get(made[number], 0) + 1
    return {"verdicts": counts}


def run(report: Callable[[str], None], *, seeds: Iterable[int] = SEEDS, rows: Rows) -> None:
    """Report false alarms, recall and hands; see `false_alarms.run`."""
    seeds = list(seeds)
    with load_bundle("tiny", threads=1) as bundle:
        report("| product, shift, turn, pose | good | NG | without a whole part | worst line "
               "| bad | NG | without a whole part |")  # fmt: skip
        report("|---|---|---|---|---|---|---|---|")
        for product, place, turn, align in LINES:
            of_line = {"product": product, "place": place, "turn": turn, "align": align}
            found = []
            for seed in seeds:
                key: dict[str, Any] = {"seed": seed, **of_line}
                found.append(rows.once(key, partial(inspected, bundle, **key)))
            good, bad = (_sum([row[side] for row in found]) for side in ("good", "bad"))
            worst = max(_share(row["good"]) for row in found)
            report(
                f"| {product}, {place:g}, {turn}°, {align} | {good['all']} | {_ng(good)} | "
                f"{good['unplaced']} | {worst:.1%} | {bad['all']} | {_ng(bad)} | "
                f"{bad['unplaced']} |"
            )
        report("| a hand over | parts | NG | without a whole part | another product | OK |")
        report("|---|---|---|---|---|---|")
        for product in PRODUCTS:
            some = []
            for seed in seeds:
                key = {"seed": seed, "hand": product}
                some.append(rows.once(key, partial(hands, bundle, seed=seed, product=product)))
            told = _sum([row["verdicts"] for row in some])
            report(
                f"| {product} | {told['all']} | {told['NG']} | {told['unplaced']} | "
                f"{told['other_product']} | {told['OK']} |"
            )


def _sum(counts: list[dict[str, int]]) -> dict[str, int]:
    """Add up counts by verdict; `unplaced` are those without a whole part."""
    total = {"OK": 0, "NG": 0, "unplaced": 0, "other_product": 0}
    for row in counts:
        for verdict, count in row.items():
            name = "unplaced" if verdict in ("no_part_found", "part_not_whole") else verdict
            total[name] = total.get(name, 0) + count
    return {**total, "all": sum(total.values())}


def _share(row: dict[str, int]) -> float:
    """Return the share of NG."""
    return row.get("NG", 0) / max(1, sum(row.values()))


def _ng(total: dict[str, int]) -> str:
    return f"{total['NG']} ({total['NG'] / max(1, total['all']):.1%})"
