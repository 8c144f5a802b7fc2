"""Recurring defects: found, marked and scored; and none where there is none."""

from typing import Any

import numpy as np
import pytest

from zeroline.runtime import (
    ScoringError,
    Tokens,
    auto_threshold,
    codegraph,
    lnamd,
    score_tokens,
)
from zeroline.runtime.grid import widened
from zeroline.runtime.matching.distances import match_distances
from zeroline.runtime.recurring.constants import EMPHASIS, KEPT, NG_RATE, REACH, TINY
from zeroline.runtime.recurring.evidence import CandidateGroup, Evidence, gap_significance, measured
from zeroline.runtime.recurring.filter import CommunityFilter
from zeroline.runtime.recurring.graph import candidates, image_graph, reference_distances
from zeroline.runtime.recurring.scales import codegraph_at_both_scales
from zeroline.runtime.recurring.statistics import SetStatistics
from zeroline.runtime.stages.threshold import clearly_not_good

SIDE, CHANNELS = 10, 24
PATCHES = SIDE * SIDE


def product(seed, images, *, lot=0.0):
    """Patches of one product: each place has its look, each image its variation of it."""
    rng = np.random.default_rng(seed)
    places = rng.standard_normal((PATCHES, CHANNELS))
    other = rng.standard_normal((PATCHES, CHANNELS))
    rows = places + 0.5 * rng.standard_normal((images, PATCHES, CHANNELS))
    of_lot = rng.random(images) < lot
    rows[of_lot] += 0.8 * other
    return rows.astype(np.float32), of_lot


def with_defects(rows, images, look, *, patches=(44, 45, 54), strength=1.0, seed=1):
    """Put the same look to the same patches of some images, each with a little variation."""
    rng = np.random.default_rng(seed)
    for image in images:
        for patch in patches:
            noise = 0.15 * rng.standard_normal(CHANNELS)
            rows[image, patch] = (1 - strength) * rows[image, patch] + strength * (look + noise)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def look(seed):
    return 1.2 * np.random.default_rng(seed).standard_normal(CHANNELS)


def distances_of(rows):
    return match_distances(unit(rows))


def scored(rows, *, codegraph=False, ignore=None):
    tokens = Tokens((rows,), unit(np.ones((len(rows), 4), np.float32)))
    return score_tokens(
        tokens, size=40, degrees=(1,), rscin=(), threads=1, codegraph=codegraph, ignore=ignore
    )


def auroc(labels, scores):
    good, bad = scores[~labels], scores[labels]
    return float((bad[:, None] > good[None]).mean())


@pytest.mark.parametrize(("images", "share"), [(30, 0.3), (60, 0.1), (60, 0.25), (120, 0.4)])
def test_the_images_that_share_a_defect_are_found(images, share):
    rows, _ = product(2, images)
    marked = np.sort(np.random.default_rng(3).permutation(images)[: round(share * images)])
    with_defects(rows, marked, look(4))
    found = codegraph(distances_of(rows))
    (community,) = found.communities
    np.testing.assert_array_equal(community.members, marked)
    truth = np.zeros((images, PATCHES), bool)
    truth[np.ix_(marked, np.array([44, 45, 54]))] = True
    assert (found.ignored & truth).sum() >= 0.95 * truth.sum()
    assert (found.ignored & ~truth).sum() <= 0.02 * PATCHES * len(marked)
    np.testing.assert_array_equal(community.marks, found.ignored[marked])


def test_two_defects_at_once():
    rows, _ = product(5, 80)
    first, second = np.arange(0, 20), np.arange(30, 48)
    with_defects(rows, first, look(6))
    with_defects(rows, second, look(7), patches=(12, 13))
    found = codegraph(distances_of(rows))
    members = sorted(tuple(c.members) for c in found.communities)
    assert members == [tuple(first), tuple(second)]


def test_scores_rise_where_the_defect_recurs():
    """Fails if the filter does nothing, and if it marks everything."""
    rows, _ = product(8, 60)
    marked = np.arange(40, 60)
    labels = np.zeros(60, bool)
    labels[marked] = True
    with_defects(rows, marked, look(9), strength=0.9)
    before, after = scored(rows), scored(rows, codegraph=True)
    assert not before.recurring.any()
    assert auroc(labels, before.scores) < 0.8
    assert auroc(labels, after.scores) == 1.0
    np.testing.assert_array_equal(after.recurring, labels)
    (community,) = after.communities
    np.testing.assert_array_equal(community.members, marked)
    # good images compare with the same good patches as before
    np.testing.assert_allclose(after.scores[~labels], before.scores[~labels], rtol=0.02)


