"""Which frames a reference set may hold."""

import numpy as np
import pytest

from support.parts import MARK, STAIN, part, parts
from support.small_network import PATCHES, SIZE
from zeroline.runtime import Reason, ScoringError
from zeroline.runtime.reference.selection import Scoring, recheck, select_good
from zeroline.runtime.tokens import joined

SCORING = Scoring(SIZE, (1, 3), threads=1)


def marked_set(count=40, every=5):
    """Parts of which each fifth is marked by the tool, and which these are."""
    marked = [number % every == 0 for number in range(count)]
    return joined(part(n, marked=has) for n, has in enumerate(marked)), np.array(marked)


def reasons_of(selection, which):
    return {selection.reasons[number] for number in np.flatnonzero(which)}


@pytest.mark.parametrize("degrees", [(1, 3), "fused"])
def test_parts_with_a_recurring_defect_are_left_out(degrees):
    tokens, marked = marked_set()
    scoring = Scoring(SIZE, degrees, threads=1)
    for selection in (
        select_good(tokens, scoring, false_alarm_rate=0.01),
        recheck(tokens, scoring),
    ):
        assert reasons_of(selection, marked) == {Reason.RECURRING}
        assert selection.kept.sum() >= 31
        assert selection.warning == "8 of 40 frames share a defect: a tool may be broken"


def test_unusual_parts_are_left_out_and_named_by_their_score():
    stained = np.arange(40) == 7
    tokens = joined(part(n, stained=has) for n, has in enumerate(stained))
    selection = select_good(tokens, SCORING, false_alarm_rate=0.01)
    assert reasons_of(selection, stained) == {Reason.SCORE}
    assert selection.scores[7] > selection.threshold
    assert (selection.scores[selection.kept] <= selection.threshold).all()
    assert selection.warning == ""  # one is no bad day
    assert recheck(tokens, SCORING).reasons[7] is Reason.SCORE
    stained = np.arange(40) % 8 == 3
    tokens = joined(part(n, stained=has) for n, has in enumerate(stained))
    selection = select_good(tokens, SCORING, false_alarm_rate=0.01)
    assert "of 40 frames are unusual" in selection.warning


def test_what_was_not_good_before_is_left_out_whatever_it_scores():
    before: list[Reason | None] = [None] * 40
    before[3], before[4] = Reason.SCORE, Reason.RECURRING
    selection = select_good(parts(range(40)), SCORING, false_alarm_rate=0.01, not_good=before)
    assert selection.reasons[3:5] == (Reason.SCORE, Reason.RECURRING)


def test_a_good_set_is_loaded_as_it_was_made():
    """The threshold by which it was made would take some of it at each loading."""
    for first in range(0, 400, 40):
        tokens = parts(range(first, first + 40))
        kept = tokens.select(select_good(tokens, SCORING, false_alarm_rate=0.01).kept)
        again = recheck(kept, SCORING)
        assert (~again.kept).sum() <= 1
        assert again.warning == ""


def test_a_small_set_with_one_unusual_part_is_not_warned_of():
    tokens = joined(part(n, stained=n == 5) for n in range(16))
    selection = select_good(tokens, SCORING, false_alarm_rate=0.01)
    assert selection.reasons[5] is Reason.SCORE
    assert selection.warning == ""


def test_outside_the_region_of_interest_nothing_counts():
    roi = np.ones(PATCHES, bool)
    roi[[*MARK, *STAIN]] = False
    scoring = Scoring(SIZE, (1,), threads=1, roi=roi)
    marked = recheck(marked_set()[0], scoring)
    assert Reason.RECURRING not in marked.reasons
    stained, clean = (
        joined(part(n, stained=has and n % 8 == 3) for n in range(40)) for has in (True, False)
    )
    wanted = recheck(clean, scoring).scores
    np.testing.assert_allclose(recheck(stained, scoring).scores, wanted, atol=0.08)
    whole = recheck(stained, Scoring(SIZE, (1,), threads=1)).scores
    assert np.abs(whole - wanted)[3::8].min() > 0.1


def test_frames_of_one_part_do_not_match_each_other():
    """Looks at one stained part would be a recurring defect, though it is one part."""
    looks = [part(50, stained=True)] * 4 + [part(n) for n in range(20)]
    groups = [0] * 4 + list(range(1, 21))
    selection = select_good(joined(looks), SCORING, false_alarm_rate=0.01, groups=groups)
    assert set(selection.reasons[:4]) == {Reason.SCORE}
    apart = select_good(joined(looks), SCORING, false_alarm_rate=0.01)
    assert set(apart.reasons[:4]) != {Reason.SCORE}
    with pytest.raises(ScoringError, match="needs 2 parts or more"):
        select_good(joined(looks[:2]), SCORING, false_alarm_rate=0.01, groups=[0, 0])
    with pytest.raises(ScoringError, match="needs 2 parts or more"):
        recheck(part(0), SCORING)


def test_a_person_may_keep_a_look_that_some_good_parts_share():
    tokens, marked = marked_set()
    for selection in (
        select_good(tokens, SCORING, false_alarm_rate=0.01, confirmed=marked),
        recheck(tokens, SCORING, confirmed=marked),
    ):
        assert selection.kept[marked].all()
        assert selection.warning == ""
