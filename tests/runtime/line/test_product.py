"""Another product before the camera: told by class tokens, kept out of the window."""

from typing import Any

import numpy as np
import pytest

from support.parts import part
from support.small_network import CLASS_CHANNELS
from zeroline.runtime import Reason, RollingInspector, Verdict, load_bundle
from zeroline.runtime.line.product import LEAST_DISTANCE, LEAST_FRAMES, is_other_product

OTHER = Reason.OTHER_PRODUCT


@pytest.fixture(scope="module")
def bundle(bundle_folder):
    with load_bundle(bundle_folder, device="cpu", threads=1) as opened:
        yield opened


def line_of(bundle, **options):
    usual: dict[str, Any] = {
        "window": 24, "min_window": 12, "rscin": (), "threads": 1, "matching": "exact",
    }  # fmt: skip
    return RollingInspector(bundle, **usual | options)


def pushed(line, numbers, **options):
    return [line.push_tokens(part(number, **options)) for number in numbers]


def begun_anew(inspections):
    return [i.frame_id for i in inspections if i.other_in_a_row and i.reason is not OTHER]


def around(direction, count, spread, seed=0):
    """Unit rows about a direction."""
    rng = np.random.default_rng(seed)
    rows = direction + spread * rng.standard_normal((count, len(direction)))
    return (rows / np.linalg.norm(rows, axis=1)[:, None]).astype(np.float32)


def turned(direction, distance):
    """A unit vector at that distance of unit rows."""
    side = np.roll(direction, 1) - direction * (np.roll(direction, 1) @ direction)
    side /= np.linalg.norm(side)
    cosine = 1 - distance**2 / 2
    return (cosine * direction + np.sqrt(1 - cosine**2) * side).astype(np.float32)


def test_the_rule_holds_a_frame_against_the_windows_own_distances():
    direction = np.eye(32)[0]
    near, wide = around(direction, 64, 0.005), around(direction, 64, 0.05)
    assert is_other_product(turned(direction, 0.8), near)
    assert not is_other_product(turned(direction, 0.8), wide)  # its own are 0.4 apart
    assert not is_other_product(turned(direction, LEAST_DISTANCE - 0.05), near)  # a large defect
    assert is_other_product(turned(direction, 1.3), wide)  # unrelated
    assert not is_other_product(direction, around(0 * direction, 64, 1.0))  # as all of them are
    assert is_other_product(turned(direction, 0.8), near[:LEAST_FRAMES])
    assert not is_other_product(turned(direction, 0.8), near[: LEAST_FRAMES - 1])


def test_the_length_of_a_class_token_says_nothing():
    """Of a bundle whose class tokens are as long as the network makes them."""
    direction, near = np.eye(32)[0], around(np.eye(32)[0], 64, 0.005)
    long = near * np.random.default_rng(0).uniform(5, 40, (64, 1)).astype(np.float32)
    assert is_other_product(30 * turned(direction, 0.8), long)
    assert not is_other_product(30 * turned(direction, LEAST_DISTANCE - 0.05), long)
    assert not is_other_product(0.5 * long[3], long)


def test_a_few_strange_frames_in_the_window_do_not_make_more_of_them_normal():
    direction, other = np.eye(32)[0], np.eye(32)[5]
    held = np.concatenate([around(direction, 55, 0.005), around(other, 9, 0.005)])
    assert is_other_product(around(other, 1, 0.005, seed=3)[0], held)
    assert not is_other_product(around(direction, 1, 0.005, seed=3)[0], held)
    half = np.concatenate([around(direction, 32, 0.005), around(other, 32, 0.005)])
    assert not is_other_product(around(other, 1, 0.005, seed=3)[0], half)  # two views of parts


def test_half_precision_class_tokens_are_taken():
    direction = np.eye(CLASS_CHANNELS)[0]
    held = around(direction, 20, 0.005).astype(np.float16)
    assert is_other_product(turned(direction, 0.9).astype(np.float16), held)


