"""`zeroline reference` and the sets of `zeroline run`, by their command lines."""

import json
import os
import shutil

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from zeroline.edge_app.cli import main
from zeroline.runtime.reference.files import read_reference, write_reference
from zeroline.runtime.reference.sets import ReferenceFrame, ReferenceSet


def zeroline(*arguments):
    return CliRunner().invoke(main, [str(part) for part in arguments])


@pytest.fixture
def pictures(tmp_path, paint):
    """Twenty good parts and a scratched one, the newest first by name."""
    folder = tmp_path / "parts"
    (folder / "sub").mkdir(parents=True)
    for number in range(21):
        name = "sub/scratched.png" if number == 7 else f"{20 - number:02d}.png"
        frame = paint(number, scratch=number == 7)
        Image.fromarray(frame[:, :, ::-1]).save(folder / name)
        os.utime(folder / name, (1.7e9 + number, 1.7e9 + number))
    return folder


def build(pictures, path, bundle_folder, *more):
    return zeroline(
        "reference", "build", pictures, "--output", path, "--model", bundle_folder,
        "--threads", 1, *more,
    )  # fmt: skip


def test_build_names_what_it_leaves_out(pictures, bundle_folder, tmp_path):
    path = tmp_path / "deep" / "good.npz"
    done = build(pictures, path, bundle_folder)
    assert done.exit_code == 0, done.output
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("left out: sub/")]
    assert line.startswith("left out: sub/scratched.png: score ")
    assert line.endswith(", unusual")
    assert "21 frames: in fewer than 60 a recurring defect may stay unseen" in done.stderr
    reference = read_reference(path)
    assert done.stdout.startswith(f"{len(reference.frames)} of 21 frames, ")
    names = [frame.name for frame in reference.frames]
    assert "sub/scratched.png" not in names
    assert names == sorted(names, reverse=True)  # by time
    assert reference.source == str(pictures)
    assert 1.7e9 <= reference.frames[0].time < 1.7e9 + 21


def test_copies_of_a_bad_part_do_not_vouch_for_each_other(pictures, bundle_folder, tmp_path):
    for number in range(6):
        shutil.copy(pictures / "sub" / "scratched.png", pictures / "sub" / f"again{number}.png")
    path = tmp_path / "good.npz"
    done = build(pictures, path, bundle_folder)
    assert done.exit_code == 0, done.output
    assert not [frame.name for frame in read_reference(path).frames if "sub/" in frame.name]
    assert done.stderr.count("left out: sub/") == 7


def test_a_person_has_the_last_word(pictures, bundle_folder, tmp_path):
    done = build(pictures, tmp_path / "good.npz", bundle_folder, "--keep", "sub/*")
    assert done.exit_code == 0, done.output
    assert "sub/scratched.png" not in done.stderr
    kept = {f.name: f.confirmed for f in read_reference(tmp_path / "good.npz").frames}
    assert kept["sub/scratched.png"]
    assert sum(kept.values()) == 1


def test_pictures_that_cannot_be_used_are_named(pictures, bundle_folder, tmp_path):
    (pictures / "broken.png").write_bytes(b"no picture")
    done = build(pictures, tmp_path / "good.npz", bundle_folder)
    assert done.exit_code == 1
    assert "not used: broken.png: " in done.stderr
    assert (tmp_path / "good.npz").exists()
    for path in pictures.rglob("*.png"):
        if path.name != "05.png":
            path.unlink()
    done = build(pictures, tmp_path / "one.npz", bundle_folder)
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].startswith("Error: 1 usable image(s) of 1")
    assert not (tmp_path / "one.npz").exists()


