"""The store: what goes in is there when its ticket says so, in order, once."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from support.machine import ROOT
from support.stored_parts import (
    body_of,
    event_message,
    message_of,
    part_message,
    revision_message,
    view,
)
from zeroline.edge_app.configuration.storage import Storage
from zeroline.edge_app.control import Answer
from zeroline.edge_app.errors import InputError, OutputError
from zeroline.edge_app.events import Event, EventName, Events
from zeroline.edge_app.messages import Kind, Message
from zeroline.edge_app.store import writer as writing
from zeroline.edge_app.store.reading import Records, Wanted
from zeroline.edge_app.store.store import Store
from zeroline.runtime import RecurringDefect, RollingInspector, Verdict, load_bundle
from zeroline.runtime.results import Reason


@pytest.fixture
def heard():
    return []


@pytest.fixture
def store(tmp_path, heard):
    storage = Storage(keep_free_gb=0, ok_sample=0)
    with Store(tmp_path / "data", storage, station="press-4", events=heard.append) as opened:
        yield opened


@pytest.fixture
def reading(store, tmp_path):
    with Records(tmp_path / "data") as records:
        yield records


def test_everything_that_is_known_of_a_part_is_there(store, reading):
    left = view(1, "a", camera="left", verdict=Verdict.NG, wall=1.75e9)
    right = view(1, "a", camera="right", wall=1.75e9)
    ticket = store.write(message_of(5, "a", right, left, lot="L7", serial="42"))
    store.write(revision_message(6, "a"))
    event = Event(EventName.THRESHOLD_CHANGED, "to 0.4", {"by": "ada", "to": 0.4}, part="a")
    store.write(event_message(7, event))
    store.recipe_version("5f" * 32, "bracket-a", "window: 32\n")
    store.recipe_version("5f" * 32, "bracket-a", "window: 32\n")
    assert store.feedback("a", Answer.FALSE_ALARM, note="oil", by="ada", wall=1.75e9).wait(10)
    assert ticket.stored
    part = reading.part("a")
    assert [part[k] for k in ("number", "verdict", "reason", "lot", "serial", "wall")] == [
        5, "NG", "score", "L7", "42", 1.75e9
    ]  # fmt: skip
    assert (part["late"], part["unstored"], part["station"]) == (False, False, "press-4")
    assert part["decided_ms"] == pytest.approx(20, abs=0.01)
    frames = {frame["camera"]: frame for frame in part["frames"]}
    assert frames["left"]["regions"] == [[10, 20, 30, 40]]
    assert frames["left"]["threshold"] == 0.3
    assert frames["left"]["latency_ms"]["network"] == 8.0
    assert frames["right"]["verdict"] == "OK"
    assert [r["verdict"] for r in part["revisions"]] == ["NG"]
    assert [(e["name"], e["by"], e["data"]["to"]) for e in part["events"]] == [
        ("threshold.changed", "ada", 0.4)
    ]
    assert [(f["answer"], f["note"], f["by"]) for f in part["feedback"]] == [
        ("false_alarm", "oil", "ada")
    ]
    recipes = reading.connection.execute("SELECT version, text FROM recipe_version").fetchall()
    assert [tuple(row) for row in recipes] == [("5f" * 32, "window: 32\n")]
    (run,) = reading.connection.execute("SELECT run, station, program FROM run").fetchall()
    assert (run["run"], run["station"]) == (part["run"], "press-4")


def test_an_alarm_is_an_event(store, reading):
    alarm = RecurringDefect(2, True, 4, "a", (4, 8), 0.25, np.ones((2, 4), bool))
    message = Message(1, Kind.ALARM, body_of(1), camera="top", alarm=alarm)
    assert store.write(message).wait(10)
    (row,) = reading.connection.execute("SELECT name, camera, part, data FROM event").fetchall()
    assert tuple(row)[:3] == ("recurring.begin", "top", "a")
    assert '"defect":2' in row["data"]


def test_a_late_verdict_stays_beside_the_first(store, reading):
    store.write(message_of(1, "a"))
    store.write(part_message(2, "b"))
    assert store.write(part_message(3, "a", verdict=Verdict.NG, late=True)).wait(10)
    part = reading.part("a")
    assert (part["verdict"], part["reason"], part["late"]) == ("FAULT", "late", True)
    assert part["frames"] == []
    (later,) = part["later_verdicts"]
    assert (later["number"], later["verdict"], later["late"]) == (3, "NG", True)
    assert later["frames"][0]["score"] == 0.4
    assert not reading.part("b")["late"]
    assert reading.part("b")["later_verdicts"] == []


def test_verdicts_of_a_real_line_are_kept(store, reading, bundle_folder, paint):
    number = 0
    with (
        load_bundle(bundle_folder, device="cpu", threads=1) as bundle,
        RollingInspector(bundle, window=8, min_window=4) as inspector,
    ):
        for number in range(1, 13):
            frame = paint(number, scratch=number == 12)
            inspection = inspector.push(frame, part_id=f"p{number}")
            made = view(number, f"p{number}", frame=frame)
            seen = type(made)("top", "a", "v", made.captured, inspection)
            ticket = store.write(message_of(number, f"p{number}", seen))
    assert ticket.wait(10)
    parts = list(reading.parts(Wanted(), newest_first=False))
    assert [part["id"] for part in parts] == [f"p{n}" for n in range(1, 13)]
    assert parts[0]["reason"] == "warming_up"
    assert parts[-1]["verdict"] == inspection.verdict.value
    assert inspection.scores is not None
    assert parts[-1]["frames"][0]["score"] == pytest.approx(inspection.scores.score)


def test_a_row_says_that_its_verdict_left_unstored(store, reading, tmp_path):
    with locked(tmp_path / "data"):
        ticket = store.write(part_message(1, "a"))
        assert not ticket.wait(0.05)
        ticket.leave()
        store.write(part_message(2, "b", unstored=True))
        store.write(part_message(3, "c"))
    assert ticket.wait(10)
    while store.state()["waiting"]:
        time.sleep(0.01)
    assert [reading.part(p)["unstored"] for p in "abc"] == [True, True, False]


def test_a_database_that_is_locked_loses_nothing(tmp_path, heard):
    """Another process holds it; told once, and once again when rows go in."""
    events, times = Events(), {}
    events.listen(heard.append)
    with Store(tmp_path, Storage(keep_free_gb=0), station="s", events=events) as store:
        assert store.write(part_message(1)).wait(10)
        with locked(tmp_path):
            began = time.monotonic()
            tickets = [store.write(part_message(n)) for n in range(2, 300)]
            times["put"] = time.monotonic() - began
            time.sleep(2.7)  # it is tried twice
            assert not any(ticket.stored for ticket in tickets)
            assert store.state()["waiting"] == len(tickets)
            assert "locked" in store.state()["trouble"]
            assert store.has_part("top-20261201-000299")
        assert all(ticket.wait(10) for ticket in tickets)
        assert store.state()["trouble"] is None
    assert times["put"] < 0.5  # nobody waited for it
    told = [(e.name.value, e.data["what"], e.data["reason"]) for e in heard]
    assert told == [
        ("storage.full", "rows", "database is locked"),
        ("storage.back", "rows", ""),
    ]
    with Records(tmp_path) as records:
        numbers = [part["number"] for part in records.parts(Wanted(), newest_first=False)]
    assert numbers == list(range(1, 300))


class locked:  # noqa: N801 - used as a statement
    """Another process that holds the database."""

    def __init__(self, folder):
        code = (
            "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None); "
            "c.execute('BEGIN IMMEDIATE'); print('held', flush=True); sys.stdin.read()"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", code, str(folder / "zeroline.sqlite")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self):
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "held\n"

    def __exit__(self, *_):
        self._process.communicate()


def test_an_event_that_the_store_causes_can_go_into_the_store(tmp_path):
    """Whoever is told may write at once: no lock is held meanwhile."""
    numbers, kept = iter(range(100, 200)), list[Store]()
    events = Events()

    def keep(event):
        kept[0].write(event_message(next(numbers), event))

    events.listen(keep)
    with Store(tmp_path, Storage(keep_free_gb=0), station="s", events=events) as opened:
        kept.append(opened)
        with locked(tmp_path):
            ticket = opened.write(part_message(1))
            time.sleep(1.3)
        assert ticket.wait(10)
    with Records(tmp_path) as records:
        names = [row[0] for row in records.connection.execute("SELECT name FROM event")]
    assert names == ["storage.full", "storage.back"]


def test_a_row_that_can_never_be_stored_holds_up_no_other(store, reading, heard):
    """Two messages of one number: the second one is told, and the next ones go in."""
    first = store.write(part_message(1, "a"))
    twice = store.write(part_message(1, "b"))
    third = store.write(part_message(2, "c"))
    assert first.wait(10)
    assert third.wait(10)
    assert not twice.stored
    assert [event.name.value for event in heard] == ["station.fault"]
    assert "message 1 cannot be stored: UNIQUE constraint failed" in heard[0].text
    assert store.state()["lost"] == 1
    assert [part["id"] for part in reading.parts(Wanted())] == ["c", "a"]
    assert not store.has_part("b")
    assert store.free_id("b") == "b"


def test_rows_that_wait_are_bounded(store, heard, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "MOST_WAITING", 20)
    with locked(tmp_path / "data"):
        tickets = [store.write(part_message(n)) for n in range(1, 31)]
        assert store.state()["waiting"] == 20
        assert store.state()["lost"] == 10
    assert all(ticket.wait(10) for ticket in tickets[:20])
    assert not any(ticket.stored for ticket in tickets[20:])
    assert [event.data["reason"] for event in heard][:1] == ["too many rows wait"]
    assert sum(event.data["reason"] == "too many rows wait" for event in heard) == 1


def test_numbers_go_on_over_restarts(tmp_path):
    def opened():
        return Store(tmp_path, Storage(keep_free_gb=0), station="s", events=print)

    with opened() as store:
        assert store.next_number() == 1
        store.write(part_message(1))
        store.write(event_message(2, Event(EventName.STATION_STOP, "stopped")))
    with opened() as store:
        assert store.next_number() == 3
        store.write(revision_message(3, "x"))
    with opened() as store:
        assert store.next_number() == 4
        store.write(message_of(4, "a"))
        store.write(message_of(5, "a", late=True))
    with opened() as store:
        assert store.next_number() == 6


def test_closing_writes_all_that_waits(tmp_path):
    with Store(tmp_path, Storage(keep_free_gb=0), station="s", events=print) as store:
        tickets = [store.write(part_message(n)) for n in range(1, 2001)]
    assert all(ticket.stored for ticket in tickets)
    assert not (tmp_path / "zeroline.sqlite-wal").exists()
    with Records(tmp_path) as records:
        assert sum(1 for _ in records.parts(Wanted())) == 2000


def test_a_ticket_is_set_after_its_commit_only(store, reading):
    for number in range(1, 40):
        assert store.write(part_message(number)).wait(10)
        found = reading.connection.execute("SELECT max(number) FROM part").fetchone()[0]
        assert found == number


def test_the_log_stays_short(store, tmp_path):
    """Carried over by the writer, whatever readers do."""
    store.outbox("webhook")
    with Records(tmp_path / "data") as records:
        for number in range(1, 1501):
            assert store.write(part_message(number)).wait(10)
            store.delivered("webhook", number)
            if number % 100 == 0:
                list(records.parts(Wanted(), limit=3))
    wal = (tmp_path / "data" / "zeroline.sqlite-wal").stat().st_size
    assert wal < 8e6


def test_two_stations_do_not_share_a_folder(store, tmp_path):
    code = (
        "import sys; from pathlib import Path; from zeroline.edge_app.store.store import *; "
        "Store(Path(sys.argv[1]), Storage(), station='b', events=print)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "data")], capture_output=True, text=True,
        check=False, env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    last = done.stderr.splitlines()[-1]
    expected = f'data folder "{tmp_path / "data"}" is in use by another station, process'
    assert f"InputError: {expected} {os.getpid()}" in last
    with pytest.raises(InputError, match="is in use"):  # in one process too
        Store(tmp_path / "data", Storage(), station="b", events=print)
    assert store.write(part_message(1)).wait(10)


def test_a_folder_is_free_after_its_station(tmp_path):
    for _ in range(3):
        Store(tmp_path, Storage(keep_free_gb=0), station="s", events=print).close()


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r'data folder ".*file/data" cannot be made: Not a direc'):
        Store(tmp_path / "file" / "data", Storage(), station="s", events=print)


def test_no_thread_is_left(tmp_path):
    before = threading.active_count()
    with Store(tmp_path, Storage(keep_free_gb=0), station="s", events=print) as store:
        assert threading.active_count() == before + 2
        store.close()
    assert threading.active_count() == before


def test_a_figure_that_is_no_number_is_refused_at_once(store):
    event = Event(EventName.CAMERA_HEALTH, "dark", {"figure": float("nan")})
    with pytest.raises(ValueError, match="JSON compliant"):
        store.write(event_message(1, event))
    assert store.write(part_message(1)).wait(10)


@pytest.mark.parametrize(
    ("verdicts", "revised"),
    [
        ([Verdict.OK], "NG"),
        ([Verdict.UNCERTAIN], "NG"),
        ([Verdict.OK, Verdict.UNCERTAIN], "NG"),
        ([Verdict.OK, Verdict.FAULT], None),  # a worse one stays
        ([Verdict.OK, Verdict.NG], None),
    ],
)
def test_a_part_is_as_bad_as_its_worst_camera_is_by_now(store, reading, verdicts, revised):
    views = [view(1, "a", camera=f"c{at}", verdict=verdict) for at, verdict in enumerate(verdicts)]
    store.write(message_of(1, "a", *views))
    assert store.write(revision_message(2, "a")).wait(10)
    assert reading.part("a")["revised"] == revised
    assert [p["id"] for p in reading.parts(Wanted(verdict="NG"))] == (
        ["a"] if Verdict.FAULT not in verdicts else []
    )


def test_a_writer_survives_what_nobody_thought_of(store, heard, monkeypatch):
    whole, failures = store._deliveries.write, iter(range(2))

    def broken(*given):
        if next(failures, None) is not None:
            raise RuntimeError("a fault of the program")
        return whole(*given)

    monkeypatch.setattr(store._deliveries, "write", broken)
    assert store.write(part_message(1)).wait(10)
    assert [event.data["reason"] for event in heard] == ["a fault of the program", ""]


def test_a_writer_survives_a_listener_that_fails(tmp_path):
    def fails(event):
        raise RuntimeError("nobody listens")

    with Store(tmp_path, Storage(keep_free_gb=0), station="s", events=fails) as store:
        store.write(part_message(1, "a"))
        store.write(part_message(1, "b"))  # refused, which is told
        assert store.write(part_message(2, "c")).wait(10)


# --- ids ---------------------------------------------------------------------------------------


def plain_free(name, taken):
    """The literal form of `free_id`."""
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name} ({number})"
    return found


def test_ids_are_given_once(store):
    taken = set[str]()
    for at in range(40):
        name = f"part {at % 3}"
        given = store.free_id(name)
        assert given == plain_free(name, taken)
        taken.add(given)
        if at % 2:
            store.write(part_message(at + 1, given)).wait(10)
            assert store.has_part(given)
    assert not store.has_part("part 9")
    assert not store.has_part(plain_free("part 0", taken))


def test_ids_are_unique_among_threads(store):
    given, lock = list[str](), threading.Lock()

    def ask():
        for _ in range(50):
            found = store.free_id("a")
            with lock:
                given.append(found)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(given) == sorted(["a", *(f"a ({n})" for n in range(2, 201))])


def test_many_parts_of_one_name_ask_few_questions(store):
    """The time of an id must not grow with the parts that have its name."""
    for number in range(1, 3001):
        name = "a" if number == 1 else f"a ({number})"
        ticket = store.write(part_message(number, name))
    assert ticket.wait(10)
    questions = list[str]()
    reader = store._reader
    reader.set_trace_callback(questions.append)
    assert store.free_id("a") == "a (3001)"
    reader.set_trace_callback(None)
    assert len(questions) < 30


def test_the_counter_of_a_day_goes_on(store):
    assert store.last_counter("top-20261201") == 0
    ids = [
        "top-20261201-000009", "top-20261201-000010", "top-20261201-1000000", "top-20261201-999999",
        "top-20261201-000011 (2)", "top-20261201-x", "top-20261202-000077", "top-2026120-5",
        "top2-20261201-000500", "top-20261201.7",
    ]  # fmt: skip
    for number, name in enumerate(ids, 1):
        ticket = store.write(part_message(number, name))
    assert ticket.wait(10)
    assert store.last_counter("top-20261201") == 1_000_000
    assert store.last_counter("top-20261202") == 77
    assert store.last_counter("left-20261201") == 0


# --- outbox ------------------------------------------------------------------------------------


def test_messages_wait_until_all_outputs_have_them(store, reading):
    hook, mqtt = store.outbox("webhook"), store.outbox("mqtt")
    assert (hook.delivered_up_to, mqtt.delivered_up_to) == (0, 0)
    for number in range(1, 6):
        store.write(part_message(number))
    assert store.write(event_message(6, Event(EventName.STATION_STOP, "stopped"))).wait(10)
    assert [number for number, _ in hook.after(0, 100)] == [1, 2, 3, 4, 5, 6]
    assert [number for number, _ in mqtt.after(2, 2)] == [3, 4]
    assert '"part":"top-20261201-000001"' in hook.after(0, 1)[0][1]
    store.delivered("webhook", 6)
    store.delivered("mqtt", 2)
    assert store.write(part_message(7)).wait(10)
    assert [number for number, _ in hook.after(0, 100)] == [3, 4, 5, 6, 7]
    store.delivered("mqtt", 7)
    store.delivered("webhook", 7)
    assert store.write(part_message(8)).wait(10)
    assert [number for number, _ in hook.after(0, 100)] == [8]
    assert store.state()["outbox"] == 1
    assert reading.connection.execute("SELECT count(*) FROM part").fetchone()[0] == 7


def test_what_was_not_delivered_comes_after_a_restart(tmp_path):
    def opened():
        return Store(tmp_path, Storage(keep_free_gb=0), station="s", events=print)

    with opened() as store:
        store.outbox("webhook")
        for number in range(1, 6):
            store.write(part_message(number))
        store.delivered("webhook", 3)
    with opened() as store:
        outbox = store.outbox("webhook")
        assert outbox.delivered_up_to == 3
        assert [number for number, _ in outbox.after(3, 100)] == [4, 5]
        new = store.outbox("mqtt")  # a new output has nothing to make up for
        assert new.delivered_up_to == 5


def test_nothing_waits_where_no_output_wants_it(store):
    assert store.write(part_message(1)).wait(10)
    outbox = store.outbox("webhook")
    assert outbox.after(0, 10) == []


def test_an_output_that_takes_nothing_loses_the_oldest(store, heard, monkeypatch):
    from zeroline.edge_app.store import deliveries

    monkeypatch.setattr(deliveries, "MOST_KEPT", 50)
    hook, quick = store.outbox("webhook"), store.outbox("quick")
    for number in range(1, 121):
        ticket = store.write(part_message(number))
        assert ticket.wait(10)
        store.delivered("quick", number)
    assert [number for number, _ in hook.after(0, 100)] == list(range(71, 121))
    assert store.state()["outbox"] == 50
    assert quick.after(120, 10) == []
    (event,) = heard
    assert (event.name.value, event.data["output"]) == ("output.dropped", "webhook")
    assert event.data["first"] == 1


def test_reasons_are_kept_as_they_are_told(store, reading):
    for number, reason in enumerate(Reason, 1):
        store.write(part_message(number, f"p{number}", verdict=Verdict.NG, reason=reason))
    while store.state()["waiting"]:
        time.sleep(0.01)
    kept = [part["reason"] for part in reading.parts(Wanted(verdict="NG"), newest_first=False)]
    assert kept == [reason.value for reason in Reason]
