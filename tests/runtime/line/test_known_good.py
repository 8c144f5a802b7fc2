"""Reference sets of a window: what is written of it, and what is taken of a set."""

import time
from typing import Any

import numpy as np
import pytest

from support.parts import part, parts
from zeroline.runtime import (
    Reason,
    RollingInspector,
    ScoringError,
    ThresholdRule,
    Verdict,
    auto_threshold,
    load_bundle,
)
from zeroline.runtime.reference.files import read_reference, write_reference
from zeroline.runtime.reference.sets import ReferenceFrame, ReferenceSet
from zeroline.runtime.tokens import joined


@pytest.fixture(scope="module")
def bundle(bundle_folder):
    with load_bundle(bundle_folder, device="cpu", threads=1) as opened:
        yield opened


def line_of(bundle, **options):
    usual: dict[str, Any] = {
        "window": 32, "min_window": 12, "rscin": (), "threads": 1, "matching": "exact",
        "degrees": (1, 3),
    }  # fmt: skip
    return RollingInspector(bundle, **usual | options)


def pushed(line, numbers, *, named=False, **options):
    names = [f"part-{n}" if named else None for n in numbers]
    return [
        line.push_tokens(part(n, **options), part_id=name)
        for n, name in zip(numbers, names, strict=True)
    ]


def by_hand(bundle, tokens, path, *, confirmed=False):
    """Write a set that nobody has looked at, or somebody has."""
    frames = tuple(
        ReferenceFrame(f"part-{n}", 0.0, 0.0, 2.0, confirmed) for n in range(len(tokens))
    )
    about = bundle.manifest.name, bundle.manifest.network
    write_reference(path, ReferenceSet(tokens, frames, *about, (1, 3), 0.01))


def test_a_reference_set_ends_the_warm_up(bundle, tmp_path):
    path = tmp_path / "sets" / "good.npz"
    with line_of(bundle) as line:
        pushed(line, range(30), named=True)
        assert line.save_reference(path, source="line 3").frames >= 28
    reference = read_reference(path)
    assert (reference.source, reference.bundle, reference.degrees) == ("line 3", "small", (1, 3))
    assert {frame.name for frame in reference.frames} <= {f"part-{n}" for n in range(30)}
    assert all(abs(frame.time - time.time()) < 300 for frame in reference.frames)
    assert all(frame.score <= frame.threshold < 2 for frame in reference.frames)
    assert reference.left_out == 30 - len(reference.frames)
    with line_of(bundle) as line:
        report = line.load_reference(path)
        assert report.warning == ""
        assert pushed(line, [100], stained=True)[0].verdict is Verdict.NG
        assert pushed(line, [101])[0].verdict is Verdict.OK
        pushed(line, range(102, 140))
        assert sum(number < 0 for number in line.frame_ids) == report.frames == 24  # pinned
        line.rule = ThresholdRule(calibrated=True, false_alarm_rate=0.1)
        assert pushed(line, [141], stained=True)[0].verdict is Verdict.NG
        line.save_reference(path)
    names = [frame.name for frame in read_reference(path).frames]
    assert sum(name.startswith("part-") for name in names) > 18  # as they were called at first


def test_the_first_threshold_rests_on_all_frames_of_the_set(bundle, tmp_path):
    """It rested on five, one of them the new frame's own, and let a marked part pass."""
    by_hand(bundle, parts(range(24)), tmp_path / "good.npz")
    for number in range(102, 106):
        with line_of(bundle) as line:
            line.load_reference(tmp_path / "good.npz")
            first = pushed(line, [number], stained=True)[0]
            _, scored = line.scores()
        wanted = auto_threshold(scored.raw_scores)
        assert first.scores.threshold == pytest.approx(wanted, rel=0.03)


def test_a_set_as_large_as_the_window_leaves_a_quarter_of_it_to_the_line(bundle, tmp_path):
    """The way in the documentation failed: save 64, load 64 into a window of 64."""
    by_hand(bundle, parts(range(40)), tmp_path / "good.npz")
    with line_of(bundle) as line:
        report = line.load_reference(tmp_path / "good.npz")
        assert (report.frames, report.offered) == (24, 40)
        assert report.unused == 40 - 24 - len(report.left_out)
        assert str(report).startswith("24 of 40 frames")
        with pytest.raises(ScoringError, match=r"the 24 pinned frames .* no room"):
            line.load_reference(tmp_path / "good.npz")
        pushed(line, range(100, 120))
        newest = [slot.name for _, slot in line._slots.in_order() if slot.reference]
    assert newest[-1] == "part-39"
    with line_of(bundle, window=40) as line:
        assert line.load_reference(tmp_path / "good.npz", pinned=False).unused == 0
        pushed(line, range(100, 140))
        assert min(line.frame_ids) == 0  # all have left


