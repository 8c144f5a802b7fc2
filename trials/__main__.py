"""``python -m trials NAME``: run a trial. What an earlier run has measured is not done again."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from trials.resumed import Rows

NAMES = (
    "false-alarms", "photographs", "drawn-sets", "poison", "products", "damaged-bundles",
    "damaged-files", "pose", "aligned", "tiles", "defect-sizes", "placed-lines", "laid-tiles",
    "installs", "export-parity", "station-spine", "station-kills", "station-rate",
    "station-switches", "store-upgrade",
)  # fmt: skip


def main() -> None:
    """Run a trial, and print its table."""
    parser = argparse.ArgumentParser(prog="python -m trials", description=__doc__)
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--seeds", help="such as 1,2,3; without: those of docs/reliability.md")
    parser.add_argument("--results", type=Path, default=Path("results/trials"))
    given = parser.parse_args()
    trial = importlib.import_module(f"trials.{given.name.replace('-', '_')}")
    rows = Rows(given.results, given.name)
    seeds = trial.SEEDS if given.seeds is None else tuple(map(int, given.seeds.split(",")))
    trial.run(lambda line: print(line, flush=True), seeds=seeds, rows=rows)


if __name__ == "__main__":
    main()
