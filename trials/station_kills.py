"""kill -9 of a whole station, again and again, while parts come.

Most kills come at a random moment. The others come by strace as the station enters a system call:
an fdatasync, which is a commit, or a rename, which gives a picture its name.

After each kill: the database opens and holds; every verdict that has left without the flag
`unstored` is in it; no picture is half; the station starts with the recipe that it had, and its
first verdict needs no warming up.
"""

from __future__ import annotations

import itertools
import json
import random
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from trials.resumed import Rows
from trials.station_process import Receiver, StationProcess, free_port

SEEDS = tuple(range(8))
RANDOM, WITHIN = 20, 6  # kills for each seed
_FILE = """\
station: trial
data: data
cameras:
  - name: top
    source: "sim://parts?parts=1000000&size=240"
    trigger: {{mode: software}}
recipes:
  default: {{window: 16, min_window: 8, degrees: fused, codegraph: false}}
  a: {{}}
  b: {{window: 12}}
outputs:
  - {{kind: json_lines, path: verdicts.jsonl}}
  - {{kind: webhook, url: "{url}"}}
storage: {{keep_free_gb: 0, ok_sample: 0.3, keep_gb: 1}}
page: {{listen: "127.0.0.1:{port}"}}
"""


def run(tell: Callable[[str], None], *, seeds: tuple[int, ...], rows: Rows) -> None:
    """Run the trial."""
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            kills = Kills(Path(folder), seed)
            row = rows.once({"seed": seed}, kills.all)
        tell(", ".join(f"{key} {value}" for key, value in row.items() if key != "commit"))


