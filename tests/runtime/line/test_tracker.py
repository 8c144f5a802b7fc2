"""Recurring defects on a line: found, told as alarms and revisions, recognised, and forgotten."""

import numpy as np
import pytest

from support.small_network import CHANNELS, CLASS_CHANNELS, PATCHES
from support.windows import kept_window
from zeroline.runtime import RollingInspector, Tokens, Verdict, codegraph, lnamd, load_bundle
from zeroline.runtime.grid import widened
from zeroline.runtime.line.finest import finest_table
from zeroline.runtime.line.search import SearchOutcome
from zeroline.runtime.line.tracker import DefectTracker
from zeroline.runtime.matching.distances import match_distances
from zeroline.runtime.recurring.codegraph import CodegraphResult
from zeroline.runtime.recurring.marking import marks_of_newcomer
from zeroline.runtime.reference.files import write_reference
from zeroline.runtime.reference.sets import ReferenceFrame, ReferenceSet
from zeroline.runtime.stages.degrees import aggregated
from zeroline.runtime.stages.threshold import ThresholdRule, auto_threshold
from zeroline.runtime.tokens import joined
from zeroline.runtime.workers import WorkerPool

SIDE = int(PATCHES**0.5)
MARK = (27, 28, 35)


@pytest.fixture(scope="module")
def bundle(bundle_folder):
    with load_bundle(bundle_folder, device="cpu", threads=1) as opened:
        yield opened


def frame_tokens(number, *, look=None, patches=MARK):
    """Tokens of a frame of one product; with a look, the same defect as all with this look."""
    rng = np.random.default_rng((1, number))
    layers = []
    for layer, channels in enumerate(CHANNELS):
        places = np.random.default_rng((2, layer)).standard_normal((PATCHES, channels))
        rows = places + 0.35 * rng.standard_normal((PATCHES, channels))
        if look is not None:
            defect = 1.5 * np.random.default_rng((3, layer, look)).standard_normal(channels)
            rows[list(patches)] = defect + 0.15 * rng.standard_normal((len(patches), channels))
        layers.append(rows[None].astype(np.float32))
    token = rng.standard_normal((1, CLASS_CHANNELS)).astype(np.float32)
    return Tokens(tuple(layers), token / np.linalg.norm(token))


def marked(number, *, start=60):
    return number >= start and number % 4 == 1


def inspected(inspector, numbers, look_of):
    return [
        inspector.push_tokens(frame_tokens(n, look=look_of(n)), part_id=f"p{n}") for n in numbers
    ]


def tracker_of(inspector):
    tracker = inspector._parts.tracker
    assert isinstance(tracker, DefectTracker)
    return tracker


def options(**more):
    usual = {"window": 40, "min_window": 12, "rscin": (), "threads": 1, "matching": "exact"}
    return usual | more


@pytest.mark.parametrize("degrees", [(1,), (1, 3), "fused"])
def test_a_stuck_tool_raises_an_alarm_and_its_parts_are_ng(bundle, degrees):
    with RollingInspector(bundle, **options(degrees=degrees)) as inspector:
        inspections = inspected(inspector, range(140), lambda n: 0 if marked(n) else None)
        (now,) = inspector.recurring
    (alarm,) = [alarm for i in inspections for alarm in i.alarms]
    assert alarm.number == 1
    assert alarm.since == 61
    assert alarm.since_part == "p61"
    assert all(marked(n) for n in alarm.frames)
    assert alarm.share == pytest.approx(0.25, abs=0.1)
    raised = next(i.frame_id for i in inspections if i.alarms)
    assert raised < 60 + 40
    assert str(alarm).startswith(
        'recurring defect 1, one mark at one place, since frame 61 (part "p61"): '
        f"{len(alarm.frames)} frames"
    )
    final = {i.frame_id: i.verdict for i in inspections}
    for i in inspections:
        final |= {revision.frame_id: revision.verdict for revision in i.revisions}
    assert all(final[n] is Verdict.NG for n in range(140) if marked(n))
    for i in inspections[raised + 1 :]:
        assert i.recurring == marked(i.frame_id)
    assert [n for n in now.frames if not marked(n)] == []
    assert now.since == 61
    assert now.frames[-1] == 137


