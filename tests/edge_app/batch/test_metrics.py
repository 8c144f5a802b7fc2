import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score

from support.literal import literal_aupro
from zeroline.edge_app.batch.metrics import ranking_metrics, region_overlap_area, set_metrics


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 60), st.booleans())
def test_ranking_equals_the_library_calls_of_the_authors(seed, count, ties):
    rng = np.random.default_rng(seed)
    labels = rng.random(count) < 0.4
    scores = rng.random(count).round(1 if ties else 9).astype(np.float32)
    found = ranking_metrics(labels, scores)
    if labels.all() or not labels.any():
        assert found is None
        return
    assert found is not None
    precision, recall, _ = precision_recall_curve(labels, scores)
    with np.errstate(invalid="ignore"):
        f1 = 2 * precision * recall / (precision + recall)
    assert found.auroc == pytest.approx(roc_auc_score(labels, scores))
    assert found.ap == pytest.approx(average_precision_score(labels, scores))
    assert found.f1max == pytest.approx(np.nanmax(f1))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_aupro_equals_the_literal_form(seed):
    rng = np.random.default_rng(seed)
    masks = rng.random((3, 12, 12)) < 0.12  # regions that touch at corners are one
    masks[0] = False
    masks[1, 3, 3] = True
    maps = (rng.random((3, 12, 12)) + masks * rng.random()).astype(np.float32)
    assert region_overlap_area(list(masks), maps) == pytest.approx(literal_aupro(masks, maps))


def test_written_out():
    """Four images, one defect ranked second: a figure a person can check."""
    labels = np.array([False, True, False, False])
    found = ranking_metrics(labels, np.array([0.9, 0.8, 0.1, 0.2]))
    assert found is not None
    assert found.auroc == pytest.approx(2 / 3)
    assert found.ap == pytest.approx(0.5)
    assert found.f1max == pytest.approx(2 / 3)


def test_figures_without_meaning_are_none():
    maps = np.random.default_rng(0).random((2, 4, 4)).astype(np.float32)
    empty = [np.zeros((4, 4), bool)] * 2
    figures = set_metrics([False, False], np.ones(2), np.ones(2), masks=empty, maps=maps)
    assert set(figures.values()) == {None}
    assert region_overlap_area([~empty[0]] * 2, maps) is None  # no normal pixel
    assert region_overlap_area(empty, np.ones((2, 4, 4), np.float32)) is None
    inverted = np.broadcast_to(~np.eye(4, dtype=bool), (2, 4, 4)).astype(np.float32)
    assert region_overlap_area([np.eye(4, dtype=bool)] * 2, inverted) is None  # no rate under 0.3
    without = set_metrics([True, False], np.array([1, 0]), np.array([1, 0]), masks=None, maps=None)
    assert without["image_auroc"] == 1
    assert without["aupro"] is None
