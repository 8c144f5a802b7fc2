"""A folder that a camera writes to: whole pictures, each once, in their order."""

import errno
import json
import os
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from zeroline.edge_app.captured import Captured
from zeroline.edge_app.cli import main
from zeroline.edge_app.errors import InputError
from zeroline.edge_app.events import EventName, Events
from zeroline.edge_app.images import read_image
from zeroline.edge_app.sources import watched
from zeroline.edge_app.sources.address import open_source


def encoded(value=99, *, kind=".png"):
    picture = np.full((40, 50, 3), value, np.uint8)
    picture[::3] //= 2
    return cv2.imencode(kind, picture)[1].tobytes()


def write(path, content=None):
    """As a careful camera does: under another name first."""
    hidden = path.with_name(f".{path.name}")
    hidden.write_bytes(encoded() if content is None else content)
    hidden.rename(path)


def value_of(captured):
    assert captured.frame is not None
    return int(captured.frame[1, 1, 0])


class Reader(threading.Thread):
    """Takes what comes, in a thread of its own."""

    def __init__(self, source):
        super().__init__(daemon=True)
        self.source, self.taken, self.error = source, [], None
        self.start()

    def run(self):
        try:
            for captured in self.source:
                self.taken.append(captured)
                self.source.finished(captured)  # its verdict has left
        except BaseException as error:  # noqa: BLE001
            self.error = error

    def wait_for(self, count, seconds=10.0):
        end = time.monotonic() + seconds
        while len(self.taken) < count and time.monotonic() < end and self.error is None:
            time.sleep(0.01)
        assert self.error is None
        assert len(self.taken) >= count, [captured.name for captured in self.taken]

    def stop(self):
        self.source.close()
        self.join(5)
        assert not self.is_alive()
        return self.taken


@pytest.fixture
def told():
    return []


class Watch:
    """A folder, and what reads it."""

    def __init__(self, folder, events):
        self.folder, self._events, self.readers = folder, events, []

    def __call__(self, after="stay"):
        source = open_source(f"watch:{self.folder}?after={after}", events=self._events)
        self.readers.append(Reader(source))
        return self.readers[-1]


@pytest.fixture
def watch(tmp_path, told, monkeypatch):
    """Watch a folder; ends what was begun."""
    (tmp_path / "incoming").mkdir()
    monkeypatch.setattr(watched, "PATIENCE", 1.0)
    events = Events()
    events.listen(told.append)
    made = Watch(tmp_path / "incoming", events)
    yield made
    for reader in made.readers:
        reader.stop()


def test_pictures_come_once_and_in_their_order(watch):
    for number, name in enumerate(("b.png", "a.png", "c.bmp")):
        write(watch.folder / name, encoded(kind=Path(name).suffix))
        os.utime(watch.folder / name, (1000 + number, 1000 + number))
    (watch.folder / "notes.txt").write_text("no picture")
    (watch.folder / "below").mkdir()
    write(watch.folder / "below" / "d.png")
    reader = watch()
    reader.wait_for(3)
    write(watch.folder / "e.png")
    reader.wait_for(4)
    time.sleep(0.5)
    taken = reader.stop()
    assert [captured.name for captured in taken] == ["b.png", "a.png", "c.bmp", "e.png"]
    assert [captured.part_id for captured in taken] == ["b.png", "a.png", "c.bmp", "e.png"]
    assert all(captured.frame is not None for captured in taken)
    assert len(list(watch.folder.iterdir())) == 6


