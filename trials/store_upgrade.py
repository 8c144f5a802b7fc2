"""A store of 10,000 parts by an older program is opened by this one, and killed as it is led on.

The older program is the commit that closed the station's issue: it runs from its own worktree. Each
kill comes by strace as the process enters a write to the WAL, or a sync of it. After each kill the
database holds, has all parts, and is of one of the two versions; the next start leads it on. Then
the older program is asked to take the newer store, and goes on from a backup of before.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from trials.resumed import Rows

SEEDS = (0, 1)
OLD = "571f1bb"  # the last commit of the station's issue
PARTS, SEEN, KILLS = 10_000, 200, 100  # all parts, those of a whole station, kills for each seed
_ROOT = Path(__file__).resolve().parent.parent
_FILE = """\
station: press-4
data: data
cameras:
  - {name: top, source: "sim://parts?parts=200&size=240"}
recipes: {default: {window: 32, min_window: 8}}
outputs:
  - {kind: json_lines, path: verdicts.jsonl}
storage: {keep_free_gb: 0, ok_sample: 0.1}
page: {listen: "off"}
"""
_FILL = f"""
import sys
from pathlib import Path
from support.stored_parts import part_message
from zeroline.edge_app.configuration.storage import Storage
from zeroline.edge_app.store.store import Store
with Store(Path(sys.argv[1]), Storage(keep_free_gb=0), station="press-4", events=print) as store:
    first = store.next_number()
    for number in range(first, first + {PARTS - SEEN}):
        about = {{"lot": f"L{{number // 100}}", "serial": f"{{number:06}}"}}
        ticket = store.write(part_message(number, **about))
    assert ticket.wait(60)
