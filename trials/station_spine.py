"""500 photographs through a whole station: by a watched folder, and by triggers of four clients.

Every name has one verdict in the store and at a real HTTP server, and the image AUROC is that of
``zeroline run --source`` on the same pictures.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trials.resumed import Rows
from trials.shared import shared_folder
from trials.station_process import Receiver, StationProcess, free_port, rows

SEEDS = (0,)
COUNT = 500
_FILE = """\
station: trial
data: data
cameras:
  - name: top
    source: "{source}"
    trigger: {{mode: {mode}, queue: 32}}
recipes: {{default: {{matching: exact}}}}
outputs:
  - {{kind: json_lines, path: verdicts.jsonl}}
  - {{kind: webhook, url: "{url}"}}
storage: {{keep_free_gb: 0}}
page: {{listen: "127.0.0.1:{port}"}}
"""


def run(tell: Callable[[str], None], *, seeds: tuple[int, ...], rows: Rows) -> None:
    """Run the trial."""
    ways = {"options": _options, "watched folder": _watched, "triggers": _asked}
    for seed in seeds:
        for way, measure in ways.items():
            key = {"seed": seed, "way": way}
            row = rows.once(key, lambda measure=measure: _in_folder(measure))  # type: ignore[misc]
            tell(", ".join(f"{name} {value}" for name, value in row.items() if name != "commit"))


def _in_folder(measure: Callable[[Path, list[Path]], dict[str, Any]]) -> dict[str, Any]:
    """Measure in a folder that lies in memory where the machine has one."""
    memory = Path("/dev/shm")  # noqa: S108 - a tmpfs
    where = memory if memory.is_dir() else None
    with tempfile.TemporaryDirectory(dir=where) as folder:
        return measure(Path(folder), pictures())


def pictures() -> list[Path]:
    """Return 500 pictures: those of the set in one order, again and again.

    A picture comes again after 147 others, when the window of 64 has forgotten it.
    """
    found = sorted((shared_folder() / "data" / "tiles" / "test").glob("*/*.png"))
    found.sort(key=lambda path: hash_of(path.parent.name + path.name))
    return [found[number % len(found)] for number in range(COUNT)]


def hash_of(text: str) -> int:
    """Return a number for a text, the same in every run."""
    value = 0
    for byte in text.encode():
        value = (value * 131 + byte) % 1_000_003
    return value


def auroc(parts: Mapping[str, dict[str, Any]], given: list[Path]) -> float:
    """Return the image AUROC of raw scores by name; parts without a score are left out."""
    from sklearn.metrics import roc_auc_score

    scored = [
        (given[number].parent.name != "good", parts[f"{number:04}.png"]["raw_score"])
        for number in range(COUNT)
        if parts[f"{number:04}.png"]["raw_score"] is not None
    ]
    return float(roc_auc_score(*zip(*scored, strict=True)))


def _options(folder: Path, given: list[Path]) -> dict[str, Any]:
    source = folder / "pictures"
    source.mkdir()
    for number, path in enumerate(given):
        shutil.copy(path, source / f"{number:04}.png")
    command = [sys.executable, "-m", "zeroline.edge_app", "run", "--source", str(source)]
    lines = subprocess.run(  # noqa: S603 - ours
        [*command, "--matching", "exact"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    parts = {body["part"]: body for body in map(json.loads, lines) if "late" in body}
    return {"verdicts": len(parts), "auroc": round(auroc(parts, given), 4)}


def _watched(folder: Path, given: list[Path]) -> dict[str, Any]:
    incoming = folder / "incoming"
    incoming.mkdir()

    def bring(station: StationProcess, receiver: Receiver) -> None:
        for number, path in enumerate(given):
            hidden = incoming / f".{number:04}.png"
            shutil.copy(path, hidden)
            hidden.rename(incoming / f"{number:04}.png")
            time.sleep(0.02)
        station.wait(lambda: len(receiver.parts) >= COUNT, 120)

    return _station(folder, given, bring, source="watch:incoming?after=move", mode="every-frame")


def _asked(folder: Path, given: list[Path]) -> dict[str, Any]:
    source = folder / "pictures"
    source.mkdir()
    for number, path in enumerate(given):
        shutil.copy(path, source / f"{number:04}.png")
    names = iter([f"part-{number:04}" for number in range(COUNT)])
    lock = threading.Lock()

    def client(station: StationProcess) -> None:
        while True:
            with lock:
                name = next(names, None)
            if name is None:
                return
            while station.ask("/api/v1/trigger", {"name": "main", "part": name})[0] == 503:
                time.sleep(0.01)

    def bring(station: StationProcess, receiver: Receiver) -> None:
        threads = [threading.Thread(target=client, args=(station,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        end = time.monotonic() + 120
        while len(receiver.parts) < COUNT and time.monotonic() < end:
            time.sleep(0.1)

    return _station(folder, given, bring, source="pictures", mode="software")


def _station(
    folder: Path,
    given: list[Path],
    bring: Callable[[StationProcess, Receiver], None],
    *,
    source: str,
    mode: str,
) -> dict[str, Any]:
    receiver, port, file = Receiver(), free_port(), folder / "station.yaml"
    file.write_text(_FILE.format(source=source, mode=mode, url=receiver.url, port=port))
    station = StationProcess(file, port)
    station.wait_ready()
    began = time.monotonic()
    bring(station, receiver)
    seconds = time.monotonic() - began
    code, took = (
        station.stop() if station.process.poll() is None else (station.process.returncode, 0)
    )
    stored = rows(folder / "data", "SELECT id, verdict FROM part")
    sent = [body["part"] for body in receiver.parts]
    lines = (folder / "data" / "verdicts.jsonl").read_text().splitlines()
    written = [body["part"] for body in map(json.loads, lines) if "late" in body]
    by_source = {body["source"]: body for body in receiver.parts}
    receiver.close()
    return {
        "parts": COUNT,
        "in the store": len(stored),
        "at the server": len(sent),
        "twice at the server": len(sent) - len(set(sent)),
        "same names": set(sent) == {name for name, _ in stored} == set(written),
        "same verdicts": {b["part"]: b["verdict"] for b in receiver.parts} == dict(stored),
        "FAULT": sum(verdict == "FAULT" for _, verdict in stored),
        "auroc": round(auroc(by_source, given), 4),
        "seconds": round(seconds, 1),
        "exit code": code,
        "stop s": round(took, 2),
    }
