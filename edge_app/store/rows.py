"""Messages as rows."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

from zeroline.edge_app.events import EventName, described_defect
from zeroline.edge_app.messages import Message
from zeroline.edge_app.parts import CameraView, JudgedPart
from zeroline.edge_app.store.entries import Statement


def _insert(table: str, count: int, *, more: str = "") -> str:
    return f"INSERT INTO {table} VALUES ({', '.join('?' * count)}){more}"  # noqa: S608 - ours


# a number that is there already is an error; an id that is there has its verdict
_PART = _insert("part", 13, more=" ON CONFLICT (id) DO NOTHING")
_LATER = (
    "INSERT INTO later_verdict SELECT ?, ?, ?, ?, ?, ?, ?, ? "
    "WHERE NOT EXISTS (SELECT 1 FROM part WHERE number = ?)"
)
_LATE = "UPDATE part SET late = 1 WHERE id = ?"
_FRAME = _insert("frame", 20)
_REVISION = _insert("revision", 12)
#: A part is as bad as the worst of its cameras: a better look of one of several changes nothing.
_RANK = "instr('OK UNCERTAIN NG FAULT', {})"
_REVISED = (
    "UPDATE part SET revised = ? WHERE id = ? AND ("  # noqa: S608 - ours
    f"{_RANK.format('?')} > {_RANK.format('coalesce(revised, verdict)')} "
    "OR (SELECT count(*) FROM frame WHERE frame.number = part.number) = 1)"
)
_EVENT = _insert("event", 10)
UNSTORED = "UPDATE part SET unstored = 1 WHERE number = ?"


def as_json(value: Any) -> str:
    """Return a value as JSON without spaces.

    Raises
    ------
    ValueError
        If it has NaN or an infinite number.
    """
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def rows_of(message: Message, *, station: str) -> tuple[Statement, ...]:
    """Return what a message writes; nothing of it refers to a frame's pixels.

    Parameters
    ----------
    message : Message
    station : str
        Name of the station.
    """
    if message.part is not None:
        return tuple(_rows_of_part(message, message.part, station))
    run = message.body.get("run_id")
    row: tuple[Any, ...]
    if message.revision is not None:
        revision, scores = message.revision, message.revision.scores
        row = (
            message.number, revision.part_id, message.camera, run, time.time(),
            revision.verdict.value, revision.reason and revision.reason.value, revision.first.value,
            revision.recurring, scores and scores.score, scores and scores.raw_score,
            scores and scores.threshold,
        )  # fmt: skip
        verdict = revision.verdict.value
        return (_REVISION, row), (_REVISED, (verdict, revision.part_id, verdict))
    if message.alarm is not None:
        alarm = message.alarm
        row = (
            message.number, time.time(), EventName.RECURRING_BEGIN.value, run, station,
            message.camera, alarm.since_part, None, f"ALARM: {alarm}",
            as_json(described_defect(alarm)),
        )  # fmt: skip
        return ((_EVENT, row),)
    if message.event is None:
        raise ValueError(f"message {message.number} has no part, revision, alarm or event")
    event = message.event
    row = (
        message.number, event.time.wall, event.name.value, run, event.station or station,
        event.camera or message.camera, event.part, event.data.get("by"), event.text,
        as_json(dict(event.data)),
    )  # fmt: skip
    return ((_EVENT, row),)


def _rows_of_part(message: Message, part: JudgedPart, station: str) -> Iterator[Statement]:
    number, name, run = message.number, part.name, message.body.get("run_id")
    said = (part.verdict.value, part.reason and part.reason.value)
    decided = round(1e3 * (part.decided - part.time.monotonic), 3)
    yield (
        _PART,
        (
            number, name.id, station, run, part.time.wall, *said, part.late, message.unstored,
            name.lot, name.serial, decided, None,
        ),
    )  # fmt: skip
    yield _LATER, (number, name.id, run, part.time.wall, *said, part.late, decided, number)
    if part.late:
        yield _LATE, (name.id,)
    bundles = _bundles(message.body)
    for view in part.views:
        yield _FRAME, _frame(number, view, bundles.get(view.camera, message.body.get("bundle")))


def _bundles(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the bundle of each camera, where a body has it."""
    return {one["camera"]: one.get("bundle") for one in body.get("cameras") or ()}


def _frame(number: int, view: CameraView, bundle: str | None) -> tuple[Any, ...]:
    seen, scores = view.inspection, view.inspection.scores
    return (
        number, view.camera, view.recipe, view.recipe_version, bundle, view.captured.name,
        seen.frame_id, seen.wall_time, seen.verdict.value, seen.reason and seen.reason.value,
        scores and scores.score, scores and scores.raw_score, scores and scores.threshold,
        seen.recurring, seen.near_duplicate, seen.admitted, seen.compared_with,
        as_json([[r.x, r.y, r.width, r.height] for r in seen.regions]), seen.fault or None,
        as_json({name: round(1e3 * s, 3) for name, s in seen.latency.items()}),
    )  # fmt: skip
