"""A stuck tool on a simulated line: parts until the alarm, parts called NG, and what looking costs.

    python benchmarks/recurring_line.py [--window 64] [--shares 0.1,0.25] [--seeds 5,6] [--cost]

From part 200 on the tool marks a share of the parts, fainter than a usual defect; 4 % have other
defects. Every frame goes through two inspectors, with CoDeGraph and without. With `--cost`: a line
without a mark, processor time and wall time for a frame of both, one after the other in turns.
"""

from __future__ import annotations

import argparse
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from zeroline.edge_app.sim.line import GOOD, SimulatedLine
from zeroline.edge_app.sim.settings import TOOL_MARK, LineSettings
from zeroline.runtime import RollingInspector, Verdict, load_bundle

START = 200


@dataclass
class Told:
    """What an inspector said of each part, at once and in the end."""

    at_once: list[bool] = field(default_factory=list)
    finally_: list[bool] = field(default_factory=list)
    flagged: list[bool] = field(default_factory=list)
    alarms: list[tuple[int, Any]] = field(default_factory=list)

    def take(self, made: Any) -> None:
        """Note a frame and what it brought."""
        self.at_once.append(made.verdict is Verdict.NG)
        self.finally_.append(made.verdict is Verdict.NG)
        self.flagged.append(made.recurring)
        self.alarms += [(made.frame_id, alarm) for alarm in made.alarms]
        for revision in made.revisions:
            self.finally_[revision.frame_id] = revision.verdict is Verdict.NG
            self.flagged[revision.frame_id] |= revision.recurring


def of(values: list[bool], chosen: list[int]) -> str:
    """Return "how many of how many"."""
    return f"{sum(values[n] for n in chosen)} of {len(chosen)}"


def watch_line(bundle: Any, *, window: int, share: float, seed: int, strength: float) -> str:
    """Return a row of the table."""
    line = SimulatedLine(
        LineSettings(seed=seed, parts=START + 250, defects=0.04, tool_marks=share,
                     tool_marks_from=START, strength=strength)
    )  # fmt: skip
    kinds, told = [], (Told(), Told())
    with ExitStack() as stack:
        pair = [
            stack.enter_context(
                RollingInspector(bundle, window=window, matching="fast", codegraph=used)
            )
            for used in (False, True)
        ]
        for frame in line:
            kinds.append(frame.kind)
            for inspector, said in zip(pair, told, strict=True):
                said.take(inspector.push(frame.image))
    without, used = told
    marked = [n for n, kind in enumerate(kinds) if kind == TOOL_MARK]
    good = [n for n, kind in enumerate(kinds) if kind == GOOD and n >= START]
    alarm = used.alarms[0][0] if used.alarms else len(kinds)
    before, after = [n for n in marked if n <= alarm], [n for n in marked if n > alarm]
    cells = (
        f"{share:.0%}, {strength:g}", seed,
        f"{alarm - START} ({len(before)} marked)" if used.alarms else "none", len(used.alarms),
        of(without.at_once, marked), of(used.at_once, before), of(used.at_once, after),
        of(used.finally_, marked), of(without.at_once, good), of(used.finally_, good),
        sum(used.flagged[n] for n in range(len(kinds)) if kinds[n] != TOOL_MARK),
    )  # fmt: skip
    return "| " + " | ".join(map(str, cells)) + " |"


def cost(bundle: Any, *, window: int, degrees: Any) -> str:
    """Return what looking costs on a line on which nothing recurs."""
    line = SimulatedLine(LineSettings(seed=1, parts=6 * window, defects=0.04))
    frames = [frame.image for frame in line]
    wall, processor = {False: 0.0, True: 0.0}, {False: 0.0, True: 0.0}
    turn, settle = 16, 1.0
    with ExitStack() as stack:
        pair = {
            used: stack.enter_context(
                RollingInspector(bundle, window=window, matching="fast", degrees=degrees,
                                 codegraph=used)
            )
            for used in (False, True)
        }  # fmt: skip
        for start in range(0, len(frames), turn):
            for used, inspector in pair.items():
                began, spent = time.perf_counter(), time.process_time()
                for frame in frames[start : start + turn]:
                    inspector.push(frame)
                if start >= window:  # the window is full
                    wall[used] += time.perf_counter() - began
                time.sleep(settle if used else 0)  # a search under way belongs to this turn
                if start >= window:
                    processor[used] += time.process_time() - spent
    ms = 1e3 / (len(frames) - window)
    return (
        f"W {window}, degrees {degrees}: wall {ms * wall[False]:.1f} ms a frame, with CoDeGraph "
        f"{ms * wall[True]:.1f} (+{wall[True] / wall[False] - 1:.1%}); processor time "
        f"{ms * processor[False]:.1f}, with it {ms * processor[True]:.1f} "
        f"(+{processor[True] / processor[False] - 1:.1%})"
    )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--window", type=int, default=64)
    parser.add_argument("--shares", default="0.25")
    parser.add_argument("--seeds", default="5")
    parser.add_argument("--strengths", default="0.4")
    parser.add_argument("--cost", action="store_true")
    given = parser.parse_args()
    with load_bundle(given.model) as bundle:
        if given.cost:
            for degrees in ((1, 3, 5), "fused"):
                print(cost(bundle, window=given.window, degrees=degrees), flush=True)
            return
        head = (
            "share, strength", "seed", "parts to alarm", "alarms", "NG without", "before alarm",
            "after", "finally", "good NG without", "good NG with", "flagged, not marked",
        )  # fmt: skip
        print("| " + " | ".join(head) + " |")
        for share in map(float, given.shares.split(",")):
            for strength in map(float, given.strengths.split(",")):
                for seed in map(int, given.seeds.split(",")):
                    print(
                        watch_line(bundle, window=given.window, share=share, seed=seed,
                                   strength=strength),
                        flush=True,
                    )  # fmt: skip


if __name__ == "__main__":
    main()
