"""A tool that has been broken for a while, and reference sets from before and from after.

A set of clean parts is built, and another one is saved by a line of 60 parts, 13 of them marked by
the tool. A line starts with each and sees 62 new parts, 12 marked. Sets of 60 parts, with and
without marks, are loaded as somebody may have made them: the marked ones must be warned of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from trials.resumed import Rows
from zeroline.edge_app.sim.line import SimulatedLine
from zeroline.edge_app.sim.settings import LineSettings
from zeroline.runtime import RollingInspector, Tokens, Verdict, load_bundle
from zeroline.runtime.reference.files import read_reference, write_reference
from zeroline.runtime.reference.selection import Scoring, select_good
from zeroline.runtime.reference.sets import ReferenceFrame, ReferenceSet
from zeroline.runtime.tokens import joined

#: The final figures come from these lines.
SEEDS = range(1000, 1010)
#: Parts of a set, marked parts of a line that saves its window, parts of the new line, marked ones.
SET, MARKED, NEW, NEW_MARKED = 60, 13, 62, 12
#: Share of marked parts in the sets that are warned of.
SHARE = 0.2


class Parts:
    """Tokens of the parts of a line, each with the tool's mark and without it."""

    def __init__(self, bundle: Any, seed: int) -> None:
        self.seed, self._bundle = seed, bundle
        settings = LineSettings(seed=seed, defects=0, strength=0.4)
        self._lines = [
            SimulatedLine(settings.model_copy(update={"tool_marks": share})) for share in (0.0, 1.0)
        ]

    def take(self, numbers: Iterable[int], marked: Sequence[int] = ()) -> list[Tokens]:
        """Return the tokens of some parts, of which some are marked."""
        frames = (self._lines[number in set(marked)].part(number).image for number in numbers)
        return [self._bundle.embed(self._bundle.prepare(frame)[None]) for frame in frames]

    def drawn(self, numbers: Sequence[int], count: int) -> list[int]:
        """Draw the parts that the tool marks."""
        rng = np.random.default_rng((self.seed, numbers[0]))
        return sorted(rng.choice(numbers, count, replace=False).tolist())


@dataclass(frozen=True)
class Outcome:
    """New parts on a line that began with a reference set."""

    frames: int
    warned: bool
    marked_ng: int
    good_ng: int


def set_of(bundle: Any, tokens: Tokens, degrees: Any) -> ReferenceSet:
    """Return a set of all these parts, as if somebody had put it together by hand."""
    frames = tuple(ReferenceFrame(f"part {n}", 0.0, 0.0, 2.0) for n in range(len(tokens)))
    manifest = bundle.manifest
    return ReferenceSet(tokens, frames, manifest.name, manifest.network, degrees, 0.01)


def built(bundle: Any, tokens: Tokens, path: Path, *, degrees: Any = None) -> None:
    """Write a set as `zeroline reference build` does."""
    defaults = bundle.manifest.defaults
    scoring = Scoring(bundle.size, degrees or defaults.degrees, defaults.rscin, defaults.interval)
    kept = select_good(tokens, scoring, false_alarm_rate=0.01).kept
    write_reference(path, set_of(bundle, tokens.select(kept), defaults.degrees))


def saved(bundle: Any, parts: Sequence[Tokens], path: Path) -> int:
    """Write a set from a line's window; return how many frames it left out."""
    with RollingInspector(bundle, matching="exact") as line:
        for tokens in parts:
            line.push_tokens(tokens)
        return len(line.save_reference(path).left_out)


def watched(bundle: Any, path: Path, parts: Sequence[Tokens], marked: Sequence[bool]) -> Outcome:
    """Show new parts to a line that begins with a set."""
    with RollingInspector(bundle, matching="exact") as line:
        loaded = line.load_reference(path)
        verdicts: list[Verdict] = []
        for tokens in parts:
            inspection = line.push_tokens(tokens)
            verdicts.append(inspection.verdict)
            for revision in inspection.revisions:
                verdicts[revision.frame_id] = revision.verdict
    ng = [verdict is Verdict.NG for verdict in verdicts]
    found = sum(n for n, has in zip(ng, marked, strict=True) if has)
    return Outcome(loaded.frames, bool(loaded.warning), found, sum(ng) - found)


def two_starts(parts: Parts, bundle: Any, folder: Path) -> tuple[Outcome, Outcome, int]:
    """Return a line that begins with a clean set, one with a saved set, and what was left out."""
    before, new = list(range(SET)), list(range(2 * SET, 2 * SET + NEW))
    marked = parts.drawn(new, NEW_MARKED)
    stream, truth = parts.take(new, marked), [number in marked for number in new]
    clean, spoiled = folder / "clean.npz", folder / "saved.npz"
    built(bundle, joined(parts.take(before)), clean)
    left_out = saved(bundle, parts.take(before, parts.drawn(before, MARKED)), spoiled)
    outcomes = [watched(bundle, path, stream, truth) for path in (clean, spoiled)]
    return outcomes[0], outcomes[1], left_out


def warned(parts: Parts, bundle: Any, folder: Path, *, first: int, share: float) -> bool:
    """Tell whether a set of parts from `first` on is warned of; a clean one is built before."""
    numbers, path = list(range(first, first + SET)), folder / "loaded.npz"
    marked = parts.drawn(numbers, round(share * SET))
    tokens = joined(parts.take(numbers, marked))
    if marked:
        write_reference(path, set_of(bundle, tokens, bundle.manifest.defaults.degrees))
    else:
        built(bundle, tokens, path)
    read_reference(path)
    with RollingInspector(bundle, matching="exact") as line:
        return bool(line.load_reference(path).warning)


def run(report: Callable[[str], None], *, seeds: Iterable[int] = SEEDS, rows: Rows) -> None:
    """Report both starts line by line, then the warnings of all sets; see `false_alarms.run`."""
    report("| seed | left out of the saved set | clean: marked NG, good NG | saved: the same |")
    report("|---|---|---|---|")
    told = {0.0: [0, 0], SHARE: [0, 0]}
    with load_bundle("tiny", threads=1) as bundle, TemporaryDirectory() as name:
        for seed in seeds:
            row = rows.once({"seed": seed}, partial(of_seed, bundle, seed, Path(name)))
            cells = [
                f"{found} of {NEW_MARKED}, {false} of {NEW - NEW_MARKED}"
                for found, false in (row["clean"], row["saved"])
            ]
            report(f"| {seed} | {row['left_out']} | {cells[0]} | {cells[1]} |")
            for count, warnings in zip(told.values(), row["warned"], strict=True):
                count[0] += sum(warnings)
                count[1] += len(warnings)
    for share, (some, all_) in told.items():
        report(f"sets with {share:.0%} marked parts: {some} of {all_} warned of")


def of_seed(bundle: Any, seed: int, folder: Path) -> dict[str, Any]:
    """Measure one seed."""
    parts = Parts(bundle, seed)
    clean, spoiled, left_out = two_starts(parts, bundle, folder)
    return {
        "left_out": left_out,
        "clean": [clean.marked_ng, clean.good_ng],
        "saved": [spoiled.marked_ng, spoiled.good_ng],
        "warned": [
            [warned(parts, bundle, folder, first=first, share=share) for first in (0, SET)]
            for share in (0.0, SHARE)
        ],
    }
