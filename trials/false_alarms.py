"""The stated false-alarm rate on simulated lines without a recurring defect.

400 parts for each seed, at four shares of random defects, with fused degrees and with 1, 3, 5, the
search on. Frames from the 16th on count. The line runs at 0.01; 0.005 and 0.05 are from the same
scores. A part is NG by its score over the threshold, or by recognition or a search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from trials.lines import TokenLine
from trials.resumed import Rows
from zeroline.edge_app.sim.line import GOOD
from zeroline.runtime import RollingInspector, ThresholdRule, auto_threshold, load_bundle
from zeroline.runtime.stages.threshold import Threshold

SEEDS = tuple(range(1000, 1010))
SHARES = (0.0, 0.03, 0.1, 0.3)
DEGREES = ("fused", (1, 3, 5))
RATES = (0.005, 0.01, 0.05)
PARTS, FIRST = 400, 15


class Recorded(ThresholdRule):
    """The automatic rule, which keeps the scores that it was last given."""

    def threshold(self, scores: Any, /, **sizes: int) -> Threshold:
        """Return the threshold."""
        object.__setattr__(self, "scores", scores)
        return super().threshold(scores, **sizes)


def run(report: Callable[[str], None], *, seeds: Iterable[int] = SEEDS, rows: Rows) -> None:
    """Measure all lines that are not in `rows` yet, and report the table.

    Parameters
    ----------
    report : callable
        Takes lines of the table.
    seeds : iterable of int
    rows : Rows
        Of an earlier run that was broken off.
    """
    seeds = list(seeds)
    with load_bundle("tiny", threads=1) as bundle:
        for seed in seeds:
            line = TokenLine(bundle, rows.folder / "tokens", seed=seed, parts=PARTS)
            for degrees in DEGREES:
                for share in SHARES:
                    key = {"seed": seed, "degrees": str(degrees), "share": share}
                    rows.once(key, lambda d=degrees, s=share, t=line: watched(bundle, t, d, s))
    for text in table([row for row in rows.all() if row["seed"] in seeds]):
        report(text)


def watched(bundle: Any, line: TokenLine, degrees: Any, share: float) -> dict[str, Any]:
    """Inspect one line; return what was counted."""
    kinds, tokens = line.at(share)
    rule = Recorded()
    over: list[list[bool] | None] = []
    by_search: set[int] = set()
    recognised: set[int] = set()
    alarms: list[list[str]] = []
    with RollingInspector(bundle, degrees=degrees, threads=1, threshold=rule) as inspector:
        for number, frame in enumerate(tokens):
            made = inspector.push_tokens(frame)
            scores = made.scores
            judged = number >= FIRST and scores is not None and scores.threshold is not None
            if judged and scores is not None:
                kept = rule.scores  # type: ignore[attr-defined]
                over.append(
                    [scores.score > auto_threshold(kept, false_alarm_rate=r) for r in RATES]
                )
            else:
                over.append(None)
            if made.recurring:
                recognised.add(number)
            by_search |= {r.frame_id for r in made.revisions if r.recurring}
            alarms += [[kinds[frame] for frame in alarm.frames] for alarm in made.alarms]
    counts = {"good": 0, "bad": 0, "recognised": 0, "by_search": 0}
    ng = {"good": [0] * len(RATES), "bad": [0] * len(RATES)}
    for number, (kind, judged_over) in enumerate(zip(kinds, over, strict=True)):
        if judged_over is None:
            continue
        side = "good" if kind == GOOD else "bad"
        counts[side] += 1
        known = number in recognised or number in by_search
        ng[side] = [n + (o or known) for n, o in zip(ng[side], judged_over, strict=True)]
        if side == "good":
            counts["recognised"] += number in recognised
            counts["by_search"] += number in by_search and number not in recognised
    return counts | {"ng_good": ng["good"], "ng_bad": ng["bad"], "alarms": alarms}


def table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the lines of the table: by degrees and share, and over all."""
    lines = [
        "| degrees | defects | "
        + " | ".join(f"{rate:g}: NG of good, worst line, recall" for rate in RATES)
        + " | recognised | by search | alarms |",
        "|" + "---|" * (5 + len(RATES)),
    ]
    groups = sorted({(row["degrees"], row["share"]) for row in rows}, reverse=True)
    for degrees, share in groups:
        some = [row for row in rows if (row["degrees"], row["share"]) == (degrees, share)]
        lines.append(_row(degrees, f"{share:.0%}", some))
    return [*lines, _row("all", "", rows)]


def _row(degrees: str, share: str, rows: list[dict[str, Any]]) -> str:
    good, bad = (sum(row[side] for row in rows) for side in ("good", "bad"))
    cells = [degrees, share]
    for place in range(len(RATES)):
        false = sum(row["ng_good"][place] for row in rows)
        found = sum(row["ng_bad"][place] for row in rows)
        worst = max(row["ng_good"][place] / row["good"] for row in rows)
        recall = f"{found / bad:.1%}" if bad else "-"
        cells.append(f"{false / good:.2%} ({false} of {good}), {worst:.1%}, {recall}")
    cells += [str(sum(row[name] for row in rows)) for name in ("recognised", "by_search")]
    cells.append(str(sum(len(row["alarms"]) for row in rows)))
    return "| " + " | ".join(cells) + " |"


def short(folder: Path) -> dict[str, Any]:
    """Return the counts of 60 parts of one line, for the tests."""
    with load_bundle("tiny", threads=1) as bundle:
        line = TokenLine(bundle, folder, seed=1, parts=60)
        return watched(bundle, line, "fused", 0.1)
