"""The file of a store: older ones are led on, others are refused and left as they are."""

import sqlite3
from contextlib import closing

import pytest

from support.old_stores import VERSION_1
from support.stored_parts import event_message, part_message
from zeroline.edge_app.configuration.storage import Storage
from zeroline.edge_app.errors import InputError
from zeroline.edge_app.events import Event, EventName
from zeroline.edge_app.store import schema
from zeroline.edge_app.store.reading import Records, Wanted
from zeroline.edge_app.store.store import Store


def opened(folder, events=print):
    return Store(folder, Storage(keep_free_gb=0), station="press-4", events=events)


def content(path):
    with closing(sqlite3.connect(path)) as connection:
        version = connection.execute("PRAGMA user_version").fetchone()
        return version, list(connection.iterdump())


@pytest.fixture
def old(tmp_path):
    with closing(sqlite3.connect(tmp_path / schema.FILE)) as connection:
        connection.executescript(VERSION_1)
    return tmp_path


def test_a_file_of_version_1_is_led_on_with_its_rows(old):
    heard = list[Event]()
    with opened(old, events=heard.append) as store:
        store.outbox("webhook")
        assert store.next_number() == 8
        assert store.write(part_message(8, "new")).wait(10)
        store.write(event_message(9, Event(EventName.STATION_STOP, "stopped"))).wait(10)
    newest = len(schema.MIGRATIONS)
    (event,) = heard
    assert event.name is EventName.STORAGE_MIGRATED
    assert event.data == {"from": 1, "to": newest, "steps": ["outbox", "names"]}
    assert "from version 1 to 3 (outbox, names): an older zeroline refuses it" in event.text
    opened(old, events=heard.append).close()
    assert len(heard) == 1
    with Records(old) as records:
        assert schema.version_of(records.connection, old) == newest
        new, before = records.parts(Wanted())
        assert (new["id"], before["id"], before["decided_ms"]) == ("new", "old", 20.5)
        assert before["frames"][0]["regions"] == [[1, 2, 3, 4]]


def test_all_versions_lead_to_the_same_tables(old, tmp_path_factory):
    fresh = tmp_path_factory.mktemp("fresh")
    opened(old).close()
    opened(fresh).close()

    def tables(folder):
        with closing(sqlite3.connect(folder / schema.FILE)) as connection:
            rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
            return {name: " ".join(sql.split()) for name, sql in rows}

    assert tables(old) == tables(fresh)


def test_a_step_that_fails_leaves_the_file_as_it_was(old, monkeypatch):
    broken = schema.Migration("broken", ("CREATE TABLE half (a)", "CREATE TABLE part (a)"))
    steps = (schema.MIGRATIONS[0], broken)
    before = content(old / schema.FILE)
    monkeypatch.setattr(schema, "MIGRATIONS", steps)
    with pytest.raises(Exception, match="part already exists"):
        opened(old)
    assert content(old / schema.FILE) == before
    monkeypatch.undo()
    opened(old).close()


def test_a_newer_file_is_refused_in_one_line(tmp_path):
    opened(tmp_path).close()
    with closing(sqlite3.connect(tmp_path / schema.FILE)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = content(tmp_path / schema.FILE)
    for use in (opened, Records):
        with pytest.raises(
            InputError, match=r"has version 99, this zeroline knows up to \d"
        ) as error:
            use(tmp_path)
        assert "\n" not in str(error.value)
        assert "zeroline.sqlite" in str(error.value)
    assert content(tmp_path / schema.FILE) == before
    with pytest.raises(InputError, match="99"):
        opened(tmp_path)  # the lock was let go


def test_a_reader_refuses_an_older_file(old):
    with pytest.raises(InputError, match=r"has version 1, \d is expected: the next start of the"):
        Records(old)


@pytest.mark.parametrize("where", [0, 3 * 1024])
def test_a_damaged_file_is_told_in_one_line_and_left_as_it_is(tmp_path, where):
    """At 0 it is no database; further on its tables are no trees."""
    opened(tmp_path).close()
    path = tmp_path / schema.FILE
    whole = path.read_bytes()
    path.write_bytes(whole[:where] + b"\xa5" * (len(whole) - where))
    spoilt = path.read_bytes()
    with pytest.raises(InputError, match=r"is damaged .* left as it is: move it away, or restore"):
        opened(tmp_path)
    with pytest.raises(InputError, match="is damaged"), Records(tmp_path) as records:
        list(records.parts(Wanted()))
    assert path.read_bytes() == spoilt


def test_a_store_that_is_not_there_is_told(tmp_path):
    with pytest.raises(InputError, match=r'there is no store ".*zeroline.sqlite": --data names'):
        Records(tmp_path)
