"""The report of a run: its order, its reasons, its histogram, its threshold."""

import re
from pathlib import Path

import numpy as np
import pytest

from zeroline.edge_app.batch.report import histogram, worst_first, write_report
from zeroline.edge_app.batch.results import ImageResult
from zeroline.edge_app.images import ImageFile
from zeroline.runtime.results import FrameScores, Reason, Verdict


def result(name, score, threshold, verdict="OK", reason=None):
    scores = FrameScores(score, score, threshold, threshold, np.zeros(4, np.float32))
    recurring = reason == "recurring"
    why = Reason(reason) if reason else None
    return ImageResult(ImageFile(Path(name), name), Verdict(verdict), scores, recurring, why)


#: In the order in which a report lists them.
ROWS = [
    result("far over", 0.7, 0.3, "NG", "score"),
    result("over a high threshold", 0.8, 0.6, "NG", "score"),
    result("just over", 0.31, 0.3, "NG", "score"),
    result("recurring, high", 0.9, None, "NG", "recurring"),
    result("recurring, under its threshold", 0.2, 0.3, "NG", "recurring"),
    result("near", 0.55, 0.3, "UNCERTAIN", "near_threshold"),
    result("just under", 0.29, 0.3),
    result("far under", 0.45, 0.6),
    result("no threshold, high", 0.5, None, "UNCERTAIN", "warming_up"),
    result("no threshold, low", 0.1, None, "UNCERTAIN", "warming_up"),
]


@pytest.mark.parametrize("seed", range(5))
def test_the_worst_come_first(seed):
    shuffled = [ROWS[n] for n in np.random.default_rng(seed).permutation(len(ROWS))]
    assert [r.file.name for r in worst_first(shuffled)] == [r.file.name for r in ROWS]


def report(folder, results, **options):
    options = {"pictures": {}, "problems": [], "settings": {}, "draw": "all", **options}
    write_report(folder / "report.html", results, title="t", **options)
    return (folder / "report.html").read_text(encoding="utf-8")


def test_rows_are_listed_in_that_order_with_their_reasons(tmp_path):
    text = report(tmp_path, list(reversed(ROWS)))
    rows = re.findall(r"<tr><td>([^<]*)</td>.*?<td>([^<]*)</td></tr>", text)
    assert [name for name, _ in rows] == [r.file.name for r in ROWS]
    assert [reason for _, reason in rows] == [
        *(["score"] * 3), *(["recurring"] * 2), "near threshold", "", "", *(["warming up"] * 2),
    ]  # fmt: skip
    assert "Sorted by how far the score is over the image’s own threshold" in text


def test_a_picture_says_how_far_over_and_why(tmp_path):
    text = report(tmp_path, ROWS, pictures={r.file.name: b"jpeg" for r in ROWS})
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", text)
    plain = [re.sub(r"<[^>]+>", "", caption) for caption in captions]
    assert plain[0] == "NG 0.700 (+0.400) far over"
    assert plain[3] == "NG 0.900 recurring, high, recurring"
    assert plain[4] == "NG 0.200 (-0.100) recurring, under its threshold, recurring"


def test_thresholds_of_parts_are_not_called_those_of_subsets(tmp_path):
    """The demo's report, of a line, spoke of subsets where there were none."""
    text = report(tmp_path, ROWS)
    assert "thresholds of the parts, lowest and highest" in text
    assert "subset" not in text
    assert "Red bars under it are images with a recurring defect" in text
    assert "Red bars" not in report(tmp_path, ROWS[:3])
    one = report(tmp_path, [r for r in ROWS if r.scores.threshold == 0.3])
    assert ">threshold 0.300</text>" in one
    assert "lowest and highest" not in one


@pytest.mark.parametrize(
    ("images", "numbers"),
    [
        (1, [0, 1]),
        (4, [0, 1, 2, 3, 4]),
        (12, [0, 5, 10]),
        (147, [0, 50, 100]),
        (9, [0, 2, 4, 6, 8]),
    ],
)
def test_the_histogram_has_numbers_of_images(tmp_path, images, numbers):
    """All images have one score, so one bar holds them all."""
    drawn = histogram([result(str(n), 0.3, 0.4) for n in range(images)])
    assert [int(label) for _, label in drawn.counts] == numbers
    tallest = max(bar.ok_height for bar in drawn.bars)
    for height, label in drawn.counts:
        assert height == pytest.approx(int(label) / images * tallest)
    text = report(tmp_path, [result("a", 0.3, 0.4)])
    assert 'text-anchor="end">1</text>' in text
    assert ">images</text>" in text