def test_another_product_is_uncertain_and_stays_out(bundle):
    with line_of(bundle) as line:
        before = pushed(line, range(24))
        others = pushed(line, range(100, 105), product=1)
        after = pushed(line, range(24, 30))
        assert not any(number >= 100 for number in line.frame_ids)
        assert line.frame_ids[-6:] == [29, 30, 31, 32, 33, 34]
    assert all(i.reason is not OTHER for i in before + after)
    assert all(i.other_in_a_row == 0 for i in before + after)
    assert {(i.verdict, i.reason) for i in others} == {(Verdict.UNCERTAIN, OTHER)}
    assert [i.other_in_a_row for i in others] == [1, 2, 3, 4, 5]
    assert not any(i.admitted or i.near_duplicate or i.recurring or i.regions for i in others)
    assert all(i.scores.score > i.scores.threshold for i in others)  # and yet no NG


def test_a_defective_part_is_ng_and_no_other_product(bundle):
    with line_of(bundle) as line:
        pushed(line, range(24))
        bad = pushed(line, range(200, 210), stained=True)
    assert {i.reason for i in bad} == {Reason.SCORE}


def test_nothing_is_said_while_the_window_warms_up(bundle):
    with line_of(bundle, min_window=16) as line:
        pushed(line, range(14))
        assert line.push_tokens(part(100, product=1)).reason is Reason.WARMING_UP
        pushed(line, range(14, 16))
        assert line.push_tokens(part(101, product=1)).reason is OTHER


def test_a_line_without_a_reference_set_moves_on_to_a_new_product(bundle):
    """It would call every part of the new product another one for ever."""
    with line_of(bundle) as line:
        pushed(line, range(24))
        others = pushed(line, range(100, 150), product=1)
        held = line.frame_ids
    assert begun_anew(others) == [24 + 23]
    assert {i.reason for i in others[:23]} == {OTHER}
    assert {i.reason for i in others[23:34]} == {Reason.WARMING_UP}
    assert others[23].admitted
    assert all(i.verdict in (Verdict.OK, Verdict.NG) for i in others[34:])
    assert min(held) >= 24 + 23


def test_frames_of_the_right_product_between_others_keep_the_window(bundle):
    with line_of(bundle) as line:
        pushed(line, range(24))
        for turn in range(3):
            others = pushed(line, range(100 + 20 * turn, 120 + 20 * turn), product=1)
            right = line.push_tokens(part(30 + turn))
            assert begun_anew(others) == []
            assert right.reason is not OTHER


def test_a_reference_set_says_what_the_product_is(bundle, tmp_path):
    with line_of(bundle) as line:
        pushed(line, range(24))
        line.save_reference(tmp_path / "good.npz")
    with line_of(bundle) as line:
        line.load_reference(tmp_path / "good.npz")
        others = pushed(line, range(100, 160), product=1)
    assert {i.reason for i in others} == {OTHER}
    with line_of(bundle) as line:  # not pinned: like the line's own frames
        line.load_reference(tmp_path / "good.npz", pinned=False)
        assert begun_anew(pushed(line, range(100, 160), product=1)) == [23]


@pytest.mark.parametrize("before", [24, 26, 28])
def test_a_search_under_way_when_the_window_begins_anew_is_of_no_use(bundle, before):
    """It has found a defect, in places that are empty by the time that it says so."""
    with line_of(bundle, window=20, degrees=(1,)) as line:
        for number in range(before):
            line.push_tokens(part(number, marked=number >= 12 and number % 3 == 1))
        told = pushed(line, range(100, 119), product=1)
        assert line._parts.tracker._search.running
        told += pushed(line, range(119, 140), product=1)
        assert line.recurring == ()
    assert begun_anew(told) == [before + 19]
    assert not any(i.alarms or i.search_failed or i.recurring for i in told)