def test_show_prints_where_each_frame_comes_from(pictures, bundle_folder, tmp_path):
    assert build(pictures, tmp_path / "good.npz", bundle_folder).exit_code == 0
    done = zeroline("reference", "show", tmp_path / "good.npz")
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    held = read_reference(tmp_path / "good.npz")
    assert lines[0] == f"{len(held.frames)} frames, {21 - len(held.frames)} were left out"
    assert 'with "small" (degrees 1, 3, 5, false-alarm rate 0.01)' in lines[1]
    assert lines[2] == f"from {pictures}"
    assert lines[3] == "looks at the whole picture"
    assert len(lines) == 5 + len(held.frames)
    time, score, threshold, name = lines[5].split()
    assert time.startswith("2023-11-1")
    assert float(score) <= float(threshold)
    assert name == "20.png"
    done = zeroline("reference", "show", tmp_path / "none.npz")
    assert done.exit_code == 1
    assert done.stderr == f'Error: reference "{tmp_path / "none.npz"}" does not exist\n'


def test_a_line_saves_its_good_frames_and_starts_with_them(pictures, bundle_folder, tmp_path):
    """Save a window, load it into a window of that size: this ended with exit code 1."""
    options = ("--source", pictures, "--model", bundle_folder, "--window", 20, "--threads", 1)
    done = zeroline("run", *options, "--save-reference", tmp_path / "good.npz")
    assert done.exit_code == 0, done.output
    assert "left out: sub/scratched.png: score " in done.stderr
    held = read_reference(tmp_path / "good.npz")
    assert held.source == str(pictures)
    assert {frame.name for frame in held.frames} <= {f"{n:02d}.png" for n in range(21)}
    done = zeroline("run", *options, "--reference", tmp_path / "good.npz")
    assert done.exit_code == 0, done.output
    assert f"15 of {len(held.frames)} frames" in done.stderr
    assert "a quarter of its 20 slots is free for the line" in done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert not any("event" in line for line in lines)
    assert all(line["verdict"] in ("OK", "NG") for line in lines)


def test_a_spoiled_set_is_an_event_and_one_line(pictures, bundle_folder, tmp_path):
    assert build(pictures, tmp_path / "good.npz", bundle_folder).exit_code == 0
    held = read_reference(tmp_path / "good.npz")
    tokens = held.tokens.select(slice(0, 18))
    rng = np.random.default_rng(0)
    for layer in tokens.layers:
        layer[3:6, 20:22] = rng.standard_normal((3, 2, layer.shape[2])) * layer.std() * 8
    frames = tuple(ReferenceFrame(f"part-{n}", 0.0, 0.0, 2.0) for n in range(18))
    spoiled = ReferenceSet(tokens, frames, held.bundle, held.network, held.degrees, 0.01)
    write_reference(tmp_path / "spoiled.npz", spoiled)
    done = zeroline(
        "run", "--source", pictures, "--model", bundle_folder, "--frames", 2, "--threads", 1,
        "--reference", tmp_path / "spoiled.npz",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert "spoiled.npz" in line
    assert "of 18 frames are unusual" in line
    event = json.loads(done.stdout.splitlines()[0])
    assert event["event"] == "reference.changed"
    assert {"part-3", "part-4", "part-5"} <= set(event["left_out"])
    assert event["warning"] in line
    assert event["frames"] == 18 - len(event["left_out"])


def test_another_product_is_one_event(bundle_folder, tmp_path):
    """Told at the third frame of a row, and once for the row."""
    from support.parts import part
    from zeroline.edge_app.events import EventName, events_of
    from zeroline.runtime import RollingInspector, load_bundle

    with (
        load_bundle(bundle_folder, device="cpu", threads=1) as bundle,
        RollingInspector(bundle, window=16, min_window=12, rscin=(), threads=1) as line,
    ):
        stream = [part(n) for n in range(16)]
        stream += [part(n, product=1) for n in range(100, 110)] + [part(16)]
        stream += [part(n, product=1) for n in range(110, 140)]
        told = [events_of(line.push_tokens(tokens)) for tokens in stream]
    events = {n: event for n, group in enumerate(told) for event in group}
    assert {event.name for event in events.values()} == {EventName.PRODUCT_OTHER}
    assert list(events) == [18, 29, 42]
    assert [e.data["in_a_row"] for e in events.values()] == [3, 3, 16]
    assert [e.data["begun_anew"] for e in events.values()] == [False, False, True]
    assert "3 frames in a row are unlike the window: another product, or no part" in events[18].text
