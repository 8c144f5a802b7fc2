"""A window over restarts: the same verdicts, nothing trusted, nothing that does not fit."""

import json
from typing import Any

import numpy as np
import pytest

from support.small_network import CHANNELS, CLASS_CHANNELS, PATCHES
from zeroline.runtime import RollingInspector, Tokens, load_bundle
from zeroline.runtime.archives import open_archive, write_signed
from zeroline.runtime.errors import StateFileError
from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.results import Reason

OPTIONS: dict[str, Any] = {
    "window": 80,
    "min_window": 12,
    "degrees": (1,),
    "rscin": (),
    "threads": 1,
}


@pytest.fixture(scope="module")
def bundle(bundle_folder):
    with load_bundle(bundle_folder, device="cpu", threads=1) as opened:
        yield opened


def frame_tokens(number, *, marked=False):
    rng = np.random.default_rng((1, number))
    layers = []
    for layer, channels in enumerate(CHANNELS):
        rows = np.random.default_rng((2, layer)).standard_normal((PATCHES, channels))
        rows = rows + 0.35 * rng.standard_normal((PATCHES, channels))
        if marked:
            rows[[27, 28, 35]] = 1.5 * np.random.default_rng((3, layer)).standard_normal(channels)
        layers.append(rows[None].astype(np.float32))
    token = rng.standard_normal((1, CLASS_CHANNELS)).astype(np.float32)
    return Tokens(tuple(layers), token / np.linalg.norm(token))


def filled(inspector, count, *, marked=lambda n: False):
    for number in range(count):
        inspector.push_tokens(frame_tokens(number, marked=marked(number)), part_id=f"p{number}")


def test_the_next_frame_gets_the_verdict_that_it_would_have_got(bundle, tmp_path):
    path = tmp_path / "state" / "top.npz"
    with RollingInspector(bundle, **OPTIONS) as first:
        filled(first, 30)
        written = first.snapshot().write(path)
        expected = first.push_tokens(frame_tokens(30), part_id="p30")
    assert (written.frames, written.recurring, written.bytes) == (30, 0, path.stat().st_size)
    with RollingInspector(bundle, **OPTIONS) as second:
        report = second.load_state(path)
        assert report == written
        assert second.frame_ids == list(range(30))
        got = second.push_tokens(frame_tokens(30), part_id="p30")
    assert (got.verdict, got.frame_id, got.compared_with) == (
        expected.verdict, 30, expected.compared_with,
    )  # fmt: skip
    assert got.scores is not None
    assert expected.scores is not None
    assert got.scores.raw_score == pytest.approx(expected.scores.raw_score, abs=2e-3)
    assert got.scores.threshold == pytest.approx(expected.scores.threshold, abs=5e-3)


def test_a_frame_of_the_part_that_was_last_does_not_match_itself(bundle, tmp_path):
    """The same part comes again after the restart: its own frame would vouch for it."""
    path = tmp_path / "s.npz"
    with RollingInspector(bundle, **OPTIONS) as first:
        filled(first, 20)
        first.push_tokens(frame_tokens(90, marked=True), part_id="bad")
        first.snapshot().write(path)
    with RollingInspector(bundle, admit_copies=True, **OPTIONS) as second:
        second.load_state(path)
        again = second.push_tokens(frame_tokens(90, marked=True), part_id="bad")
        other = second.push_tokens(frame_tokens(90, marked=True), part_id="another")
    assert again.scores is not None
    assert other.scores is not None
    assert again.scores.raw_score > 1.2 * other.scores.raw_score
    assert again.compared_with == 20


def test_frames_that_share_a_defect_do_not_come_back(bundle, tmp_path):
    """They are found by a search of their own: no run before has marked them."""
    path = tmp_path / "s.npz"
    with RollingInspector(bundle, codegraph=False, **OPTIONS) as first:
        filled(first, 80, marked=lambda n: n >= 40 and n % 3 == 0)
        written = first.snapshot().write(path)
    assert (written.frames, written.recurring) == (80, 0)
    with RollingInspector(bundle, **OPTIONS) as second:
        report = second.load_state(path)
        bad = [n for n in range(40, 80) if n % 3 == 0]
        assert report.recurring >= 0.8 * len(bad)
        assert report.frames + report.recurring == 80
        missed = set(bad) & set(second.frame_ids)
        assert len(missed) <= 0.2 * len(bad)
        assert len(second.frame_ids) >= 66  # and hardly a good one


def test_frames_of_one_part_share_no_recurring_defect(bundle, tmp_path):
    """A part that was shown again and again has its own defect each time."""
    path = tmp_path / "s.npz"
    for name, expected in (("same", 0), (None, 8)):
        with RollingInspector(bundle, codegraph=False, admit_copies=True, **OPTIONS) as first:
            filled(first, 60)
            for number in range(60, 70):
                tokens = frame_tokens(number, marked=True)
                first.push_tokens(tokens, part_id=name or f"p{number}")
            first.snapshot().write(path)
        with RollingInspector(bundle, **OPTIONS) as second:
            report = second.load_state(path)
        assert report.recurring >= expected
        assert report.recurring <= expected + 2


def test_frames_with_a_known_defect_are_not_written(bundle, tmp_path):
    path = tmp_path / "s.npz"
    with RollingInspector(bundle, **OPTIONS) as first:
        filled(first, 140, marked=lambda n: n >= 60 and n % 4 == 1)
        known = {frame for defect in first.recurring for frame in defect.frames}
        assert known
        written = first.snapshot().write(path)
    assert written.recurring == len(known)
    with open_archive(path) as archive:
        assert not known & {row[0] for row in archive.header()["frames"]}