def test_a_device_that_fails_in_a_search_loses_no_defect(bundle, monkeypatch):
    """What was half known when it failed is forgotten: the next search finds it, and tells it."""

    class CupyError(RuntimeError):
        pass

    CupyError.__module__ = "cupy_backends.cuda.api.runtime"
    usual, calls = DefectTracker.add_member, []

    def add_member(tracker, *arguments, **options):
        calls.append(arguments)
        if len(calls) == 3:
            raise CupyError("cudaErrorLaunchOutOfResources: too many resources")
        return usual(tracker, *arguments, **options)

    monkeypatch.setattr(DefectTracker, "add_member", add_member)
    with RollingInspector(bundle, **options(degrees=(1,))) as inspector:
        inspections = []
        for number in range(140):
            inspections += inspected(inspector, [number], lambda n: 0 if marked(n) else None)
            if inspections[-1].search_failed:
                assert inspector.recurring == ()
    (failed,) = [i for i in inspections if i.search_failed]
    assert failed.search_failed.startswith("the CUDA device failed: cudaErrorLaunchOut")
    assert failed.verdict is not Verdict.FAULT
    (raised,) = [i for i in inspections if i.alarms]
    assert raised.frame_id > failed.frame_id
    (alarm,) = raised.alarms
    assert (alarm.number, alarm.since) == (1, 61)
    assert {r.frame_id for r in raised.revisions} == set(alarm.frames)


def test_an_earlier_verdict_is_kept_in_the_revision(bundle):
    with RollingInspector(bundle, **options(degrees=(1,))) as inspector:
        inspections = inspected(inspector, range(100), lambda n: 0 if marked(n, start=20) else None)
        revisions = [revision for i in inspections for revision in i.revisions]
        said = {i.frame_id: i.verdict for i in inspections}
        assert {revision.first for revision in revisions} >= {Verdict.NG}
        for revision in revisions:
            assert revision.recurring
            assert revision.part_id == f"p{revision.frame_id}"
            assert revision.first is said[revision.frame_id]
            # against the frames without it: no other member matches it
            assert revision.scores.raw_score > auto_threshold(
                [i.scores.raw_score for i in inspections if not marked(i.frame_id) and i.scores]
            )


def test_without_it_members_match_each_other(bundle):
    """What all this is for; fails where the filter does nothing, or marks everything."""

    def ng(codegraph):
        with RollingInspector(bundle, **options(degrees=(1,), codegraph=codegraph)) as inspector:
            inspections = inspected(inspector, range(140), lambda n: 0 if marked(n) else None)
        return (
            sum(i.verdict is Verdict.NG for i in inspections[100:] if marked(i.frame_id)),
            sum(i.verdict is Verdict.NG for i in inspections[100:] if not marked(i.frame_id)),
        )

    found, false = ng(True)
    assert found == 10
    assert false <= 2
    assert ng(False)[0] <= 5


def test_what_has_the_defect_says_nothing_of_good_parts(bundle):
    class Counting(ThresholdRule):
        def threshold(self, scores, /, **sizes):
            counts.append(len(scores))
            return super().threshold(scores, **sizes)

    counts: list[int] = []
    with RollingInspector(bundle, **options(degrees=(1,), threshold=Counting())) as inspector:
        inspected(inspector, range(139), lambda n: 0 if marked(n) else None)
        counts.clear()
        inspected(inspector, [139], lambda _: None)
        (known,) = inspector.recurring
    assert set(counts) == {40 - len(known.frames)}


def test_two_defects_one_after_the_other_and_both_are_forgotten(bundle):
    def look_of(n):
        if 40 <= n < 100 and n % 4 == 1:
            return 0
        return 1 if 80 <= n < 140 and n % 4 == 3 else None

    with RollingInspector(bundle, **options(degrees=(1,))) as inspector:
        inspections = []
        for n in range(200):
            look = look_of(n)
            place = MARK if look != 1 else (9, 10)
            inspections.append(inspector.push_tokens(frame_tokens(n, look=look, patches=place)))
            if n == 130:
                assert [defect.number for defect in inspector.recurring] == [1, 2]
        assert inspector.recurring == ()
    alarms = [alarm for i in inspections for alarm in i.alarms]
    assert [alarm.number for alarm in alarms] == [1, 2]
    assert [alarm.since % 4 for alarm in alarms] == [1, 3]
    assert not any(i.recurring for i in inspections[141:])


def test_frames_that_have_left_are_not_spoken_of(bundle):
    """Between a search and what comes of it, slots have passed to other frames."""
    with RollingInspector(bundle, **options(degrees=(1,), window=24)) as inspector:
        inspections = inspected(inspector, range(120), lambda n: 0 if marked(n, start=0) else None)
    revised = [revision.frame_id for i in inspections for revision in i.revisions]
    assert revised
    assert all(marked(n, start=0) for n in revised)
    assert [
        i.frame_id for i in inspections if i.recurring and not marked(i.frame_id, start=0)
    ] == []


