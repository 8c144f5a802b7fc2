"""Bodies: a part, a revision, an alarm, an event as the JSON object that docs/outputs.md describes.

Each is made once. The store keeps it, and every output sends the same.
"""

from __future__ import annotations

from typing import Any

from zeroline.edge_app.captured import Captured
from zeroline.edge_app.events import Event, described_defect
from zeroline.edge_app.parts import CameraView, JudgedPart
from zeroline.edge_app.runs import Run, iso_time
from zeroline.runtime.results import Inspection, RecurringDefect, Revision


def part_body(part: JudgedPart, *, number: int, run: Run, station: str) -> dict[str, Any]:
    """Return a part and its verdict as a JSON object.

    The fields of a frame are those of the view whose verdict the part has, or of the only view.
    They are empty where there is neither.

    Parameters
    ----------
    part : JudgedPart
    number : int
        Of the message.
    run : Run
    station : str
        Its name.
    """
    decisive = part.decisive
    only = part.views[0] if len(part.views) == 1 else None
    view = decisive or only
    frame = _no_frame(part) if view is None else described(view.captured, view.inspection)
    return {
        "frame": frame.pop("frame"),
        "run_id": run.id,
        "message": number,
        "station": station,
        "camera": view and view.camera,
        "recipe": view and view.recipe,
        "recipe_version": view and view.recipe_version,
        "bundle": view and view.bundle,
        "part": part.name.id,
        "lot": part.name.lot,
        "serial": part.name.serial,
        "verdict": part.verdict.value,
        "reason": part.reason and part.reason.value,
        "late": part.late,
        **frame,
        "time": iso_time(frame["wall_time"]),
        "address": run.address,
        # one view that tells all is not told twice
        "cameras": [] if decisive and decisive is only else [_camera(one) for one in part.views],
    }


def revision_body(
    revision: Revision, *, number: int, run: Run, station: str, camera: str
) -> dict[str, Any]:
    """Return an earlier frame's new verdict as a JSON object; parameters as of `part_body`."""
    scores = revision.scores
    return {
        "revision_of": revision.frame_id,
        "run_id": run.id,
        "message": number,
        "station": station,
        "camera": camera,
        "part": revision.part_id,
        "verdict": revision.verdict.value,
        "reason": revision.reason and revision.reason.value,
        "first_verdict": revision.first.value,
        "recurring": revision.recurring,
        "score": scores and scores.score,
        "raw_score": scores and scores.raw_score,
        "threshold": scores and scores.threshold,
    }


def alarm_body(
    defect: RecurringDefect, *, number: int, run: Run, station: str, camera: str
) -> dict[str, Any]:
    """Return a recurring defect that was found as a JSON object; parameters as of `part_body`."""
    return {
        "alarm": "recurring defect",
        "run_id": run.id,
        "message": number,
        "station": station,
        "camera": camera,
        **described_defect(defect),
    }


def event_body(event: Event, *, number: int, run: Run, station: str) -> dict[str, Any]:
    """Return an event as a JSON object; a key of its data never hides one of these.

    Parameters as of `part_body`.
    """
    fixed = {
        "event": event.name.value,
        "run_id": run.id,
        "message": number,
        "station": station,
        "camera": event.camera,
        "part": event.part,
        "text": event.text,
        "wall_time": event.time.wall,
        "time": iso_time(event.time.wall),
    }
    return fixed | {key: value for key, value in event.data.items() if key not in fixed}


def described(captured: Captured, inspection: Inspection) -> dict[str, Any]:
    """Return what is known of a frame as a JSON object, without its verdict."""
    scores = inspection.scores
    return {
        "frame": inspection.frame_id,
        "source": captured.name,
        "score": scores and scores.score,
        "raw_score": scores and scores.raw_score,
        "threshold": scores and scores.threshold,
        "recurring": inspection.recurring,
        "near_duplicate": inspection.near_duplicate,
        "admitted": inspection.admitted,
        "compared_with": inspection.compared_with,
        "regions": [[r.x, r.y, r.width, r.height] for r in inspection.regions],
        "pose": described_pose(inspection),
        "fault": inspection.fault or None,
        "dropped": captured.dropped,
        "wall_time": inspection.wall_time,
        "monotonic_time": inspection.monotonic_time,
        "latency_ms": {name: round(1e3 * s, 3) for name, s in inspection.latency.items()},
    }


def described_pose(inspection: Inspection) -> dict[str, float] | None:
    """Return where the part lies as a JSON object; None where it was not looked for."""
    pose, view = inspection.pose, inspection.view
    if pose is None or view is None:
        return None
    ((x, y),) = view.to_picture([(0.5, 0.5)]).tolist()
    return {
        "x": round(x, 2),
        "y": round(y, 2),
        "turn": round(pose.turn, 3),
        "quality": round(pose.quality, 3),
        "in_view": round(pose.in_view, 3),
    }


def _no_frame(part: JudgedPart) -> dict[str, Any]:
    """Return the fields of a frame for a part that has none that decides."""
    nothing = Inspection(-1, None, part.verdict, part.reason, part.time.wall, part.time.monotonic)
    return {**described(Captured(None, ""), nothing), "frame": None}


def _camera(view: CameraView) -> dict[str, Any]:
    """Return what one of several cameras saw as a JSON object."""
    captured, inspection = view.captured, view.inspection
    scores = inspection.scores
    return {
        "camera": view.camera,
        "frame": inspection.frame_id,
        "source": captured.name,
        "recipe": view.recipe,
        "recipe_version": view.recipe_version,
        "bundle": view.bundle,
        "verdict": inspection.verdict.value,
        "reason": inspection.reason and inspection.reason.value,
        "score": scores and scores.score,
        "threshold": scores and scores.threshold,
        "regions": [[r.x, r.y, r.width, r.height] for r in inspection.regions],
        "fault": inspection.fault or None,
    }
