"""Recall and false alarms against the threshold, as a table and as a picture."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from zeroline.edge_app.batch.recall import recall_table, write_recall_picture, write_recall_table
from zeroline.edge_app.batch.sets import ScoredSet, judge_sets
from zeroline.edge_app.images import ImageFile
from zeroline.runtime.stages.threshold import ThresholdRule

SCORES = [0.30, 0.31, 0.32, 0.33, 0.34, 0.35, 0.33, 0.60, 0.70, 0.20]
KINDS = [*(["good"] * 6), "crack", "crack", "dent", "dent"]


def judged(*, fixed=0.335, recurring=(), cut=None):
    scores = np.array(SCORES, np.float32)
    marked = np.zeros(len(scores), bool)
    marked[list(recurring)] = True
    files = [ImageFile(Path(f"{n}.png"), f"{n}.png") for n in range(len(scores))]
    maps = np.zeros((len(scores), 4), np.float32)
    parts = [range(len(scores))] if cut is None else [range(cut), range(cut, len(scores))]
    sets = []
    for part in parts:
        chosen = slice(part.start, part.stop)
        arrays = maps[chosen], scores[chosen], scores[chosen], marked[chosen]
        sets.append(ScoredSet(tuple(part), tuple(files[chosen]), *arrays))
    return judge_sets(sets, ThresholdRule(fixed))


def table_of(sets):
    return recall_table(sets, KINDS, [kind == "good" for kind in KINDS])


def rows_of(table, tmp_path):
    write_recall_table(table, tmp_path / "t.csv")
    with (tmp_path / "t.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("recurring", [(), (9,)])
def test_each_row_is_what_that_threshold_would_do(tmp_path, recurring):
    rows = rows_of(table_of(judged(recurring=recurring)), tmp_path)
    columns = ["threshold", "in_use", "false_alarms", "recall", "recall_crack", "recall_dent"]
    assert list(rows[0]) == columns
    thresholds = [float(row["threshold"]) for row in rows]
    assert thresholds == sorted(thresholds)
    ends = (rows[0], "1.0000"), (rows[-1], "0.0000")
    for row, share in ends:
        assert row["false_alarms"] == share
    for row in rows:  # as a run with that very number
        again = judged(fixed=float(row["threshold"]), recurring=recurring)
        ng = np.array([r.verdict.value == "NG" for r in again.results])
        for column, kinds in (
            ("false_alarms", {"good"}), ("recall", {"crack", "dent"}), ("recall_crack", {"crack"}),
            ("recall_dent", {"dent"}),
        ):  # fmt: skip
            chosen = np.array([kind in kinds for kind in KINDS])
            assert float(row[column]) == pytest.approx(ng[chosen].mean(), abs=1e-4), column


def test_a_score_at_the_threshold_is_ok():
    good = table_of(judged()).groups[0]
    at = np.array([np.nextafter(good.ok_from[0], 0), good.ok_from[0]])
    assert good.share_at(at) == pytest.approx([1, 5 / 6])


def test_the_thresholds_own_row_says_what_it_reached(tmp_path):
    rows = rows_of(table_of(judged()), tmp_path)
    (own,) = [row for row in rows if row["in_use"]]
    assert own == {
        "threshold": "0.335000", "in_use": "given", "false_alarms": "0.3333", "recall": "0.5000",
        "recall_crack": "0.5000", "recall_dent": "0.5000",
    }  # fmt: skip
    assert len(rows) == 10 + 1  # nine different scores, so ten places between them; and its own
    (own,) = [row for row in rows_of(table_of(judged(fixed=None)), tmp_path) if row["in_use"]]
    assert own["in_use"] == "automatic"


def test_subsets_are_judged_by_their_own_thresholds(tmp_path):
    sets = judged(fixed=None, cut=5)
    (own,) = [row for row in rows_of(table_of(sets), tmp_path) if row["in_use"]]
    assert own["threshold"] == f"{np.median(sets.thresholds):.6f}"
    ng = [r.verdict.value == "NG" for r in sets.results]
    assert float(own["false_alarms"]) == pytest.approx(np.mean(ng[:6]), abs=1e-4)
    assert float(own["recall"]) == pytest.approx(np.mean(ng[6:]), abs=1e-4)


def test_without_good_or_defective_images_a_column_is_missing(tmp_path):
    sets = judged()
    bad = recall_table(sets, ["Anomaly"] * 10, [False] * 10)
    assert list(rows_of(bad, tmp_path)[0]) == ["threshold", "in_use", "recall", "recall_Anomaly"]
    good = recall_table(sets, ["ok"] * 10, [True] * 10)
    assert list(rows_of(good, tmp_path)[0]) == ["threshold", "in_use", "false_alarms"]
    write_recall_picture(good, tmp_path / "good.png", title="good only")
    assert (tmp_path / "good.png").stat().st_size > 1000


def colour_at(picture, colour, box):
    left, top, right, bottom = box
    part = picture[top:bottom, left:right].astype(int)
    return (np.abs(part - colour).sum(axis=2) < 60).any()


def test_the_picture_shows_curves_and_the_threshold(tmp_path):
    table = table_of(judged())
    write_recall_picture(table, tmp_path / "t.png", title="parts")
    picture = np.asarray(Image.open(tmp_path / "t.png").convert("RGB"))
    assert picture.shape == (560, 1080, 3)
    low, high = table.thresholds[0], table.thresholds[-1]
    x = 70 + round((0.335 - low) / (high - low) * 720)
    red, ink, blue, orange = (190, 38, 38), (28, 32, 38), (0, 114, 178), (230, 159, 0)
    third = 84 + round(416 * 2 / 3)  # a third of the good ones is NG there
    assert colour_at(picture, red, (x - 4, third - 4, x + 4, third + 4))
    half = 84 + 208
    assert colour_at(picture, orange, (x - 4, half - 4, x + 4, half + 4))
    column = picture[84:500, x - 2 : x + 2].min(axis=(1, 2))
    assert (column < 160).mean() > 0.4  # dashed
    assert not colour_at(picture, ink, (x + 4, 90, x + 30, 150))
    assert colour_at(picture, blue, (800, 84, 850, 500))  # in the legend


def test_all_recurring_still_has_a_table(tmp_path):
    table = table_of(judged(recurring=range(10)))
    rows = rows_of(table, tmp_path)
    assert {row["recall"] for row in rows} == {"1.0000"}
    write_recall_picture(table, tmp_path / "t.png", title="parts")