def test_a_defect_found_again_is_the_same_one(bundle, monkeypatch):
    """Where newcomers are not recognised, a later search finds them, and names no new defect."""
    monkeypatch.setattr(DefectTracker, "recognise", lambda *_, **__: None)
    monkeypatch.setattr("zeroline.runtime.line.search.MOST_FRAMES", 35)
    monkeypatch.setattr("zeroline.runtime.line.tracker.MOST_FRAMES", 35)  # a search every 35 frames
    with RollingInspector(bundle, **options(degrees=(1,), window=70)) as inspector:
        inspections = inspected(inspector, range(140), lambda n: 0 if marked(n, start=20) else None)
        (known,) = inspector.recurring
    assert [alarm.number for i in inspections for alarm in i.alarms] == [1]
    assert known.number == 1
    assert known.since == 21
    assert len([i for i in inspections if i.revisions]) > 1


def test_marks_are_ignored_as_wide_as_the_largest_degree_sees(bundle):
    with RollingInspector(bundle, **options(degrees=(1, 5))) as inspector:
        inspected(inspector, range(139), lambda n: 0 if marked(n) else None)
        (known,) = inspector.recurring
        order = [frame for frame in inspector.frame_ids if frame in known.frames]
        ignored = inspector.window.ignored[inspector.window.ignored.any(axis=1)]
    assert len(ignored) == len(order)
    wanted = widened(known.marks, by=2)
    assert sorted(map(tuple, ignored.tolist())) == sorted(map(tuple, wanted.tolist()))


@pytest.mark.parametrize("exclusion", [3, 100])
def test_frames_that_do_not_match_are_no_trouble(bundle, exclusion):
    with RollingInspector(bundle, **options(degrees=(1,), exclusion=exclusion)) as inspector:
        inspections = inspected(inspector, range(120), lambda n: 0 if marked(n) else None)
    assert sum(len(i.alarms) for i in inspections) == (exclusion == 3)
    assert all(i.recurring == marked(i.frame_id) for i in inspections[101:]) == (exclusion == 3)


def test_recognised_frames_are_no_examples_until_a_search_confirms_them(bundle):
    """A good frame that was recognised once made others recognised, for ever."""
    with RollingInspector(bundle, **options(degrees=(1,), window=20)) as inspector:
        inspections = inspected(
            inspector, range(200),
            lambda n: 0 if (n < 100 and marked(n, start=20)) or n in (117, 137, 157) else None,
        )  # fmt: skip
        assert [defect.number for defect in inspector.recurring] == []
    # 97 was confirmed, so that 117 is recognised; one frame alone is never confirmed
    assert [inspections[n].recurring for n in (97, 117, 137, 157)] == [True, True, False, False]


def test_a_search_confirms_what_was_recognised(bundle):
    with RollingInspector(bundle, **options(degrees=(1,))) as inspector:
        inspected(inspector, range(135), lambda n: 0 if marked(n) else None)
        (defect,) = tracker_of(inspector).known
        waiting = [
            inspector._slots[p].frame_id for p, m in defect.members.items() if not m.confirmed
        ]
        confirmed = [inspector._slots[place].frame_id for place in defect.confirmed]
    assert waiting  # the newest
    assert len(confirmed) >= 4
    assert max(confirmed) > 100  # the alarm came before 100
    assert min(waiting) > max(confirmed)


def test_what_is_usual_without_the_examples_is_not_recognised(bundle):
    """A good part matched two examples by a hair, at a score far under the threshold."""
    with RollingInspector(bundle, **options(degrees=(1,))) as inspector:
        inspected(inspector, range(110), lambda n: 0 if marked(n) else None)
        window, tracker = inspector.window, tracker_of(inspector)
        frame = frame_tokens(113, look=0)
        features = window.features_of([layer[0] for layer in frame.layers])
        matches = window.match(features, reachable=inspector._slots.filled)
        found = tracker.recognise(matches, place=0, limit=0.5)
        assert found is not None
        assert set(np.flatnonzero(found.marks)) >= set(MARK)
        without = window.score(matches, without=[0, *found.defect.members])
        assert without is not None
        highest = float(without[found.marks].max())
        assert tracker.recognise(matches, place=0, limit=highest) is None
        assert tracker.recognise(matches, place=0, limit=highest - 1e-6) is not None
        assert tracker.recognise(matches, place=0, limit=None) is None