def test_patches_that_the_caller_ignores_stay_ignored():
    rows, _ = product(10, 40)
    with_defects(rows, range(30, 40), look(11))
    ignore = np.zeros((40, PATCHES), bool)
    ignore[:6, 7] = True
    both = scored(rows, codegraph=True, ignore=ignore)
    (community,) = both.communities
    ignored = ignore.copy()
    ignored[community.members] |= community.marks
    alone = scored(rows, ignore=ignored)
    np.testing.assert_allclose(both.patch_scores, alone.patch_scores, atol=1e-6)


def test_the_smallest_degree_is_looked_at_and_the_largest_decides_how_wide_to_mark():
    rows, _ = product(12, 40)
    with_defects(rows, range(30, 40), look(13))
    tokens = Tokens((rows, rows[:, :, ::2]), unit(np.ones((40, 4), np.float32)))
    options: dict[str, Any] = {"size": 40, "degrees": (3, 1, 5), "rscin": (), "threads": 1}
    scored = score_tokens(tokens, codegraph=True, **options)
    finest = [match_distances(lnamd(layer, degree=1)) for layer in tokens.layers]
    wanted = codegraph(np.mean(finest, axis=0))
    (community,) = scored.communities
    np.testing.assert_array_equal(community.marks, wanted.communities[0].marks)
    assert community.marks.sum(axis=1).max() < 8
    again = score_tokens(tokens, ignore=widened(wanted.ignored, by=2), **options)
    np.testing.assert_allclose(scored.patch_scores, again.patch_scores, atol=1e-6)


def test_what_shows_only_in_wide_neighbourhoods_is_found_too():
    small, _ = product(14, 50)
    with_defects(small, range(10), look(15))
    both = small.copy()
    with_defects(both, range(20, 35), look(16), patches=(61, 62))
    finest, wide = distances_of(small), distances_of(both)
    found = codegraph_at_both_scales(finest, wide, blur=1)
    members = sorted(tuple(c.members) for c in found.communities)
    assert members == [tuple(range(10)), tuple(range(20, 35))]
    of_small = codegraph(finest)
    np.testing.assert_array_equal(found.ignored[:10], widened(of_small.ignored[:10], by=1))
    assert set(np.flatnonzero(found.ignored[25])) >= {61, 62}
    assert found.ignored[20:35].sum() <= 15 * 4  # not widened
    alone = codegraph_at_both_scales(finest, None, blur=1)
    assert [tuple(c.members) for c in alone.communities] == [tuple(range(10))]


@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_found_among_good_images(seed):
    rows, _ = product(20 + seed, 60)
    assert codegraph(distances_of(rows)).communities == ()


@pytest.mark.parametrize("seed", range(5))
def test_another_lot_of_material_is_no_defect(seed):
    rows, of_lot = product(30 + seed, 60, lot=0.3)
    assert of_lot.any()
    assert codegraph(distances_of(rows)).communities == ()


@pytest.mark.parametrize("seed", range(3))
def test_different_defects_are_no_community(seed):
    rows, _ = product(40 + seed, 60)
    for image in range(0, 60, 6):
        with_defects(rows, [image], look(100 + image), patches=(image,))
    assert codegraph(distances_of(rows)).communities == ()


def test_the_same_seed_gives_the_same():
    rows, _ = product(50, 60)
    with_defects(rows, range(15), look(51), strength=0.6)
    table = distances_of(rows)
    first, again = codegraph(table), codegraph(table.copy())
    np.testing.assert_array_equal(first.ignored, again.ignored)
    assert len(first.communities) == len(again.communities)


