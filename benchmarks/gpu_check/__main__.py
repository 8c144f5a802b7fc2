"""``python -m benchmarks.gpu_check``: all parts, one table, one file."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.gpu_check.findings import Findings, Outcome
from benchmarks.gpu_check.parts import ASSERTIONS, PARTS
from benchmarks.gpu_check.processes import answer, run_part
from benchmarks.gpu_check.sizes import FULL, SMALL


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the check; return 0 only if each part ran and held."""
    given = _given(arguments)
    if given.watched:
        from benchmarks.gpu_check.sanitizer import watched

        watched()
        return 0
    if given.busy:
        from benchmarks.gpu_check.repeats import busy

        busy()
        return 0
    if given.start:
        from benchmarks.gpu_check.rates import start

        print(json.dumps({"seconds": start()}))
        return 0
    if given.part:
        answer(given.part, small=given.small, result=given.result)
        return 0
    return _all_parts(small=given.small, output=given.output)


def _given(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make gpu-check", description=__doc__)
    parser.add_argument(
        "--output", type=Path, default=Path("gpu-check.json"), help="the file (gpu-check.json)"
    )
    parser.add_argument("--small", action="store_true", help=argparse.SUPPRESS)  # a trial of itself
    # what its own processes are asked for
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    for name in ("--watched", "--busy", "--start"):
        parser.add_argument(name, action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _all_parts(*, small: bool, output: Path) -> int:
    from benchmarks.gpu_check.machine import clocks, describe

    from zeroline.runtime.cuda import working_cupy
    from zeroline.runtime.errors import ZerolineError

    try:
        cupy = working_cupy()
    except ZerolineError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    try:  # before minutes of work
        output.open("a").close()
    except OSError as error:
        print(f'Error: "{output}" cannot be written: {error.strerror}', file=sys.stderr)
        return 1
    found = Findings()
    describe(cupy, SMALL if small else FULL, found)
    report: dict[str, Any] = {
        "begun": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": found.data,
        "before": clocks(),
    }
    machine = Outcome("machine", "", ran=True, rows=tuple(found.rows))
    outcomes: list[Outcome] = []
    for part in PARTS:
        if small and part.name == "tests":  # they take no sizes
            continue
        outcomes.append(run_part(part, small=small))
        last = outcomes[-1]
        word = "held" if last.held else "FAILED"
        print(f"{word:<6}  {last.seconds:6.1f} s  {part.name}: {part.says}", flush=True)
        for failure in last.failures:
            print(f"        {failure}", flush=True)
        _write(report, outcomes, output)
    report["after"] = clocks()
    _write(report, outcomes, output)
    print()
    print("\n".join(table([machine, *outcomes])))
    asserted = outcomes[:ASSERTIONS]
    held = sum(outcome.held for outcome in asserted)
    print(f"\n{held} of {len(asserted)} assertions held. All figures: {output}")
    return 0 if all(outcome.held for outcome in outcomes) else 1


def _write(report: dict[str, Any], outcomes: Sequence[Outcome], output: Path) -> None:
    whole = {**report, "parts": [outcome.as_dict() for outcome in outcomes]}
    output.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


def table(outcomes: Sequence[Outcome]) -> list[str]:
    """Return all rows as lines of one table."""
    rows = [
        (outcome.name, row.what, row.figure, row.note)
        for outcome in outcomes
        for row in outcome.rows
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(3)]
    return [
        "  ".join(
            f"{cell:<{width}}" for cell, width in zip(row, (*widths, 0), strict=True)
        ).rstrip()
        for row in rows
    ]


if __name__ == "__main__":
    sys.exit(main())
