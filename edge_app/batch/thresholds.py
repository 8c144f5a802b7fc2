"""A threshold in words: its value, what made it, and how many images others would call NG."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import comb

from zeroline.edge_app.batch.causes import remarks
from zeroline.edge_app.batch.sets import JudgedSets
from zeroline.runtime.stages.threshold import ThresholdRule

#: Rates whose thresholds are shown beside the one in use.
RATES = (0.05, 0.02, 0.01, 0.005, 0.002)
#: Under this rate a threshold is extrapolated.
EXTRAPOLATED = 0.005
#: So much of the chance may lie on either side of the numbers that a rate is told by.
_TAIL = 0.025
_NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True)
class Neighbour:
    """A threshold, and what it would call NG.

    Attributes
    ----------
    rate : float or None
        The stated rate; None where the threshold was given.
    low, high : float
        The lowest and the highest of the sets' thresholds; the same for one set.
    ng : int
        Images that would be NG, those with a recurring defect included.
    in_use : bool
        Whether the verdicts are by this one.
    """

    rate: float | None
    low: float
    high: float
    ng: int
    in_use: bool

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """Rate, threshold, number of NG and a note, as a table shows them."""
        extrapolated = self.rate is not None and self.rate < EXTRAPOLATED
        notes = ("in use" if self.in_use else "", "extrapolated" if extrapolated else "")
        return (
            "given" if self.rate is None else f"{self.rate:g}",
            _from_to(self.low, self.high),
            str(self.ng),
            ", ".join(filter(None, notes)),
        )


@dataclass(frozen=True)
class ThresholdSummary:
    """What a person needs to choose a threshold.

    Attributes
    ----------
    lines : tuple of str
        The threshold in use, and what made it.
    neighbours : tuple of Neighbour
        By rate, the largest first; the one in use is among them.
    remarks : tuple of str
        What is odd about it, with the likely cause.
    subsets : tuple of tuple
        Images, threshold, scores that made it and scores left out, of each random subset; empty
        for one set.
    """

    lines: tuple[str, ...]
    neighbours: tuple[Neighbour, ...]
    remarks: tuple[str, ...]
    subsets: tuple[tuple[int, float | None, int, int], ...]

    @property
    def table(self) -> Iterator[str]:
        """The neighbours as lines of text."""
        rows = [("rate", "threshold", "NG", ""), *(n.cells for n in self.neighbours)]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        for row in rows:
            rate, threshold, ng = (cell.rjust(w) for cell, w in zip(row, widths, strict=False))
            yield f"{rate}  {threshold}  {ng}  {row[3]}".rstrip()


def threshold_summary(judged: JudgedSets) -> ThresholdSummary:
    """Describe the thresholds of judged sets."""
    several = len(judged.sets) > 1
    return ThresholdSummary(
        tuple(_told(judged)),
        tuple(_neighbours(judged)),
        tuple(remarks(judged)),
        tuple(
            (len(scored.files), by.threshold, by.scores_used, by.left_out)
            for scored, by in zip(judged.sets, judged.judgements, strict=True)
        )
        if several
        else (),
    )


def good_parts_called_ng(rate: float) -> str:
    """Return a rate as what a mean of it looks like: "of 100 good parts none to three".

    The numbers are those of a binomial law, without its outer 2.5 % on either side.
    """
    parts = 100 if rate >= EXTRAPOLATED else 1000
    chances = [comb(parts, n) * rate**n * (1 - rate) ** (parts - n) for n in range(parts + 1)]
    least = next(n for n in range(parts + 1) if sum(chances[: n + 1]) > _TAIL)
    most = next(n for n in range(parts + 1) if sum(chances[: n + 1]) >= 1 - _TAIL)
    named = [_NUMBERS[n] if n < len(_NUMBERS) else str(n) for n in (least, most)]
    return f"of {parts:,} good parts " + (" to ".join(named) if least < most else named[0])


def _told(judged: JudgedSets) -> Iterator[str]:
    """Say what the threshold is, and what made it."""
    sets, rule, found = judged.sets, judged.rule, judged.thresholds
    several = len(sets) > 1
    name = f"thresholds of the {len(sets)} subsets" if several else "threshold"
    if rule.fixed is not None:
        yield f"threshold {rule.fixed:g}, as given"
        return
    used = sum(by.scores_used for by in judged.judgements)
    left_out = sum(by.left_out for by in judged.judgements)
    copies = sum(int((~scored.original).sum()) for scored in sets)
    marked = sum(len(scored.files) for scored in sets) - copies - used - left_out
    text = f"{name} {_from_to(min(found), max(found))}, at the false-alarm rate "
    text += f"{rule.false_alarm_rate:g}, from {used} scores"
    if left_out:
        text += f"; {left_out} left out as clearly NG"
    if marked:
        text += f"; {marked} left out for a recurring defect"
    if copies:
        text += f"; {copies} left out as a copy"
    yield text
    yield f"the rate is a mean: {good_parts_called_ng(rule.false_alarm_rate)} are NG"
    if rule.false_alarm_rate < EXTRAPOLATED:
        yield f"a rate under {EXTRAPOLATED:g} is extrapolated: check it on many good parts"


def _neighbours(judged: JudgedSets) -> Iterator[Neighbour]:
    rule = judged.rule
    if rule.fixed is not None:
        yield _neighbour(judged, rule, in_use=True)
    rates = set(RATES) if rule.fixed is not None else {*RATES, rule.false_alarm_rate}
    for rate in sorted(rates, reverse=True):
        other = replace(rule, fixed=None, false_alarm_rate=rate)
        yield _neighbour(judged, other, in_use=other == rule)


def _neighbour(judged: JudgedSets, rule: ThresholdRule, *, in_use: bool) -> Neighbour:
    thresholds, ng = [], 0
    for scored in judged.sets:
        threshold = scored.judgement(rule).threshold
        if threshold is not None:
            thresholds.append(threshold)
            ng += int(scored.called_ng(threshold).sum())
    rate = None if rule.fixed is not None else rule.false_alarm_rate
    return Neighbour(rate, min(thresholds), max(thresholds), ng, in_use)


def _from_to(low: float, high: float) -> str:
    """Return one number where both look the same."""
    first, last = f"{low:.3f}", f"{high:.3f}"
    return first if first == last else f"{first} to {last}"