@pytest.mark.parametrize("views", [2, 5])
def test_images_that_do_not_match_each_other_are_no_trouble(views):
    rows, _ = product(60, 40)
    with_defects(rows, range(0, 40, 4), look(61))
    groups = np.repeat(np.arange(40 // views), views)  # each part was seen so many times
    table = match_distances(unit(rows), groups=groups)
    found = codegraph(table)
    (community,) = found.communities
    np.testing.assert_array_equal(community.members, np.arange(0, 40, 4))
    alone = table.copy()
    alone[7] = alone[:, :, 7] = np.inf  # matches nobody
    assert len(codegraph(alone).communities) == 1
    nobody = np.full_like(table, np.inf)
    assert codegraph(nobody).communities == ()


def test_the_graph_holds_the_strongest_links():
    """Against the definition, written out for every patch and image."""
    rows, _ = product(70, 14)
    table = distances_of(rows)
    images, patches, _ = table.shape
    rank = int(REACH * (images - 1))
    ordered = np.sort(table, axis=2)
    reference = ordered[:, :, rank]
    strength = np.zeros((images, patches, images))
    for i in range(images):
        for p in range(patches):
            for j in range(images):
                if table[i, p, j] < reference[i, p]:
                    lift = (reference[i, p] / np.median(reference)) ** EMPHASIS
                    strength[i, p, j] = np.log(reference[i, p] / table[i, p, j]) * lift
    kept = max(int(KEPT * images * patches * (images - 1)), images)
    strength[strength < np.sort(strength.ravel())[-kept]] = 0
    wanted = strength.sum(axis=1)
    positive = np.maximum(table, np.float32(TINY))
    graph = image_graph(positive, reference_distances(positive))
    np.testing.assert_allclose(graph, wanted + wanted.T, rtol=1e-4)


def group(members=range(10), **more):
    """A group that 60 images of 400 patches take for a recurring defect."""
    evidence = {"significance": 30.0, "spread": 6.0, "anomaly": 1.5, "gap": 1.0, "agreement": 1.0}
    chosen = np.array(members)
    return CandidateGroup(chosen, np.ones(len(chosen), np.float32), Evidence(**(evidence | more)))


FILTER = CommunityFilter(60, 400, 0.01)


@pytest.mark.parametrize(
    "short",
    [
        {"significance": 22.3},  # 3.5 times chance is 22.33
        {"anomaly": 0.99},
        {"unusual": 21},  # half of 21 are 10.5
        {"spread": 41.0},
        {"members": range(3)},
        {"at_border": 0.6},
        {"elsewhere": 0.26},  # a quarter of the gap
        {"agreement": 0.6, "significance": 25.0},  # four times chance is 25.5
    ],
)
def test_what_is_short_of_anything_is_not_accepted(short):
    assert FILTER.chance == pytest.approx(6.38, abs=0.01)
    assert FILTER.accepted([group()]) != []
    assert FILTER.accepted([group(**short)]) == []


def test_a_compact_group_has_to_beat_chance_by_half():
    assert FILTER.accepted([group(significance=9.6, spread=3.0)]) != []
    assert FILTER.accepted([group(significance=9.5, spread=3.0)]) == []


def test_look_alikes_at_several_places_have_to_beat_chance_by_more():
    anywhere = {"agreement": 0.6, "members": range(6)}
    assert FILTER.accepted([group(significance=26.0, **anywhere)]) != []
    assert FILTER.accepted([group(significance=25.0, **anywhere)]) == []
    assert FILTER.accepted([group(significance=26.0, spread=1.0, **anywhere)]) != []
    assert FILTER.accepted([group(significance=25.0, spread=1.0, **anywhere)]) == []
    assert FILTER.accepted([group(significance=99.0, agreement=0.6, members=range(5))]) == []


def test_overlapping_groups_are_one_and_the_clearest_stays():
    faint, clear = group(members=range(4, 16)), group(significance=40.0)
    other = group(members=range(30, 40), significance=35.0)
    assert FILTER.accepted([faint, clear, other]) == [clear, other]


def test_members_without_the_gap_are_no_carriers():
    measured_group = group()
    measured_group.gaps[3] = 0.2
    np.testing.assert_array_equal(measured_group.confirmed, [0, 1, 2, 4, 5, 6, 7, 8, 9])


def test_others_that_are_clearly_ng_ask_for_more_members():
    assert FILTER.accepted([group(unusual=20)]) != []
    assert FILTER.accepted([group(unusual=21)]) == []
    assert FILTER.accepted([group(range(11), unusual=21)]) != []


def test_the_anomaly_is_the_score_without_each_other_over_the_others_threshold():
    rows, _ = product(92, 40)
    members = np.arange(7)
    with_defects(rows, members, look(93))
    for image in (20, 30):  # each with a defect of its own
        with_defects(rows, [image], look(image), strength=2.0)
    table = np.maximum(distances_of(rows), TINY)
    statistics = SetStatistics.of(table, reference_distances(table))
    found = measured(table, members, statistics, chance=0.0)
    assert found is not None
    evidence = found.evidence
    outside = np.sort(table[:7][:, :, 7:], axis=2)[:, :, : int(0.3 * 33)].mean(axis=2)
    others = auto_threshold(statistics.image_scores[7:], false_alarm_rate=NG_RATE)
    assert evidence.anomaly == pytest.approx(np.median(outside.max(axis=1)) / others, rel=1e-4)
    scores = statistics.image_scores[7:].astype(np.float64)
    assert evidence.unusual == clearly_not_good(scores).sum() > 0


def test_images_without_a_patch_that_matters_are_no_community():
    table = np.maximum(distances_of(product(91, 20)[0]), TINY)
    table[:6] *= 0.1
    statistics = SetStatistics.of(table, reference_distances(table))
    assert not np.isin(statistics.owners, range(6)).any()
    assert measured(table, np.arange(6), statistics, chance=0.0) is None


def test_communities_of_a_plain_graph():
    weights = np.triu(np.random.default_rng(0).uniform(0, 0.3, (12, 12)), 1)  # weak links
    for group in (range(5), range(5, 9)):
        for i in group:
            weights[i, i + 1 : group.stop] = 1
    weights += weights.T
    groups = {tuple(members) for members in candidates(weights)}
    assert tuple(range(5)) in groups
    assert tuple(range(5, 9)) in groups
    assert list(candidates(np.zeros((5, 5)))) == []


@pytest.mark.parametrize(("first", "last"), [(1, 3), (3, 8), (12, 27)])
def test_significance_is_a_p_value_of_steady_distances(first, last):
    """Drawn neighbours of a uniform crowd: the ratio's tail is as often seen as it says."""
    rng = np.random.default_rng(80)
    draws = np.sort(rng.random((200_000, 60)), axis=1)
    ratio = np.log(draws[:, last - 1] / draws[:, first - 1])
    for scaled in np.quantile(ratio, (0.1, 0.5, 0.9, 0.99)):
        seen = -np.log10((ratio >= scaled).mean())
        assert gap_significance(float(scaled), first, last) == pytest.approx(seen, abs=0.04)
    assert gap_significance(0.0, first, last) == 0
    assert gap_significance(30.0, first, last) > 5


def test_what_cannot_be_is_refused():
    table = distances_of(product(90, 12)[0])
    with pytest.raises(ScoringError, match=r"shape \(12, 100, 11\), \(N, P, N\) is expected"):
        codegraph(table[:, :, :11])
    with pytest.raises(ScoringError, match="false_alarm_rate is 0, 0 < rate"):
        codegraph(table, false_alarm_rate=0)
    few = codegraph(table[:8, :, :8])
    assert few.communities == ()
    assert few.ignored.shape == (8, 100)


def test_photographs_with_a_recurring_defect(shared):
    pytest.importorskip("onnxruntime")
    from zeroline.edge_app.batch.datasets import find_datasets
    from zeroline.edge_app.images import read_image
    from zeroline.runtime import load_bundle
    from zeroline.runtime.batch import embed_images

    (dataset,) = find_datasets([shared / "data" / "tiles-recurring-fray"])
    labels = np.array([sample.defective for sample in dataset.samples])
    recurring = np.array(["recurring" in sample.file.name for sample in dataset.samples])
    with load_bundle("tiny") as bundle:
        tokens = embed_images([read_image(s.file.path) for s in dataset.samples], bundle)
        before, after = (
            score_tokens(tokens, size=bundle.size, degrees="fused", rscin=(), codegraph=used)
            for used in (False, True)
        )
    assert auroc(labels, before.raw_scores) < 0.75
    assert auroc(labels, after.raw_scores) > 0.93
    assert (after.recurring == recurring).mean() > 0.97