class Kills:
    """One station, killed again and again."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - moments
        self._folder, self._data = folder, folder / "data"
        self._receiver, self._port = Receiver(), free_port()
        self._file = folder / "station.yaml"
        self._file.write_text(_FILE.format(url=self._receiver.url, port=self._port))
        self._names = (f"part-{number:06}" for number in itertools.count())
        self._recipe = "default"
        self.figures = {
            "kills": 0, "in a commit": 0, "in a rename": 0, "verdicts": 0, "unstored": 0,
            "missing": 0, "other verdicts": 0, "damaged databases": 0, "half pictures": 0,
            "rows without pictures": 0, "wrong recipes": 0, "first verdicts that warm up": 0,
            "pictures": 0,
        }  # fmt: skip

    def all(self, *, at_random: int = RANDOM, within: int = WITHIN) -> dict[str, Any]:
        """Kill as often as is wanted, and return the figures."""
        began = time.monotonic()
        self._fill()
        kinds = ["random"] * at_random + ["fdatasync", "rename"] * (within // 2)
        self._random.shuffle(kinds)
        for kind in kinds:
            self._once(kind)
            self._check()
        self._finish()
        self._receiver.close()
        return {**self.figures, "seconds": round(time.monotonic() - began)}

    def _fill(self) -> None:
        """Let a first station see parts by each recipe, and stop it: its windows are kept."""
        station = StationProcess(self._file, self._port)
        station.wait_ready()
        for recipe in ("default", "a", "b", "default"):
            for _ in range(14):
                self._trigger(station, recipe=recipe)
        station.wait(lambda: len(self._receiver.parts) >= 50, 120)
        station.stop()

    def _once(self, kind: str) -> None:
        """Start the station, look at its beginning, let parts come, and kill it."""
        before: tuple[str, ...] = ()
        if kind != "random":
            call = "fdatasync" if kind == "fdatasync" else "rename,renameat,renameat2"
            when = (
                self._random.randint(20, 120)
                if kind == "fdatasync"
                else self._random.randint(3, 25)
            )
            before = (
                "strace", "-f", "-o", "/dev/null", "-e", f"trace={call}",
                "-e", f"inject={call}:signal=KILL:when={when}",
            )  # fmt: skip
        seen = len(self._receiver.parts)
        station = StationProcess(self._file, self._port, before=before)
        try:
            station.wait_ready()
            self._look_at_the_first(station, seen)
            over = threading.Event()
            feeding = threading.Thread(target=self._feed, args=(station, over))
            feeding.start()
            if kind == "random":
                time.sleep(self._random.uniform(0.0, 2.0))
                station.kill()
            else:
                end = time.monotonic() + 20
                while station.process.poll() is None and time.monotonic() < end:
                    time.sleep(0.01)
                if station.process.poll() is not None:
                    self.figures["in a commit" if kind == "fdatasync" else "in a rename"] += 1
                _kill_below(station)
            over.set()
            feeding.join()
        except RuntimeError:  # killed before it was ready: that counts too
            if kind != "random":
                self.figures["in a commit" if kind == "fdatasync" else "in a rename"] += 1
        self.figures["kills"] += 1

    def _look_at_the_first(self, station: StationProcess, seen: int) -> None:
        """Look at the recipe and the first verdict after a start."""
        _, state = station.ask("/api/v1/state")
        if state["cameras"]["top"]["recipe"] != self._recipe:
            self.figures["wrong recipes"] += 1
            self._recipe = state["cameras"]["top"]["recipe"]
        name = self._trigger(station)
        station.wait(lambda: any(b["part"] == name for b in self._receiver.parts[seen:]), 20)
        body = next(b for b in self._receiver.parts[seen:] if b["part"] == name)
        if body["reason"] == "warming_up":
            self.figures["first verdicts that warm up"] += 1

    def _feed(self, station: StationProcess, over: threading.Event) -> None:
        while not over.is_set():
            if self._random.random() < 0.03:
                wish = self._random.choice(("default", "a", "b"))
                status, _ = station.ask("/api/v1/recipe", {"recipe": wish, "by": "trial"})
                if status == 200:
                    self._settle(station, wish)
            self._trigger(station)
            time.sleep(0.01)

    def _settle(self, station: StationProcess, wish: str) -> None:
        """Wait until a recipe runs: a switch that was cut off may have happened or not."""
        for _ in range(300):
            status, state = station.ask("/api/v1/state")
            if status != 200:
                self._recipe = self._kept_recipe()
                return
            if state["cameras"]["top"]["recipe"] == wish:
                self._recipe = wish
                return
            time.sleep(0.01)

    def _kept_recipe(self) -> str:
        kept = json.loads((self._data / "state" / "recipes.json").read_text())
        return str(kept["top"]["running"])

    def _trigger(self, station: StationProcess, **more: str) -> str:
        name = next(self._names)
        while station.ask("/api/v1/trigger", {"name": "main", "part": name, **more})[0] == 503:
            time.sleep(0.02)
        return name

    def _check(self) -> None:
        """Look at what a kill has left, before the next start."""
        try:
            path = f"file:{self._data / 'zeroline.sqlite'}?mode=ro"
            with closing(sqlite3.connect(path, uri=True)) as opened:
                if opened.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
                    self.figures["damaged databases"] += 1
                stored = dict(opened.execute("SELECT id, verdict FROM part").fetchall())
                pictures = [row[0] for row in opened.execute("SELECT path FROM picture")]
        except sqlite3.DatabaseError:
            self.figures["damaged databases"] += 1
            return
        for body in self._receiver.parts:
            if body["unstored"] or body["late"]:
                continue
            verdict = stored.get(body["part"])
            self.figures["missing"] += verdict is None
            self.figures["other verdicts"] += verdict not in (None, body["verdict"])
        self._look_at_pictures(pictures)

    def _look_at_pictures(self, rows: list[str]) -> None:
        folder = self._data / "pictures"
        self.figures["rows without pictures"] += sum(
            not ((self._data / row).is_file() or (folder / row).is_file()) for row in rows
        )
        whole = 0
        for path in folder.rglob("*"):
            if path.suffix == ".png":
                good = cv2.imread(str(path)) is not None
            elif path.suffix == ".npy":
                good = _loads(path)
            else:
                continue
            whole += good
            self.figures["half pictures"] += not good
        self.figures["pictures"] = whole

    def _finish(self) -> None:
        """Start once more without a kill: everything that is stored arrives at the server."""
        station = StationProcess(self._file, self._port)
        station.wait_ready()
        with closing(
            sqlite3.connect(f"file:{self._data / 'zeroline.sqlite'}?mode=ro", uri=True)
        ) as opened:
            stored = {row[0] for row in opened.execute("SELECT id FROM part")}
        end = time.monotonic() + 60
        while time.monotonic() < end and stored - {b["part"] for b in self._receiver.parts}:
            time.sleep(0.2)
        station.stop()
        sent = [body["part"] for body in self._receiver.parts]
        self.figures["verdicts"] = len(set(sent))
        self.figures["unstored"] = sum(body["unstored"] for body in self._receiver.parts)
        self.figures["stored and never sent"] = len(stored - set(sent))
        self.figures["sent twice"] = len(sent) - len(set(sent))


def _loads(path: Path) -> bool:
    try:
        return bool(np.load(path, allow_pickle=False).size)
    except (ValueError, OSError, EOFError):
        return False


def _kill_below(station: StationProcess) -> None:
    """End strace and what it watches."""
    import psutil

    try:
        watcher = psutil.Process(station.process.pid)
        for one in (*watcher.children(recursive=True), watcher):
            one.kill()
    except psutil.NoSuchProcess:
        pass
    station.process.wait()
