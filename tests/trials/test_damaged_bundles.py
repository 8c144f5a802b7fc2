"""The trial of damaged bundles and reference sets in a short form, and what watches it."""

import os
import time

import numpy as np
import pytest
from trials.damage import KINDS, damaged
from trials.watched import Watched

from trials import damaged_bundles


@pytest.mark.parametrize("kind", damaged_bundles.CASES)
def test_damage_gives_one_line_or_the_right_result(kind):
    row = damaged_bundles.of_seed(kind, 7, count=12)
    assert row["broken"] == []
    assert sum(row["outcomes"].values()) == 12
    assert row["outcomes"]["refused"] > 5


def odd(case):
    if case == "crash":
        os.abort()
    if case == "raw lines":
        os.write(2, b"raw\n")
    if case == "memory":
        np.ones(8 << 20).sum()
    if case == "traceback":
        raise ZeroDivisionError
    if case == "slow":
        time.sleep(4.1)
    return "right", case


def test_what_breaks_the_rule_is_seen():
    cases = ("crash", "raw lines", "memory", "traceback", "slow", "right")
    with Watched(odd, seconds=4, mib=40) as process:
        seen = {case: process.do(case) for case in cases}
    assert {case: one.outcome for case, one in seen.items()} == {case: case for case in seen}
    assert [one.broken for one in seen.values()] == [True] * 5 + [False]


def test_every_kind_of_damage_changes_something():
    rng = np.random.default_rng(0)
    content = bytes(range(256)) * 20
    made = [damaged(content, rng) for _ in range(400)]
    assert {kind for _, kind in made} == set(KINDS)
    assert sum(result == content for result, _ in made) < 20
    assert damaged(b"", rng)[0]