def test_an_alarm_that_later_frames_do_not_bear_out_is_withdrawn(bundle):
    """First a look is rare, then a new lot has it: it is a normal variation."""

    def look_of(n):
        return 0 if (20 <= n < 60 and n % 4 == 1) or n >= 60 else None

    with RollingInspector(bundle, **options(degrees=(1,))) as inspector:
        inspections = inspected(inspector, range(118), look_of)
        held = inspector.frame_ids
        marked_now = inspector.window.ignored.any()
        inspections += inspected(inspector, range(118, 200), look_of)
        recurring_now = [slot.recurring for _, slot in inspector._slots.in_order()]
    withdrawn = [(i.frame_id, a.number) for i in inspections for a in i.withdrawn]
    assert [number for _, number in withdrawn] == [1]
    assert 60 < withdrawn[0][0] < 100
    assert min(held) < 80  # frames that had the defect are still in the window
    assert inspector.recurring == ()
    assert not marked_now  # no frame is ignored any more
    assert not any(recurring_now)
    ng = {i.frame_id for i in inspections if i.verdict is Verdict.NG}
    ng |= {r.frame_id for i in inspections for r in i.revisions if r.verdict is Verdict.NG}
    cleared = [r for i in inspections for r in i.revisions if r.verdict is not Verdict.NG]
    assert ng >= {21, 25, 29, 33}
    assert cleared == []
    assert all(i.verdict is Verdict.OK for i in inspections[160:])


@pytest.mark.parametrize("left", [False, True])
def test_a_defect_is_judged_by_as_many_frames_as_it_was_found_in(bundle, left):
    """A tool is repaired: its frames leave, and the few that remain are no evidence against it."""
    with RollingInspector(bundle, **options(degrees=(1,))) as inspector:
        inspected(inspector, range(110), lambda n: 0 if marked(n) else None)
        tracker = tracker_of(inspector)
        (defect,) = tracker.known
        if left:
            for place in list(defect.members)[: len(defect.members) - defect.found_in + 1]:
                defect.members.pop(place)
        frames = tuple((place, slot.frame_id) for place, slot in inspector._slots.in_order())
        nothing = CodegraphResult(np.zeros((40, PATCHES), bool), (), borne_out=(None,))
        outcome = SearchOutcome(frames, (defect.number,), nothing)
        changed: set[int] = set()
        withdrawn = tracker._measured_again(outcome, changed)
        ignored = [tracker._ignored(place).any() for place in defect.members]
    assert withdrawn == ([] if left else [defect])
    assert changed == (set() if left else set(defect.members))  # they match as they came
    assert all(ignored) if left else not any(ignored)


def test_good_parts_raise_no_alarm(bundle):
    with RollingInspector(bundle, **options()) as inspector:
        inspections = inspected(inspector, range(150), lambda _: None)
    assert not any(i.alarms or i.recurring or i.revisions for i in inspections)


def test_what_known_good_parts_show_is_no_defect(bundle, tmp_path):
    look = joined(frame_tokens(n, look=0 if n % 2 else None) for n in range(500, 512))
    frames = tuple(ReferenceFrame(f"p{n}", 0.0, 0.0, 2.0, confirmed=True) for n in range(12))
    about = bundle.manifest.name, bundle.manifest.network
    write_reference(tmp_path / "good.npz", ReferenceSet(look, frames, *about, (1,), 0.01))
    with RollingInspector(bundle, **options(degrees=(1,))) as inspector:
        inspector.load_reference(tmp_path / "good.npz")
        inspections = inspected(inspector, range(120), lambda n: 0 if marked(n) else None)
    assert not any(i.alarms or i.recurring for i in inspections)


@pytest.mark.parametrize("degrees", [(1, 3), "fused"])
def test_outside_the_region_of_interest_nothing_is_looked_for(bundle, degrees):
    roi = np.ones(PATCHES, bool)
    roi[:40] = False
    with RollingInspector(bundle, **options(degrees=degrees, roi=roi)) as inspector:
        outside = inspected(inspector, range(120), lambda n: 0 if marked(n) else None)
    assert not any(i.alarms or i.search_failed for i in outside)
    roi[8:] = True
    with RollingInspector(bundle, **options(degrees=degrees, roi=roi)) as inspector:
        inside = inspected(inspector, range(120), lambda n: 0 if marked(n) else None)
    assert sum(len(i.alarms) for i in inside) == 1
    assert all(i.recurring == marked(i.frame_id) for i in inside[101:])