def test_what_was_ng_or_recurring_is_not_saved(bundle, tmp_path):
    with line_of(bundle) as line:
        pushed(line, range(20))
        assert pushed(line, [20], stained=True)[0].verdict is Verdict.NG
        for number in range(21, 60):
            line.push_tokens(part(number, marked=number % 4 == 1))
        held = line.frame_ids
        report = line.save_reference(tmp_path / "good.npz")
    marked = {f"frame {number}" for number in held if number % 4 == 1}
    left_out = {one.name: one.reason for one in report.left_out}
    assert marked <= set(left_out)
    assert {left_out[name] for name in marked} == {Reason.RECURRING}
    assert len(left_out) <= len(marked) + 2
    assert "share a defect" in report.warning
    names = {frame.name for frame in read_reference(tmp_path / "good.npz").frames}
    assert not names & set(left_out)
    assert report.frames == len(names)


def test_a_window_is_not_trusted_even_where_nothing_was_looked_for(bundle, tmp_path):
    """Without a search on the line the marked parts were all OK, and pinned as known-good."""
    with line_of(bundle, codegraph=False) as line:
        told = [line.push_tokens(part(n, marked=n % 4 == 1)) for n in range(32)]
        assert {told[n].verdict for n in range(21, 32, 4)} == {Verdict.OK}
        report = line.save_reference(tmp_path / "good.npz")
    assert {f"frame {n}" for n in range(32) if n % 4 == 1} <= {o.name for o in report.left_out}


def test_a_spoiled_set_is_warned_of_and_cleaned_when_it_is_loaded(bundle, tmp_path):
    tokens = joined(part(n, marked=n % 5 == 2) for n in range(32))
    by_hand(bundle, tokens, tmp_path / "spoiled.npz")
    with line_of(bundle) as line:
        report = line.load_reference(tmp_path / "spoiled.npz")
        assert report.warning == "6 of 32 frames share a defect: a tool may be broken"
        assert {one.name for one in report.left_out} >= {f"part-{n}" for n in range(2, 32, 5)}
        told = [line.push_tokens(part(n, marked=n % 4 == 1)) for n in range(100, 160)]
        verdicts = [i.verdict for i in told]
        for inspection in told:
            for revision in inspection.revisions:
                verdicts[revision.frame_id] = revision.verdict
    assert all(verdicts[n] is Verdict.NG for n in range(60) if (n + 100) % 4 == 1)


def test_what_a_person_has_kept_stays(bundle, tmp_path):
    tokens = joined(part(n, marked=n % 5 == 2) for n in range(24))
    by_hand(bundle, tokens, tmp_path / "kept.npz", confirmed=True)
    with line_of(bundle) as line:
        report = line.load_reference(tmp_path / "kept.npz")
        assert (report.frames, report.left_out, report.warning) == (24, (), "")
        assert line.save_reference(tmp_path / "again.npz").frames == 24
    assert all(frame.confirmed for frame in read_reference(tmp_path / "again.npz").frames)


def test_a_frame_that_the_line_called_recurring_is_left_out_for_that(bundle, tmp_path):
    """The others that shared the defect have left the window, so a search finds nothing."""
    with line_of(bundle) as line:
        pushed(line, range(20))
        next(slot for _, slot in line._slots.in_order() if slot.frame_id == 7).recurring = True
        report = line.save_reference(tmp_path / "good.npz")
    assert {one.name: one.reason for one in report.left_out}["frame 7"] is Reason.RECURRING


def test_looks_at_one_part_do_not_match_each_other(bundle, tmp_path):
    with line_of(bundle, admit_copies=True) as line:
        pushed(line, range(20), named=True)
        line.push_tokens(part(50, stained=True), part_id="one")
        line.push_tokens(part(50, stained=True), part_id="one")
        report = line.save_reference(tmp_path / "good.npz")
    assert [one.name for one in report.left_out].count("one") == 2


def test_an_empty_window_and_a_single_part_have_nothing_to_save(bundle, tmp_path):
    with line_of(bundle) as line:
        with pytest.raises(ScoringError, match="the window is empty"):
            line.save_reference(tmp_path / "good.npz")
        pushed(line, [1])
        with pytest.raises(ScoringError, match="needs 2 parts or more"):
            line.save_reference(tmp_path / "good.npz")
    assert not list(tmp_path.iterdir())


def test_a_set_on_patches_that_count_only(bundle, tmp_path):
    roi = np.ones(64, bool)
    roi[8:48] = False  # marks and stains lie here
    with line_of(bundle, roi=roi) as line:
        for number in range(32):
            line.push_tokens(part(number, marked=number % 4 == 1, stained=number == 7))
        report = line.save_reference(tmp_path / "good.npz")
    assert len(report.left_out) <= 2
    assert report.warning == ""
