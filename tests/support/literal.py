"""MuSc written out in float64 loops as its formulas stand: slow, and what others must equal."""

from __future__ import annotations

from typing import Any

import numpy as np


def literal_lnamd(tokens: Any, degree: int) -> Any:
    """Layer normalisation over the whole image, zero-padded average, unit rows."""
    tokens = np.asarray(tokens, dtype=np.float64)
    images, patches, channels = tokens.shape
    side, radius = int(patches**0.5), degree // 2
    out = np.zeros_like(tokens)
    for b in range(images):
        normal = (tokens[b] - tokens[b].mean()) / np.sqrt(tokens[b].var() + 1e-5)
        grid = normal.reshape(side, side, channels)
        for y in range(side):
            for x in range(side):
                total = np.zeros(channels)
                for dy in range(-radius, radius + 1):
                    for dx in range(-radius, radius + 1):
                        if 0 <= y + dy < side and 0 <= x + dx < side:
                            total += grid[y + dy, x + dx]
                mean = total / degree**2
                length = np.linalg.norm(mean)
                out[b, y * side + x] = mean / length if length > 0 else mean
    return out


def literal_distances(features: Any, ignore: Any = None, groups: Any = None) -> Any:
    """d[i, p, j] = min over q of ‖F_i[p] - F_j[q]‖."""
    features = np.asarray(features, dtype=np.float64)
    images, patches, _ = features.shape
    distances = np.full((images, patches, images), np.inf)
    for i in range(images):
        for j in range(images):
            if i == j or (groups is not None and groups[i] == groups[j]):
                continue
            others = features[j] if ignore is None else features[j][~ignore[j]]
            if len(others) == 0:
                continue
            for p in range(patches):
                distances[i, p, j] = np.linalg.norm(others - features[i, p], axis=1).min()
    return distances


def literal_interval_average(distances: Any, low: float = 0.0, high: float = 0.3) -> Any:
    """Mean of the sorted finite distances between the two fractions."""
    images, patches, _ = distances.shape
    scores = np.zeros((images, patches))
    for i in range(images):
        for p in range(patches):
            finite = np.sort(distances[i, p][np.isfinite(distances[i, p])])
            last = max(1, int(len(finite) * high))
            first = min(int(len(finite) * low), last - 1)
            scores[i, p] = finite[first:last].mean()
    return scores


def literal_rscin(scores: Any, tokens: Any, neighbours: Any, *, normalise: bool) -> Any:
    """Mask all but the m largest of each row, divide by the row sum, multiply."""
    scores = np.asarray(scores, dtype=np.float64)
    if normalise:
        spread = scores.max() - scores.min()
        scores = (scores - scores.min()) / (spread or 1.0)
    similarity = np.asarray(tokens, dtype=np.float64) @ np.asarray(tokens, dtype=np.float64).T
    results = []
    for m in neighbours:
        masked = np.zeros_like(similarity)
        for i, row in enumerate(similarity):
            others = [j for j in np.argsort(-row) if j != i]
            largest = [i, *others][:m]  # the image itself is one of them
            masked[i, largest] = np.maximum(row[largest], 0)
        results.append(masked / masked.sum(axis=1, keepdims=True) @ scores)
    return np.mean(results, axis=0)


def literal_upsample(scores: Any, size: int) -> Any:
    """Bilinear with aligned corners, pixel by pixel, of a (g, g) map."""
    side = len(scores)
    out = np.zeros((size, size))
    for y in range(size):
        for x in range(size):
            v, u = (t * (side - 1) / max(size - 1, 1) for t in (y, x))
            v0, u0 = int(v), int(u)
            v1, u1 = min(v0 + 1, side - 1), min(u0 + 1, side - 1)
            top = scores[v0, u0] * (1 - u + u0) + scores[v0, u1] * (u - u0)
            bottom = scores[v1, u0] * (1 - u + u0) + scores[v1, u1] * (u - u0)
            out[y, x] = top * (1 - v + v0) + bottom * (v - v0)
    return out


def literal_aupro(masks: Any, maps: Any) -> float:
    """Compare every map with every threshold, region by region."""
    from scipy.ndimage import label

    low, high = maps.min(), maps.max()
    regions = []
    for index, mask in enumerate(masks):
        found, count = label(mask, structure=np.ones((3, 3)))
        regions += [(index, found == n) for n in range(1, count + 1)]
    overlaps, rates = [], []
    for threshold in np.arange(low, high, (high - low) / 200):
        positive = maps > threshold
        overlaps.append(np.mean([positive[i][region].mean() for i, region in regions]))
        rates.append((positive & ~masks).sum() / (~masks).sum())
    rate, overlap = np.array(rates), np.array(overlaps)
    kept = rate < 0.3
    rate, overlap = rate[kept], overlap[kept]
    rate = (rate - rate.min()) / (rate.max() - rate.min())
    return float(np.sum((rate[:-1] - rate[1:]) * (overlap[:-1] + overlap[1:]) / 2))
