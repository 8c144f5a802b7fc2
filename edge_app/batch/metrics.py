"""The metrics of MuSc's evaluation (docs/algorithms.md), equal to the authors' and faster.

Ranking metrics come from one call of scikit-learn's `roc_curve` each, which sorts once for
AUROC, AP and F1max. AUPRO counts pixels by threshold interval, where the authors compare every
map with every threshold anew.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zeroline.runtime.errors import MissingExtraError

#: The share of false positives up to which AUPRO integrates, and its number of thresholds.
PRO_LIMIT, PRO_STEPS = 0.3, 200


@dataclass(frozen=True)
class Ranking:
    """Area under the ROC curve, highest F1 and average precision of one ranking."""

    auroc: float
    f1max: float
    ap: float


def ranking_metrics(
    labels: npt.NDArray[np.bool_], scores: npt.NDArray[np.floating]
) -> Ranking | None:
    """Rank scores against labels.

    Parameters
    ----------
    labels : array, shape (n,), bool
        True: defective.
    scores : array, shape (n,), float
        Higher: more anomalous.

    Returns
    -------
    Ranking or None
        None where there is only one class, and so nothing to rank.

    Notes
    -----
    AP is the step-wise sum of precision over recall. Memory: about 60 bytes a value.
    """
    positives = int(labels.sum())
    negatives = labels.size - positives
    if positives == 0 or negatives == 0:
        return None
    try:
        from sklearn.metrics import auc, roc_curve
    except ModuleNotFoundError as error:
        raise MissingExtraError("scikit-learn", extra="app", purpose="for metrics") from error
    false_rate, true_rate, _ = roc_curve(labels, scores, drop_intermediate=False)
    true_found, false_found = true_rate[1:] * positives, false_rate[1:] * negatives
    precision = true_found / (true_found + false_found)
    recall = true_rate[1:]
    return Ranking(
        auroc=float(auc(false_rate, true_rate)),
        f1max=float((2 * true_found / (true_found + false_found + positives)).max()),
        ap=float((np.diff(recall, prepend=0.0) * precision).sum()),
    )


def region_overlap_area(
    masks: Sequence[npt.NDArray[np.bool_]], maps: npt.NDArray[np.float32]
) -> float | None:
    """Area under the per-region-overlap curve (AUPRO) up to a false-positive rate of 0.3.

    At each of 200 evenly spaced thresholds, from the lowest value of all maps on, a pixel is
    positive when its value is greater. PRO is the mean, over all connected defect regions (8
    neighbours), of the share found; the false-positive rate counts normal pixels of all maps.
    Points under 0.3 are kept and their rates scaled to [0, 1].

    Parameters
    ----------
    masks : N arrays of shape (S, S), bool
    maps : array, shape (N, S, S), float32

    Returns
    -------
    float or None
        None without a defect region, without a normal pixel, for constant maps, or where
        hardly any threshold has a rate under 0.3.

    Notes
    -----
    The thresholds come from `numpy.arange`, as the authors' do, whose rounding now and then
    gives a 201st.
    """
    try:
        from scipy.ndimage import label
        from sklearn.metrics import auc
    except ModuleNotFoundError as error:
        raise MissingExtraError("scikit-learn", extra="app", purpose="for metrics") from error
    low, high = maps.min(), maps.max()
    if high <= low:
        return None
    thresholds = np.arange(low, high, (high - low) / PRO_STEPS)
    steps = len(thresholds)
    normal = np.zeros(steps + 1, dtype=np.int64)
    region_shares = []
    neighbours = np.ones((3, 3), dtype=bool)
    for mask, values in zip(masks, maps, strict=True):
        # how many thresholds lie under the value: it is positive at just these
        passed = np.searchsorted(thresholds, values.ravel(), side="left")
        regions, count = label(mask, structure=neighbours)
        table = np.bincount(
            regions.ravel() * (steps + 1) + passed, minlength=(count + 1) * (steps + 1)
        ).reshape(count + 1, steps + 1)
        normal += table[0]
        region_shares.append(_positive_counts(table[1:]) / table[1:].sum(axis=1, keepdims=True))
    shares = np.concatenate(region_shares)
    if not len(shares) or not normal.sum():
        return None
    overlap = shares.mean(axis=0)
    false_rate = _positive_counts(normal[None])[0] / normal.sum()
    kept = false_rate < PRO_LIMIT
    if not kept.any():
        return None
    false_rate, overlap = false_rate[kept], overlap[kept]
    spread = false_rate.max() - false_rate.min()
    if spread <= 0:
        return None
    false_rate = (false_rate - false_rate.min()) / spread
    return float(auc(false_rate, overlap))


def _positive_counts(table: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """From pixels by number of thresholds passed to pixels positive at each threshold."""
    at_least = table[:, ::-1].cumsum(axis=1)[:, ::-1]
    return at_least[:, 1:]


def set_metrics(
    labels: Iterable[bool],
    scores: npt.NDArray[np.floating],
    raw_scores: npt.NDArray[np.floating],
    *,
    masks: Sequence[npt.NDArray[np.bool_]] | None,
    maps: npt.NDArray[np.float32] | None,
) -> dict[str, float | None]:
    """Return all figures of one data set, by their names in ``metrics.json``.

    None stands where a figure has no meaning: one class only, or no masks.
    """
    truth = np.fromiter(labels, dtype=bool)
    image, before = ranking_metrics(truth, scores), ranking_metrics(truth, raw_scores)
    pixel, aupro = None, None
    if masks is not None and maps is not None:
        pixel = ranking_metrics(np.stack(list(masks)).ravel(), maps.ravel())
        aupro = region_overlap_area(masks, maps)
    return {
        "image_auroc": image.auroc if image else None,
        "image_f1max": image.f1max if image else None,
        "image_ap": image.ap if image else None,
        "pixel_auroc": pixel.auroc if pixel else None,
        "pixel_f1max": pixel.f1max if pixel else None,
        "pixel_ap": pixel.ap if pixel else None,
        "aupro": aupro,
        "image_auroc_before_rscin": before.auroc if before else None,
        "image_ap_before_rscin": before.ap if before else None,
    }
