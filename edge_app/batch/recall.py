"""Recall and false alarms against the threshold, by kind of defect: as a table and as curves."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import numpy.typing as npt

from zeroline.edge_app.batch.sets import JudgedSets
from zeroline.edge_app.draw.curves import Curve, draw_curves
from zeroline.edge_app.writing import whole_file, write_png
from zeroline.runtime.results import Verdict

#: Names of the two groups that are no kind of defect.
GOOD, ALL = "good", "all defects"


@dataclass(frozen=True)
class Group:
    """Images of one kind, and from which threshold on each is OK.

    Attributes
    ----------
    name : str
        A kind of defect, `GOOD` or `ALL`.
    ok_from : array, shape (n,), float
        The scores, ascending; inf for an image with a recurring defect, which is NG at any.
    ng : int
        Images that the run called NG.
    """

    name: str
    ok_from: npt.NDArray[np.float64]
    ng: int

    def share_at(self, thresholds: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Return which share of the images is NG at each threshold."""
        ok = np.searchsorted(self.ok_from, thresholds, side="right")
        share: npt.NDArray[np.float64] = 1 - ok / len(self.ok_from)
        return share

    def curve(self, low: float, high: float) -> Curve:
        """Return the share as steps from a threshold to a higher one."""
        steps = self.ok_from[np.isfinite(self.ok_from)]
        x = np.concatenate([[low], np.repeat(steps, 2), [high]])
        count = len(self.ok_from)
        heights = 1 - np.arange(len(steps) + 1) / count
        points = list(zip(x.tolist(), np.repeat(heights, 2).tolist(), strict=True))
        return Curve(self.name, points, self.ng / count, f"{self.ng} of {count} NG")


@dataclass(frozen=True)
class RecallTable:
    """What each threshold would find, and what the run's own one did.

    Attributes
    ----------
    groups : tuple of Group
        Good images first, if there are any; then all defects, then each kind by its name.
    in_use : float
        The run's threshold; the median where random subsets have their own.
    automatic : bool
        Whether it was made from the scores.
    subsets : int
        Sets that have a threshold of their own.
    """

    groups: tuple[Group, ...]
    in_use: float
    automatic: bool
    subsets: int = 1

    @property
    def thresholds(self) -> npt.NDArray[np.float64]:
        """Thresholds (T,), ascending: one between every two neighbouring scores, and the ends."""
        scores = np.unique(np.concatenate([group.ok_from for group in self.groups]))
        scores = scores[np.isfinite(scores)]
        if not len(scores):  # all have a recurring defect
            return np.array([0.0, 2.0])
        low, high = min(scores[0], self.in_use), max(scores[-1], self.in_use)
        pad = 0.02 * (high - low) or 0.01
        between = (scores[1:] + scores[:-1]) / 2
        return np.concatenate([[max(low - pad, 0.0)], between, [high + pad]])


def recall_table(judged: JudgedSets, kinds: Sequence[str], good: Sequence[bool]) -> RecallTable:
    """Group the images of labelled sets.

    Parameters
    ----------
    judged : JudgedSets
    kinds : sequence of str
        Name of each image's kind, in the order of the results.
    good : sequence of bool
        Which are good.
    """
    results = judged.results
    ok_from = np.array([np.inf if r.recurring else r.scores.score for r in results], np.float64)
    ng = np.array([r.verdict is Verdict.NG for r in results])
    is_good, named = np.asarray(good, bool), np.asarray(kinds)
    members = {GOOD: is_good, ALL: ~is_good}
    members |= {kind: ~is_good & (named == kind) for kind in sorted(set(named[~is_good].tolist()))}
    groups = (
        Group(name, np.sort(ok_from[chosen]), int(ng[chosen].sum()))
        for name, chosen in members.items()
        if chosen.any()
    )
    automatic = judged.rule.fixed is None
    return RecallTable(tuple(groups), median(judged.thresholds), automatic, len(judged.sets))


def write_recall_table(table: RecallTable, path: Path) -> None:
    """Write the table as CSV: one row for each threshold, the run's own one among them."""
    thresholds = table.thresholds
    columns = [group.share_at(thresholds) for group in table.groups]
    rows = [(t, "", shares) for t, *shares in zip(thresholds.tolist(), *columns, strict=True)]
    reached = [group.ng / len(group.ok_from) for group in table.groups]
    rows.append((table.in_use, "automatic" if table.automatic else "given", reached))
    with whole_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["threshold", "in_use", *map(_column, table.groups)])
        for threshold, in_use, shares in sorted(rows):
            writer.writerow([f"{threshold:.6f}", in_use, *(f"{share:.4f}" for share in shares)])


def _column(group: Group) -> str:
    names = {GOOD: "false_alarms", ALL: "recall"}
    return names.get(group.name, f"recall_{group.name}")


def write_recall_picture(table: RecallTable, path: Path, *, title: str) -> None:
    """Write the same as curves, as PNG."""
    low, high = float(table.thresholds[0]), float(table.thresholds[-1])
    of_each = [group.curve(low, high) for group in table.groups]
    if len(table.groups) <= 3:  # one kind is all defects
        of_each = [curve for curve in of_each if curve.name != ALL]
    subsets = f", median of {table.subsets} subsets" if table.subsets > 1 else ""
    name = f"{'automatic' if table.automatic else 'given'} {table.in_use:.3f}{subsets}"
    write_png(path, draw_curves(of_each, title=title, mark=(table.in_use, name)))