def test_a_picture_that_is_still_written_is_waited_for(watch):
    reader = watch()
    content = encoded()
    with (watch.folder / "slow.png").open("wb") as file:
        for start in range(0, len(content), len(content) // 5 + 1):  # a second in all
            file.write(content[start : start + len(content) // 5 + 1])
            file.flush()
            assert reader.taken == []
            time.sleep(0.2)
    reader.wait_for(1)
    assert reader.taken[0].frame is not None


def test_a_picture_that_is_written_again_at_once_is_one_picture(watch):
    reader = watch()
    for value in (50, 60, 70):
        (watch.folder / "a.png").write_bytes(encoded(value))
        time.sleep(0.12)
    reader.wait_for(1)
    time.sleep(0.5)
    (captured,) = reader.stop()
    assert captured.frame[1, 1, 0] == 70


def test_a_writer_that_stalls_is_waited_for(watch):
    """It is quiet for longer than a file needs, and goes on: half a picture is no picture."""
    reader = watch()
    content = encoded()
    (watch.folder / "stalls.png").write_bytes(content[: len(content) // 2])
    time.sleep(0.7)
    assert reader.taken == []
    (watch.folder / "stalls.png").write_bytes(content)
    reader.wait_for(1)
    assert reader.taken[0].frame is not None
    assert reader.taken[0].fault == ""


def test_a_damaged_picture_is_told_in_the_end_and_stays(watch):
    reader = watch("delete")
    (watch.folder / "half.png").write_bytes(encoded()[:60])
    reader.wait_for(1)
    write(watch.folder / "next.png")
    reader.wait_for(2)
    taken = reader.stop()
    assert taken[0].frame is None
    assert taken[0].reason.value == "damaged_frame"
    assert [file.name for file in watch.folder.iterdir()] == ["half.png"]


@pytest.mark.parametrize("after", watched.AFTER)
def test_what_is_done_after_the_verdict(watch, after):
    write(watch.folder / "a.png")
    reader = watch(after)
    reader.wait_for(1)
    write(watch.folder / "b.png")
    reader.wait_for(2)
    reader.stop()  # the last one has its verdict then
    names = sorted(str(path.relative_to(watch.folder)) for path in watch.folder.rglob("*.png"))
    assert names == {
        "stay": ["a.png", "b.png"], "move": ["inspected/a.png", "inspected/b.png"], "delete": [],
    }[after]  # fmt: skip


def test_a_picture_is_put_away_only_after_its_verdict_has_left(watch, told):
    """The next one may be on its way by then."""
    events = Events()
    source = open_source(f"watch:{watch.folder}?after=delete", events=events)
    for name in ("a.png", "b.png"):
        write(watch.folder / name)
    frames = iter(source)
    first = next(frames)
    assert next(frames).name == "b.png"
    time.sleep(0.2)
    assert (watch.folder / "a.png").exists()  # who inspects it may still fail
    source.finished(first)
    source.close()
    assert [path.name for path in watch.folder.iterdir()] == ["b.png"]


def test_a_name_that_comes_again_is_another_part(watch):
    """Cameras that write one name again and again: nothing of it is put away by mistake."""
    reader = watch("move")
    for number in range(3):
        write(watch.folder / "image.png", encoded(50 + number))
        reader.wait_for(number + 1)
        time.sleep(0.3)
    taken = reader.stop()
    assert [captured.part_id for captured in taken] == [
        "image.png",
        "image.png (2)",
        "image.png (3)",
    ]
    assert len({int(captured.frame[1, 1, 0]) for captured in taken}) == 3
    kept = sorted(path.name for path in (watch.folder / "inspected").iterdir())
    assert kept == ["image (2).png", "image (3).png", "image.png"]


def test_a_name_that_is_written_again_where_pictures_stay(watch):
    reader = watch()
    for number in range(2):
        write(watch.folder / "image.png", encoded(50 + number))
        reader.wait_for(number + 1)
    assert [captured.part_id for captured in reader.stop()] == ["image.png", "image.png (2)"]


def test_a_hidden_file_is_not_looked_at(watch):
    """Cameras and copying programs write to one, and rename it."""
    (watch.folder / ".a.png").write_bytes(encoded())
    reader = watch("delete")
    write(watch.folder / "b.png")
    reader.wait_for(1)
    time.sleep(0.5)
    assert [captured.name for captured in reader.stop()] == ["b.png"]
    assert (watch.folder / ".a.png").exists()


def test_a_newer_picture_of_the_same_name_is_not_put_away(watch):
    events = Events()
    source = open_source(f"watch:{watch.folder}?after=delete", events=events)
    write(watch.folder / "a.png", encoded(50))
    frames = iter(source)
    assert value_of(next(frames)) == 50
    write(watch.folder / "a.png", encoded(70))
    source.close()  # the first one has its verdict
    assert value_of(Captured(read_image(watch.folder / "a.png"), "")) == 70


def test_a_folder_that_is_lost_and_comes_back_is_told_once(watch, told):
    reader = watch()
    write(watch.folder / "a.png")
    reader.wait_for(1)
    away = watch.folder.with_name("away")
    watch.folder.rename(away)
    time.sleep(0.5)
    away.rename(watch.folder)
    write(watch.folder / "b.png")
    reader.wait_for(2)
    assert [captured.name for captured in reader.stop()][-1] == "b.png"
    assert [event.name for event in told] == [EventName.CAMERA_LOST, EventName.CAMERA_BACK]
    assert "the folder cannot be read: No such file or directory" in told[0].text


def test_what_cannot_be_moved_is_told_once_and_not_inspected_again(watch, told, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(Path, "rename", refuse)
    reader = watch("move")
    for name in ("a.png", "b.png"):
        (watch.folder / name).write_bytes(encoded())
        os.utime(watch.folder / name, (1000, 1000))
    reader.wait_for(2)
    time.sleep(0.5)
    assert len(reader.stop()) == 2
    assert [event.name for event in told] == [EventName.SOURCE_KEPT]
    assert "has its verdict and stays: Read-only file system" in told[0].text


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("watch:gone", 'watched folder "gone" does not exist'),
        ("watch:.?after=burn", "?after= one of stay, move, delete is allowed"),
        ("watch:.?before=move", "?after= one of stay, move, delete is allowed"),
    ],
)
def test_what_cannot_be_watched(address, told):
    with pytest.raises(InputError) as caught:
        open_source(address, events=Events())
    assert told in str(caught.value)


def test_a_line_watches_a_folder(watch, tmp_path, bundle_folder, paint, monkeypatch):
    """By the file of a station, relative to it; every picture has exactly one verdict."""
    from zeroline.edge_app.station.running import RunningStation

    for number in range(12):
        write(watch.folder / f"{number:02}.png", cv2.imencode(".png", paint(number))[1].tobytes())
    (tmp_path / "station.yaml").write_text(
        f"cameras: [{{source: 'watch:incoming?after=move'}}]\n"
        f"recipes: {{default: {{model: '{bundle_folder}', min_window: 4, window: 8}}}}\n"
        "outputs: [{kind: json_lines, path: verdicts.jsonl}]\npage: {listen: 'off'}\n"
    )
    usual = RunningStation._judged

    def counted(self, part):
        usual(self, part)
        if self.tally.frames == 12:
            self._stop.set()

    monkeypatch.setattr(RunningStation, "_judged", counted)
    done = CliRunner().invoke(main, ["run", str(tmp_path / "station.yaml")])
    assert done.exit_code == 0, done.output
    lines = (tmp_path / "data" / "verdicts.jsonl").read_text().splitlines()
    parts = [json.loads(line)["part"] for line in lines if '"verdict"' in line]
    assert parts == [f"{number:02}.png" for number in range(12)]
    assert sorted(path.name for path in (watch.folder / "inspected").iterdir()) == parts