def test_a_line_says_the_same_each_time(bundle):
    def told():
        with RollingInspector(bundle, **options(threads=2)) as inspector:
            inspections = inspected(inspector, range(120), lambda n: 0 if marked(n) else None)
        return [(i.verdict, i.alarms, i.revisions, i.recurring) for i in inspections]

    assert told() == told()


def window_of(frames, pool, **more):
    window = kept_window((len(frames) + 1, PATCHES, CHANNELS, (3, 1)), pool, **more)
    for slot, frame in enumerate(frames):
        features = window.features_of([layer[0] for layer in frame.layers])
        window.admit(slot, window.match(features))
    return window


def test_the_window_gives_the_distances_of_the_smallest_degree():
    frames = [frame_tokens(n) for n in range(6)]
    with WorkerPool(2) as pool:
        window = window_of(frames, pool)
        found = finest_table(window, [4, 1, 2])
    chosen = [frames[n] for n in (4, 1, 2)]
    wanted = np.mean(
        [
            match_distances(lnamd(np.concatenate([f.layers[k] for f in chosen]), degree=1))
            for k in range(len(CHANNELS))
        ],
        axis=0,
    )
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize("form", ["float32", "float32-plain"])
def test_ignored_patches_are_matched_by_nobody(form):
    """Against a batch that ignores them from the start; frames of one part stay apart."""
    frames = [frame_tokens(n) for n in range(7)]
    parts = np.array([0, 1, 2, 3, 3, 4, 5])
    rng = np.random.default_rng(4)
    ignore = rng.random((7, PATCHES)) < 0.3
    early = np.arange(PATCHES) % 2 == 0
    with WorkerPool(2) as pool:
        window = kept_window((8, PATCHES, CHANNELS, (1, 3), form), pool)
        for slot, frame in enumerate(frames):
            features = window.features_of([layer[0] for layer in frame.layers])
            apart = np.zeros(8, bool)
            apart[:slot] = parts[:slot] == parts[slot]
            begun = ignore[slot] & early
            window.admit(slot, window.match(features, ignore=begun, apart=apart))
            if slot == 5:  # what comes later does not match what is ignored already
                for ignored in (1, 5, 0, 3):
                    patches = ignore[ignored] & ~early
                    window.ignore_patches(ignored, patches, reachable=window.filled)
        for slot in (2, 4, 6):
            window.ignore_patches(slot, ignore[slot] & ~early, reachable=window.filled)
        rows = [window.patch_scores(slot) for slot in range(7)]
    scales = [
        features
        for k in range(len(CHANNELS))
        for features in aggregated(np.concatenate([f.layers[k] for f in frames]), (1, 3))
    ]
    from zeroline.runtime import interval_average

    wanted = np.mean(
        [interval_average(match_distances(u, ignore=ignore, groups=parts)) for u in scales], axis=0
    )
    np.testing.assert_allclose(np.stack([r for r in rows if r is not None]), wanted, atol=1e-5)


def test_a_newcomer_is_measured_as_the_members_are():
    numbers = range(60)
    frames = [frame_tokens(n, look=0 if n % 4 == 0 else None) for n in numbers]
    rows = np.concatenate([frame.layers[0] for frame in frames])
    table = match_distances(lnamd(rows, degree=1))
    found = codegraph(table)
    (community,) = found.communities
    known = {"relevant": found.relevant, "gap": community.evidence.gap}
    for newcomer in numbers:
        others = np.delete(np.arange(60), newcomer)
        members = np.flatnonzero(np.isin(others, community.members))
        marks = marks_of_newcomer(table[newcomer][:, others], members, **known)
        if newcomer % 4:
            assert marks is None
        else:
            assert marks is not None
            assert set(np.flatnonzero(marks)) >= set(MARK)
    assert marks_of_newcomer(table[0][:, 1:], np.arange(59), **known) is None
    # near to the members, yet as near to others as good patches are: of no weight
    high = {**known, "relevant": 2.0}
    assert marks_of_newcomer(table[0][:, 1:], community.members[1:] - 1, **high) is None


def test_marks_are_widened_to_squares():
    marks = np.zeros((2, 25), bool)
    marks[0, 0] = marks[1, 12] = True
    wide = widened(marks, by=1)
    assert np.flatnonzero(wide[0]).tolist() == [0, 1, 5, 6]
    assert np.flatnonzero(wide[1]).tolist() == [6, 7, 8, 11, 12, 13, 16, 17, 18]
    np.testing.assert_array_equal(widened(marks, by=0), marks)
