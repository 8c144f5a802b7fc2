"""Assertions 4 and 5: float16 finds what float32 finds there and on the CPU; copies are at 0."""

from __future__ import annotations

from typing import Any

import numpy as np
from benchmarks.gpu_check.drawn import unit_rows
from benchmarks.gpu_check.findings import Findings
from benchmarks.gpu_check.sizes import Sizes

#: The form on a device, and the plain search that it is held against.
FORM, PLAIN = "fp16-fused", "float32-plain"
#: The largest difference from the plain search in the same rounded rows, beside a step of a key.
APART = 1e-4
#: Mean and largest error against float32 on the CPU, relative where distances are over 0.1.
LIMITS = (1e-3, 1e-2)
_LEAST_DISTANCE = 0.1
_IMAGES = 6


def by_form(form: str, features: Any, **options: Any) -> Any:
    """Return match distances (N, P, N) by a form of a given name, on the host."""
    from zeroline.runtime.matching.distances import distances_by
    from zeroline.runtime.matching.forms import FORMS

    given = {"ignore": None, "groups": None, "threads": 1, "progress": None} | options
    return distances_by(FORMS[form], features, **given).get()


def forms(cupy: Any, sizes: Sizes, found: Findings) -> None:
    """Compare with a plain search on the device and on the CPU, patches hidden, images grouped."""
    from zeroline.runtime import match_distances
    from zeroline.runtime.matching.screens import index_bits

    for shape in sizes.shapes:
        rng = np.random.default_rng(shape.patches)
        features = unit_rows(rng, _IMAGES, shape.patches, shape.channels)
        ignore = rng.random(features.shape[:2]) < 1 / 3
        ignore[4] = True
        groups = np.array([0, 0, 1, 2, 3, 4])
        marks = {"ignore": cupy.asarray(ignore), "groups": cupy.asarray(groups)}
        rounded = features.astype(np.float16).astype(np.float32)
        half = by_form(FORM, cupy.asarray(features), **marks)
        plain = by_form(PLAIN, cupy.asarray(rounded), **marks)
        exact = match_distances(features, ignore=ignore, groups=groups, threads=None)
        place = f"{shape.name}, P {shape.patches}, C {shape.channels}"
        finite = np.isfinite(exact)
        if (np.isfinite(half) != finite).any() or (np.isfinite(plain) != finite).any():
            found.failures.append(f"{place}: inf elsewhere than the CPU's")
            continue
        step = 2.0 ** (index_bits(shape.patches) - 24)  # of a key, of a distance up to 1.4
        apart = float(np.abs(half[finite] - plain[finite]).max())
        found.at_most(f"{place}: off a plain search there", apart, max(APART, 1.5 * step))
        off = np.abs(half[finite] - exact[finite]) / np.maximum(exact[finite], _LEAST_DISTANCE)
        found.at_most(f"{place}: off the CPU's, mean", float(off.mean()), LIMITS[0])
        found.at_most(f"{place}: off the CPU's, largest", float(off.max()), LIMITS[1])


def copies(cupy: Any, sizes: Sizes, found: Findings) -> None:
    """Look for an image in a copy whose patches stand elsewhere."""
    cases = 0
    for patches in sizes.patches:
        for channels in sizes.channels:
            features = unit_rows(np.random.default_rng(patches), 3, patches, channels)
            features[2] = features[0][::-1]
            distances = by_form(FORM, cupy.asarray(features))
            farthest = max(float(distances[0, :, 2].max()), float(distances[2, :, 0].max()))
            place = f"P {patches}, C {channels}"
            found.hold(farthest == 0, f"{place}: a copy is at {farthest:.2g}")
            others = float(distances[0, :, 1].max())
            found.hold(others > 0, f"{place}: another image is at 0 as well")
            cases += 1
    found.row(f"{cases} cases of patches and channels", "copies looked for")
