"""Figures for Prometheus: what has passed, and how the station is now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from zeroline.edge_app.control import Control
from zeroline.edge_app.messages import Kind, Message
from zeroline.edge_app.parts import JudgedPart
from zeroline.runtime.errors import MissingExtraError

#: Upper ends of the histograms, in seconds.
_STAGE_BINS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_VERDICT_BINS = (0.005, 0.01, 0.02, 0.033, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0)


class Metrics:
    """Counts messages, and reads a station's state when it is asked.

    Raises
    ------
    MissingExtraError
        Without prometheus-client.
    """

    def __init__(self) -> None:
        try:
            import prometheus_client as client
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                "prometheus-client", extra="app", purpose="for metrics"
            ) from error
        self._client: Any = client
        self._registry = client.CollectorRegistry()
        client.ProcessCollector(registry=self._registry)

        def counter(name: str, text: str, *labels: str) -> Any:
            return client.Counter(f"zeroline_{name}", text, labels, registry=self._registry)

        self._parts = counter("parts", "Parts with a verdict.", "camera", "verdict", "reason")
        self._late = counter("late_verdicts", "Verdicts that came after their deadline.")
        self._dropped = counter("dropped_frames", "Frames that were not taken.", "camera")
        self._revisions = counter("revisions", "Parts judged anew.", "camera")
        self._alarms = counter("alarms", "Recurring defects that were found.", "camera")
        self._events = counter("events", "Events.", "event")
        self._unstored = counter("unstored", "Messages that left before the store had them.")
        self._stages = client.Histogram(
            "zeroline_stage_seconds", "Time of a stage.", ("camera", "stage"),
            buckets=_STAGE_BINS, registry=self._registry,
        )  # fmt: skip
        self._verdict = client.Histogram(
            "zeroline_verdict_seconds", "From the capture of a part to its verdict.",
            buckets=_VERDICT_BINS, registry=self._registry,
        )  # fmt: skip
        self._children: dict[tuple[str, ...], Any] = {}

    def take(self, message: Message, /) -> None:
        """Count a message; from any thread."""
        if message.unstored:
            self._unstored.inc()
        if message.part is not None:
            self._take_part(message.part)
        elif message.event is not None:
            self._of(self._events, message.event.name.value).inc()
        elif message.camera is not None:
            kinds = {Kind.REVISION: self._revisions, Kind.ALARM: self._alarms}
            self._of(kinds[message.kind], message.camera).inc()

    def page(self, control: Control, *, accept: str = "") -> tuple[bytes, str]:
        """Return all figures in the form that is asked for, and its content type.

        Parameters
        ----------
        control : Control
            Its state is read now.
        accept : str
            Header of the request: the older text, or OpenMetrics.
        """
        from prometheus_client.exposition import choose_encoder

        encode, kind = choose_encoder(accept)
        state = self._client.CollectorRegistry()
        state.register(_Now(control))
        return _joined(encode(self._registry), encode(state)), kind

    def _take_part(self, part: JudgedPart) -> None:
        if part.late:
            self._late.inc()  # it was counted when it was FAULT
            return
        view = part.decisive
        reason = part.reason.value if part.reason is not None else ""
        self._of(self._parts, view.camera if view else "", part.verdict.value, reason).inc()
        self._verdict.observe(max(0.0, part.decided - part.time.monotonic))
        for one in part.views:
            for stage, seconds in one.inspection.latency.items():
                self._of(self._stages, one.camera, stage).observe(seconds)
            if one.captured.dropped:
                self._of(self._dropped, one.camera).inc(one.captured.dropped)

    def _of(self, family: Any, *labels: str) -> Any:
        """Return the counter of some labels; prometheus-client takes a lock to find it."""
        key = (family._name, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = family.labels(*labels)
        return child


def _joined(first: bytes, second: bytes) -> bytes:
    """Put two pages together; OpenMetrics ends each with a line of its own."""
    end = b"# EOF\n"
    return first.removesuffix(end) + second


class _Now:
    """How a station is at this moment, as gauges."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def collect(self) -> Iterator[Any]:
        """Yield the families; what a state does not have is left out."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        def family(
            kind: Any, name: str, text: str, label: str, values: dict[str, float | None]
        ) -> Any:
            made = kind(f"zeroline_{name}", text, labels=[label] if label else [])
            for key, value in values.items():
                if value is not None:
                    made.add_metric([key] if label else [], float(value))
            return made

        state, health = self._control.state(), self._control.health()
        for name, value in (
            ("alive", health.alive), ("ready", health.ready), ("paused", state.get("paused")),
            ("setup", state.get("setup")), ("parts_waiting", state.get("waiting")),
        ):  # fmt: skip
            yield family(GaugeMetricFamily, name, f"State: {name}.", "", {"": value})
        cameras = state.get("cameras") or {}
        for key in ("window", "capacity", "threshold"):
            values = {name: camera.get(key) for name, camera in cameras.items()}
            yield family(GaugeMetricFamily, f"camera_{key}", f"Camera: {key}.", "camera", values)
        triggers = state.get("triggers") or {}
        for key in ("taken", "missed", "late"):
            values = {name: trigger.get(key) for name, trigger in triggers.items()}
            text = f"Triggers: {key}."
            yield family(CounterMetricFamily, f"triggers_{key}", text, "trigger", values)
        outputs = state.get("outputs") or {}
        for key, kind in (
            ("up", GaugeMetricFamily), ("waiting", GaugeMetricFamily),
            ("dropped", CounterMetricFamily), ("missed", CounterMetricFamily),
        ):  # fmt: skip
            values = {name: output.get(key) for name, output in outputs.items()}
            yield family(kind, f"output_{key}", f"Output: {key}.", "output", values)
        store = state.get("store")
        if store is not None:
            commit = store.get("commit_ms")
            pictures = store.get("pictures") or {}
            for name, value in (
                ("commit_seconds", None if commit is None else commit / 1000),
                ("waiting", store.get("waiting")), ("lost", store.get("lost")),
                ("full", store.get("full")), ("free_bytes", store.get("free_bytes")),
                ("outbox", store.get("outbox")), ("picture_bytes", pictures.get("bytes")),
                ("pictures_dropped", pictures.get("dropped")),
            ):  # fmt: skip
                yield family(GaugeMetricFamily, f"store_{name}", f"Store: {name}.", "", {"": value})
