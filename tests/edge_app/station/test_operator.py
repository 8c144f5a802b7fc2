"""The operator's rule: the right way, within its range, unbiased by silence, taken back."""

import numpy as np
import pytest

from zeroline.edge_app.station.operator import RANGE, OperatorFactor, OperatorRule


def test_an_answer_moves_the_factor_by_the_formula():
    one = OperatorFactor()
    for number in range(9):
        one.passed(f"ok-{number}", ng=False)
    one.passed("ng", ng=True)
    assert one.answered("ng", false_alarm=True, rate=0.01)
    assert one.factor == pytest.approx(np.exp(0.1 * (1 - 0.01 * 10)))
    assert not one.answered("ng", false_alarm=True, rate=0.01)  # once
    assert not one.answered("ok-1", false_alarm=True, rate=0.01)  # it was no NG part
    before = one.factor
    one.passed("rightly", ng=True)
    assert one.answered("rightly", false_alarm=False, rate=0.01)
    assert one.factor == pytest.approx(before * np.exp(-0.1 * 0.01))


def test_the_factor_stays_in_its_range():
    one = OperatorFactor()
    for number in range(100):
        one.passed(f"{number}", ng=True)
        one.answered(f"{number}", false_alarm=True, rate=0.01)
    assert one.factor == RANGE[1]
    for number in range(3000):
        one.passed(f"x{number}", ng=number % 100 == 0)
        one.answered(f"x{number}", false_alarm=False, rate=0.5)
    assert one.factor == RANGE[0]


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_the_rate_of_false_alarms_comes_to_the_stated_one(share):
    """A threshold that alarms six times too often is moved until it does not, also where few
    answer."""
    rng = np.random.default_rng(1)
    one, alarms, count = OperatorFactor(), 0, 20_000
    for number in range(count):
        score = rng.standard_normal()
        ng = score > 1.55 * one.factor  # 6 % at first; 2.33 is 1 %
        one.passed(str(number), ng=ng)
        if number >= count // 2:
            alarms += ng
        if ng and rng.random() < share:
            one.answered(str(number), false_alarm=True, rate=0.01)
    assert alarms / (count // 2) == pytest.approx(0.01, abs=0.004)


def test_the_rule_is_kept_over_a_restart_and_taken_back(tmp_path):
    path = tmp_path / "state" / "operator.json"
    rule = OperatorRule(path)
    rule.passed("top", "bracket", "a", ng=True)
    (moved,) = rule.answered("a", false_alarm=True, rate=lambda recipe: 0.01)
    assert (moved.camera, moved.recipe, moved.before) == ("top", "bracket", 1.0)
    assert rule.factor("top", "default") == 1.0
    again = OperatorRule(path)
    assert again.factor("top", "bracket") == moved.after > 1
    (back,) = again.reset()
    assert (back.before, back.after) == (moved.after, 1.0)
    assert OperatorRule(path).factor("top", "bracket") == 1.0


@pytest.mark.parametrize("text", ["", "[]", '{"a/b": "x"}', "{", '{"a/b": null}'])
def test_a_file_that_is_none_counts_as_none(tmp_path, text):
    path = tmp_path / "operator.json"
    path.write_text(text)
    assert OperatorRule(path).factor("a", "b") == 1.0
