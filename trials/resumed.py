"""Rows of a trial, kept in a file, so that a trial that was broken off goes on where it was.

Rows are of one version of the program: after a commit the trial begins anew.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Rows:
    """Rows by their keys.

    Parameters
    ----------
    folder : Path
        Made if need be.
    name : str
        Of the trial.
    """

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._path = folder / f"{name}.jsonl"
        self._commit = _commit()

    def all(self) -> list[dict[str, Any]]:
        """Return the rows of this version of the program."""
        if not self._path.is_file():
            return []
        rows = [json.loads(line) for line in self._path.read_text().splitlines()]
        return [row for row in rows if row["commit"] == self._commit]

    def once(self, key: dict[str, Any], measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return the row of a key, measured if it is not there."""
        for row in self.all():
            if all(row.get(name) == value for name, value in key.items()):
                return row
        row = {"commit": self._commit} | key | measure()
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")
        return row


def _commit() -> str:
    """Return the version of the program, "unknown" where it is not in git."""
    done = subprocess.run(
        ["git", "rev-parse", "HEAD"],  # noqa: S607 - as the user's path has it
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip() or "unknown"