def test_a_reference_set_is_not_written_and_is_not_made(bundle, tmp_path):
    reference, path = tmp_path / "good.npz", tmp_path / "s.npz"
    with RollingInspector(bundle, **OPTIONS) as first:
        filled(first, 40)
        first.save_reference(reference)
    with RollingInspector(bundle, **OPTIONS) as second:
        second.load_reference(reference)
        pinned = len(second.frame_ids)
        for number in range(100, 110):
            second.push_tokens(frame_tokens(number), part_id=f"p{number}")
        assert second.snapshot().write(path).frames == 10
    with RollingInspector(bundle, **OPTIONS) as third:
        third.load_reference(reference)
        third.load_state(path)
        slots = [slot for _, slot in third._parts.slots.in_order()]
        assert [slot.pinned for slot in slots] == [True] * pinned + [False] * 10
        assert not any(slot.reference for slot in slots[pinned:])


def test_more_frames_than_there_is_room_for_the_newest_come_back(bundle, tmp_path):
    path = tmp_path / "s.npz"
    with RollingInspector(bundle, **OPTIONS) as first:
        filled(first, 60)
        first.snapshot().write(path)
    with RollingInspector(bundle, **{**OPTIONS, "window": 24}) as second:
        assert second.load_state(path).frames == 24
        assert second.frame_ids == list(range(36, 60))


def test_an_empty_window_is_a_file_too(bundle, tmp_path):
    path = tmp_path / "s.npz"
    with RollingInspector(bundle, **OPTIONS) as first:
        assert first.snapshot().write(path).frames == 0
        assert first.load_state(path).frames == 0


@pytest.fixture
def written(bundle, tmp_path):
    path = tmp_path / "s.npz"
    with RollingInspector(bundle, **OPTIONS) as first:
        filled(first, 20)
        first.snapshot().write(path)
    return path


def refused(bundle, path, **options):
    with RollingInspector(bundle, **OPTIONS, **options) as inspector:
        with pytest.raises(StateFileError) as caught:
            inspector.load_state(path)
        assert inspector.frame_ids == []
        first = inspector.push_tokens(frame_tokens(0))
        assert first.reason is Reason.WARMING_UP
    return str(caught.value)


def test_another_framing_is_dropped(bundle, written):
    crop = ((0, 0), (32, 0), (32, 64), (0, 64))
    framing = Framing(size=(64, 64), crop=crop)
    assert "is of another framing" in refused(bundle, written, framing=framing)


def changed(path, change):
    with open_archive(path) as archive:
        header, arrays = archive.header(), archive.arrays()
    header.pop("sha256")
    change(header, arrays)
    write_signed(path, header, arrays)


BROKEN = {
    "another bundle": (lambda h, a: h.update(network="0" * 64), "is of another bundle"),
    "another version": (lambda h, a: h.update(version=9), "it has the version 9, not 1"),
    "fewer frames": (lambda h, a: h["frames"].pop(), "its arrays are not those of its frames"),
    "a negative number": (
        lambda h, a: h["frames"].__setitem__(0, [-1, "a", 0.0, 0.0, False]),
        "a frame has no number, time or turn",
    ),
    "no layers": (
        lambda h, a: [a.pop(name) for name in list(a) if name.startswith("layer")],
        "its arrays are not those of its frames",
    ),
    "NaN": (
        lambda h, a: a["layer_0"].__setitem__((0, 0, 0), np.nan),
        "its arrays are not those of its frames",
    ),
    "a layer of another size": (
        lambda h, a: a.update(layer_0=a["layer_0"][:, :, :5].copy()), "the network gives",
    ),
    "frames that are none": (lambda h, a: h.update(frames=[3] * 20), "cannot be used"),
    "no framing": (lambda h, a: h.pop("framing"), "it has no 'framing'"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_what_does_not_fit_is_dropped_whole(bundle, written, case):
    change, expected = BROKEN[case]
    changed(written, change)
    assert expected in refused(bundle, written)


def test_a_byte_that_has_changed_is_seen(bundle, written):
    content = bytearray(written.read_bytes())
    content[len(content) // 2] ^= 0xFF
    written.write_bytes(content)
    assert "cannot be used" in refused(bundle, written)
    written.write_bytes(content[: len(content) // 3])
    assert "cannot be used" in refused(bundle, written)
    written.write_text(json.dumps({"frames": []}))
    assert "cannot be used" in refused(bundle, written)


def test_a_file_that_cannot_be_written_is_told(bundle, tmp_path):
    (tmp_path / "file").write_text("")
    with RollingInspector(bundle, **OPTIONS) as inspector:
        filled(inspector, 3)
        with pytest.raises(StateFileError, match="cannot be written"):
            inspector.snapshot().write(tmp_path / "file" / "s.npz")


def test_a_part_that_a_person_called_good_is_kept_in_the_next_reference_set(bundle, tmp_path):
    path = tmp_path / "good.npz"
    with RollingInspector(bundle, **OPTIONS) as inspector:
        filled(inspector, 40)
        odd = inspector.push_tokens(frame_tokens(99, marked=True), part_id="odd")
        assert odd.reason is Reason.SCORE
        assert "odd" in {one.name for one in inspector.save_reference(path).left_out}
        assert inspector.confirm("odd")
        assert not inspector.confirm("unknown")
        assert "odd" not in {one.name for one in inspector.save_reference(path).left_out}
