"""Events: what a person may have to know later, by stable names."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from zeroline.runtime.frames import CaptureTime
from zeroline.runtime.reference.sets import ReferenceReport
from zeroline.runtime.results import Inspection, Reason, RecurringDefect
from zeroline.runtime.stages.modes import TwoGroups

_log = logging.getLogger(__name__)


class EventName(str, Enum):
    """The vocabulary; a name never changes its meaning."""

    PART = "part"
    REVISION = "revision"
    RECURRING_BEGIN = "recurring.begin"
    RECURRING_END = "recurring.end"
    RECURRING_ACKNOWLEDGED = "recurring.ack"
    RECURRING_WITHDRAWN = "recurring.withdrawn"
    RECURRING_SEARCH_FAILED = "recurring.search_failed"
    SCORES_TWO_GROUPS = "scores.two_groups"
    CAMERA_LOST = "camera.lost"
    CAMERA_BACK = "camera.back"
    CAMERA_FROZEN = "camera.frozen"
    CAMERA_HEALTH = "camera.health"
    SOURCE_COUNT = "source.count"
    SOURCE_MASKS = "source.masks"
    SOURCE_KEPT = "source.kept"
    RECIPE_SWITCHED = "recipe.switched"
    THRESHOLD_CHANGED = "threshold.changed"
    FEEDBACK = "feedback"
    FRAMING_CHANGED = "framing.changed"
    REFERENCE_CHANGED = "reference.changed"
    STORAGE_LOW = "storage.low"
    STORAGE_FULL = "storage.full"
    STORAGE_BACK = "storage.back"
    STORAGE_MIGRATED = "storage.migrated"
    STORAGE_LATE = "storage.late"
    OUTPUT_LOST = "output.lost"
    OUTPUT_BACK = "output.back"
    OUTPUT_DROPPED = "output.dropped"
    STATION_START = "station.start"
    STATION_STOP = "station.stop"
    STATION_FAULT = "station.fault"
    STATION_PAUSED = "station.paused"
    STATION_RESUMED = "station.resumed"
    TRIGGER_MISSED = "trigger.missed"
    TRIGGER_LATE = "trigger.late"
    PRODUCT_OTHER = "product.other"
    PART_NOT_FOUND = "part.not_found"
    CHALLENGE_PASSED = "challenge.passed"
    CHALLENGE_FAILED = "challenge.failed"
    CHALLENGE_OVERDUE = "challenge.overdue"
    LOGIN_FAILED = "login.failed"


@dataclass(frozen=True)
class Event:
    """Something that happened.

    Attributes
    ----------
    name : EventName
        What kind of thing.
    text : str
        One line for people.
    data : mapping
        Figures and names for programs; JSON values.
    station, camera, part : str or None
        Where, and with which part.
    time : CaptureTime
        When.
    """

    name: EventName
    text: str
    data: Mapping[str, Any] = field(default_factory=dict)
    station: str | None = None
    camera: str | None = None
    part: str | None = None
    time: CaptureTime = field(default_factory=CaptureTime.now)


#: Takes an event; may be called from any thread.
Listener = Callable[[Event], None]


class Events:
    """Passes events on to those who listen, and to the log; a listener that fails stops nothing."""

    def __init__(self) -> None:
        self._listeners: list[Listener] = []
        self._lock = threading.Lock()

    def listen(self, listener: Listener) -> None:
        """Pass every event from now on to a listener, one at a time."""
        with self._lock:
            self._listeners.append(listener)

    def __call__(self, event: Event) -> None:
        """Pass an event on."""
        _log.info("%s: %s", event.name.value, event.text)
        with self._lock:
            for listener in self._listeners:
                _pass_on(event, listener)


class HeldEvents:
    """Keeps events until their listener is there; then it hears all of them, in order.

    Parameters
    ----------
    events : Events
        Listened to from now on.
    """

    def __init__(self, events: Events) -> None:
        self._held: list[Event] = []
        self._listener: Listener | None = None
        self._lock = threading.Lock()
        events.listen(self._hear)

    def pass_to(self, listener: Listener) -> None:
        """Pass what was held, and every event from now on, to a listener."""
        with self._lock:
            for event in self._held:
                _pass_on(event, listener)
            self._held.clear()
            self._listener = listener

    def _hear(self, event: Event) -> None:
        with self._lock:
            if self._listener is None:
                self._held.append(event)
                return
            listener = self._listener
        _pass_on(event, listener)


def _pass_on(event: Event, listener: Listener) -> None:
    try:
        listener(event)
    except Exception:  # noqa: BLE001 - others, and the line, go on
        _log.warning("an event could not be passed on", exc_info=True)


def described_defect(defect: RecurringDefect) -> dict[str, Any]:
    """Return a recurring defect as a JSON object."""
    return {
        "defect": defect.number,
        "one_place": defect.one_place,
        "since": defect.since,
        "since_part": defect.since_part,
        "frames": list(defect.frames),
        "share": round(defect.share, 4),
    }


#: From so many frames of another product in a row on it is no chance.
OTHER_PRODUCT_FROM = 3


def _other_product(inspection: Inspection, *, anew: bool) -> Event:
    count = inspection.other_in_a_row
    then = "the window begins anew with them" if anew else "another product, or no part"
    return Event(
        EventName.PRODUCT_OTHER,
        f"{count} frames in a row are unlike the window: {then}",
        {"frame": inspection.frame_id, "in_a_row": count, "begun_anew": anew},
        part=inspection.part_id,
    )


def events_of_reference(path: str, report: ReferenceReport) -> list[Event]:
    """Return what a person has to know of a reference set that was loaded.

    Parameters
    ----------
    path : str
        Its file.
    report : ReferenceReport
        From `RollingInspector.load_reference`.
    """
    if not report.warning:
        return []
    left_out = [one.name for one in report.left_out]
    return [
        Event(
            EventName.REFERENCE_CHANGED,
            f'warning: reference "{path}": {report.warning}; {len(left_out)} left out: make it '
            "anew with zeroline reference build",
            {
                "reference": path,
                "frames": report.frames,
                "left_out": left_out,
                "warning": report.warning,
            },
        )
    ]


def _withdrawn(defect: RecurringDefect) -> Event:
    return Event(
        EventName.RECURRING_WITHDRAWN,
        f"withdrawn: {defect}; later frames do not bear it out, parts that were NG stay NG",
        described_defect(defect),
        part=defect.since_part,
    )


def _two_groups(groups: TwoGroups) -> Event:
    low, high = groups.middles
    return Event(
        EventName.SCORES_TWO_GROUPS,
        f"the scores lie in two groups, {groups.below} about {low:.2f} and {groups.above} about "
        f"{high:.2f}: the camera may see two views, and the automatic threshold spans both",
        {"below": groups.below, "above": groups.above, "middles": [low, high]},
    )


def events_of(inspection: Inspection) -> list[Event]:
    """Return what an inspected frame has brought besides its own verdict."""
    events = [
        Event(
            EventName.RECURRING_BEGIN,
            f"ALARM: {defect}",
            described_defect(defect),
            part=defect.since_part,
        )
        for defect in inspection.alarms
    ]
    events += [_withdrawn(defect) for defect in inspection.withdrawn]
    if inspection.two_groups is not None:
        events.append(_two_groups(inspection.two_groups))
    anew = inspection.other_in_a_row > 0 and inspection.reason is not Reason.OTHER_PRODUCT
    if inspection.other_in_a_row == OTHER_PRODUCT_FROM or anew:
        events.append(_other_product(inspection, anew=anew))
    if inspection.unplaced_in_a_row == 1:
        assert inspection.reason is not None  # noqa: S101 - it is UNCERTAIN
        events.append(
            Event(
                EventName.PART_NOT_FOUND,
                f"frame {inspection.frame_id}: {inspection.fault}. It is not inspected",
                {"frame": inspection.frame_id, "reason": inspection.reason.value},
                part=inspection.part_id,
            )
        )
    if inspection.device_failed:
        events.append(
            Event(
                EventName.STATION_FAULT,
                f"frame {inspection.frame_id} is FAULT: {inspection.device_failed}",
                {"frame": inspection.frame_id, "reason": inspection.device_failed},
                part=inspection.part_id,
            )
        )
    if inspection.search_failed:
        text = f"a search for recurring defects failed: {inspection.search_failed}"
        events.append(
            Event(
                EventName.RECURRING_SEARCH_FAILED,
                text,
                {"frame": inspection.frame_id, "reason": inspection.search_failed},
            )
        )
    return events