"""
_OPEN = """
import sys, time
from pathlib import Path
from zeroline.edge_app.configuration.storage import Storage
from zeroline.edge_app.store.store import Store
began = time.perf_counter()
Store(Path(sys.argv[1]), Storage(keep_free_gb=0), station="press-4", events=print).close()
print(time.perf_counter() - began)
"""


def run(tell: Callable[[str], None], *, seeds: tuple[int, ...], rows: Rows) -> None:
    """Run the trial."""
    for seed in seeds:
        row = rows.once({"seed": seed}, lambda seed=seed: _measured(seed))  # type: ignore[misc]
        tell(", ".join(f"{name} {value}" for name, value in row.items() if name != "commit"))


def _measured(seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        old = Path(folder, "old")
        _git("worktree", "add", "--detach", str(old), OLD)
        try:
            return _Upgrade(Path(folder), old, seed).figures()
        finally:
            _git("worktree", "remove", "--force", str(old))


class _Upgrade:
    """One older store, and what becomes of it."""

    def __init__(self, folder: Path, old: Path, seed: int) -> None:
        self._folder, self._old, self._random = folder, old, random.Random(seed)  # noqa: S311
        self._data, self._file = folder / "data", folder / "station.yaml"

    def figures(self) -> dict[str, Any]:
        self._write_by_the_old()
        before = _version(self._data)
        killed = self._killed()
        started = self._run(_ROOT)
        took = re.search(r"the window goes on with (\d+) frames", started.stderr)
        refused = self._run(self._old)
        lines = self._zeroline(
            _ROOT, "records", "list", "--data", self._data, "--json", "--serial", "009000"
        ).stdout.splitlines()
        return {
            "versions": f"{before} to {_version(self._data)}",
            **killed,
            "exit code of the start": started.returncode,
            "frames of the window that came back": took and int(took[1]),
            "parts after it": _count(self._data),
            "found by serial number": len(lines),
            "the older refuses": refused.returncode == 1 and "a newer zeroline" in refused.stderr,
            "after roll back": self._rolled_back(),
        }

    def _write_by_the_old(self) -> None:
        self._file.write_text(_FILE)
        done = self._run(self._old)
        assert done.returncode == 0, done.stderr  # noqa: S101 - a trial
        self._python(self._old, _FILL, self._data)
        self._zeroline(self._old, "records", "backup", self._folder / "before.tar", "--data",
                       self._data)  # fmt: skip
        assert _count(self._data) == PARTS  # noqa: S101

    def _killed(self) -> dict[str, Any]:
        """Kill copies of the store as they are led on; return figures."""
        calls = {"pwrite64": 0, "fdatasync": 0}
        copy = self._copy("whole")
        log = self._folder / "calls"
        done = self._python(_ROOT, _OPEN, copy, before=_strace(copy, ",".join(calls), log))
        for call in calls:
            calls[call] = len(re.findall(rf"\b{call}\(", log.read_text()))
        killed = {"new": 0, "old": 0}
        damaged = missing = 0
        moments = [("fdatasync", n + 1) for n in range(calls["fdatasync"])]
        writes = range(1, calls["pwrite64"] + 1)
        moments += [
            ("pwrite64", n)
            for n in sorted(self._random.sample(writes, min(KILLS - len(moments), len(writes))))
        ]
        for call, when in moments:
            copy = self._copy("killed")
            before = (*_strace(copy, call), "-e", f"inject={call}:signal=KILL:when={when}")
            self._python(_ROOT, _OPEN, copy, before=before, killed=True)
            damaged += not _holds(copy)
            missing += PARTS - _count(copy)
            killed["old" if _version(copy) == _version(self._data) else "new"] += 1
            self._python(_ROOT, _OPEN, copy)
            damaged += not _holds(copy)
            missing += PARTS - _count(copy)
        return {
            "kills": len(moments),
            "before the step": killed["old"],
            "after it": killed["new"],
            "damaged databases": damaged,
            "missing parts": missing,
            "milliseconds to open and lead on": round(1e3 * float(done.stdout.split()[-1])),
        }

    def _rolled_back(self) -> str:
        """Let the older program go on from the backup of before; return what it has."""
        shutil.rmtree(self._data)
        self._zeroline(
            self._old, "records", "restore", self._folder / "before.tar", "--data", self._data
        )
        parts = _count(self._data)
        done = self._run(self._old)
        return f"{parts} parts, exit code {done.returncode}, then {_count(self._data)}"

    def _copy(self, name: str) -> Path:
        copy = self._folder / name
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        for path in self._data.glob("zeroline.sqlite*"):
            shutil.copy(path, copy)
        return copy

    def _run(self, program: Path) -> subprocess.CompletedProcess[str]:
        return self._process(program, "-m", "zeroline.edge_app", "run", str(self._file))

    def _zeroline(self, program: Path, *words: object) -> subprocess.CompletedProcess[str]:
        done = self._process(program, "-m", "zeroline.edge_app", *map(str, words))
        assert done.returncode == 0, done.stderr  # noqa: S101
        return done

    def _python(
        self,
        program: Path,
        code: str,
        data: Path,
        *,
        before: tuple[str, ...] = (),
        killed: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        done = self._process(program, "-c", code, str(data), before=before)
        assert (done.returncode != 0) == killed, done.stderr  # noqa: S101
        return done

    def _process(
        self, program: Path, *words: str, before: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        places = f"{program / 'src'}:{program / 'tests'}"
        return subprocess.run(  # noqa: S603 - ours
            [*before, sys.executable, *words], capture_output=True, text=True, check=False,
            cwd=self._folder, env={**os.environ, "PYTHONPATH": places},
        )  # fmt: skip


def _strace(data: Path, calls: str, log: Path | None = None) -> tuple[str, ...]:
    """Return the words that trace system calls on a store's files."""
    files = (data / "zeroline.sqlite", data / "zeroline.sqlite-wal")
    paths = [word for file in files for word in ("-P", str(file))]
    return ("strace", "-f", "-o", str(log or os.devnull), *paths, "-e", f"trace={calls}")


def _version(data: Path) -> int:
    return int(_asked(data, "PRAGMA user_version"))


def _holds(data: Path) -> bool:
    return _asked(data, "PRAGMA integrity_check") == "ok"


def _count(data: Path) -> int:
    return int(_asked(data, "SELECT count(*) FROM part"))


def _asked(data: Path, query: str) -> Any:
    with closing(sqlite3.connect(f"file:{data / 'zeroline.sqlite'}?mode=ro", uri=True)) as opened:
        return opened.execute(query).fetchone()[0]


def _git(*words: str) -> None:
    subprocess.run(["git", *words], cwd=_ROOT, check=True, capture_output=True)  # noqa: S603, S607
