"""Records as files for others: a table, and labelled folders that ``evaluate`` reads."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zeroline.edge_app.control import Answer
from zeroline.edge_app.errors import OutputError
from zeroline.edge_app.runs import iso_time
from zeroline.edge_app.store.files import safe_name
from zeroline.edge_app.store.reading import Records, Wanted
from zeroline.edge_app.writing import check_new, whole_file

COLUMNS = (
    "part", "time", "verdict", "reason", "revised", "late", "unstored", "lot", "serial", "camera",
    "recipe", "recipe_version", "camera_verdict", "camera_reason", "score", "raw_score",
    "threshold", "recurring", "regions", "fault", "decided_ms", "answer", "station", "run",
    "message",
)  # fmt: skip


def write_table(records: Records, wanted: Wanted, path: Path) -> int:
    """Write a CSV table: a row for each camera of each part, times in UTC; return its rows.

    Raises
    ------
    OutputError
        If it cannot be written; then there is none.
    """
    count, answers = 0, records.answers()
    with whole_file(path) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for part in records.parts(wanted, newest_first=False):
            for frame in part["frames"] or [{}]:
                if wanted.camera in (None, frame.get("camera")):
                    writer.writerow(_row(part, frame, answers.get(part["id"])))
                    count += 1
    return count


def _row(part: dict[str, Any], frame: dict[str, Any], answer: str | None) -> Iterator[str]:
    boxes = (" ".join(map(str, box)) for box in frame.get("regions") or ())
    own = {
        "part": part["id"], "time": iso_time(part["wall"]), "message": part["number"],
        "camera_verdict": frame.get("verdict"), "camera_reason": frame.get("reason"),
        "regions": ";".join(boxes), "answer": answer,
    }  # fmt: skip
    for column in COLUMNS:
        value = own[column] if column in own else part.get(column, frame.get(column))
        if isinstance(value, bool):
            yield str(value).lower()
        else:
            yield "" if value is None else str(value)


def write_folders(records: Records, wanted: Wanted, folder: Path) -> tuple[Counter[str], int]:
    """Copy kept raw pictures into ``<camera>/test/<kind>/``, the layout that ``evaluate`` reads.

    What a person said of a part goes before its verdict. `false_alarm`: good. `missed`: the kind
    `missed`. `rightly_ng`, or NG without an answer: the reason of the NG. An OK without an answer
    is good. A revision replaces a verdict. What nobody could judge (UNCERTAIN, FAULT) is left out,
    unless a person has.

    Parameters
    ----------
    records : Records
    wanted : Wanted
    folder : Path
        Empty, or not there yet.

    Returns
    -------
    Counter
        Pictures by camera and kind: ``top/good``.
    int
        Kept pictures that were left out, since nobody knows what they show.

    Raises
    ------
    InputError
        If the folder is not empty.
    OutputError
        If it cannot be written.
    """
    check_new(folder)
    counts, left_out, answers = Counter[str](), 0, records.answers()
    for part in records.parts(wanted, newest_first=False):
        kept = records.pictures(part["id"], "raw")
        revisions = records.revisions(part["id"]) if part["revised"] else {}
        for frame in part["frames"]:
            camera = frame["camera"]
            source = records.data / kept.get(camera, "")
            if wanted.camera not in (None, camera) or not source.is_file():
                continue
            kind = _kind(revisions.get(camera, frame), answers.get(part["id"]))
            if kind is None:
                left_out += 1
                continue
            # a name may end as that of a mask does: a camera's name after it makes it none
            name = f"{safe_name(part['id'])}.{safe_name(camera)}.png"
            _copy(source, folder / safe_name(camera) / "test" / kind / name)
            counts[f"{camera}/{kind}"] += 1
    return counts, left_out


def _kind(said: dict[str, Any], answer: str | None) -> str | None:
    """Return the folder of a picture by what was said of its frame last; None: nobody knows."""
    if answer == Answer.FALSE_ALARM.value:
        return "good"
    if answer == Answer.MISSED.value:
        return "missed"
    if said["verdict"] == "NG":
        return str(said["reason"])
    if said["verdict"] == "OK":
        return "good"
    return None


def _copy(source: Path, target: Path) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(target, "wb", sync=False) as file, source.open("rb") as opened:
            shutil.copyfileobj(opened, file)
    except OSError as error:
        raise OutputError(f'"{target}" could not be written: {error.strerror}') from error
