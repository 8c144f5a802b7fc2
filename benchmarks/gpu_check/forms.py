"""Assertions 4 and 5: both float16 forms agree, and with the CPU's; copies are at distance 0."""

from __future__ import annotations

from typing import Any

import numpy as np
from benchmarks.gpu_check.drawn import unit_rows
from benchmarks.gpu_check.findings import Findings
from benchmarks.gpu_check.sizes import Sizes

FORMS = ("fp16-fused", "fp16-tiled")
#: The largest difference of the forms, beside one step of a key.
APART = 1e-4
#: Mean and largest error against float32 on the CPU, relative where distances are over 0.1.
LIMITS = (1e-3, 1e-2)
_LEAST_DISTANCE = 0.1
_IMAGES = 6


def by_form(form: str, features: Any, **options: Any) -> Any:
    """Return match distances (N, P, N) by a form of a given name, on the host."""
    from zeroline.runtime.matching.distances import distances_by
    from zeroline.runtime.matching.forms import FORMS as TABLE

    given = {"ignore": None, "groups": None, "threads": 1, "progress": None} | options
    return distances_by(TABLE[form], features, **given).get()


def forms(cupy: Any, sizes: Sizes, found: Findings) -> None:
    """Compare the forms with each other and with the CPU, patches hidden and images grouped."""
    from zeroline.runtime import match_distances
    from zeroline.runtime.matching.screens import index_bits

    for shape in sizes.shapes:
        rng = np.random.default_rng(shape.patches)
        features = unit_rows(rng, _IMAGES, shape.patches, shape.channels)
        ignore = rng.random(features.shape[:2]) < 1 / 3
        ignore[4] = True
        groups = np.array([0, 0, 1, 2, 3, 4])
        there = {
            form: by_form(
                form, cupy.asarray(features), ignore=cupy.asarray(ignore),
                groups=cupy.asarray(groups),
            )
            for form in FORMS
        }  # fmt: skip
        exact = match_distances(features, ignore=ignore, groups=groups, threads=None)
        finite = np.isfinite(exact)
        fused, tiled = there.values()
        place = f"{shape.name}, P {shape.patches}, C {shape.channels}"
        step = 2.0 ** (index_bits(shape.patches) - 24)  # of a key, of a distance up to 1.4
        limit = max(APART, 1.5 * step)
        for form, distances in there.items():
            same = (np.isfinite(distances) == finite).all()
            found.hold(same, f"{place}: {form} is inf elsewhere than the CPU's")
            if not same:
                return
            off = np.abs(distances[finite] - exact[finite])
            off /= np.maximum(exact[finite], _LEAST_DISTANCE)
            found.at_most(f"{place}: {form} off the CPU's, mean", float(off.mean()), LIMITS[0])
            found.at_most(f"{place}: {form} off the CPU's, largest", float(off.max()), LIMITS[1])
        apart = float(np.abs(fused[finite] - tiled[finite]).max())
        found.at_most(f"{place}: fused and tiled apart", apart, limit)


def copies(cupy: Any, sizes: Sizes, found: Findings) -> None:
    """Look for an image in a copy whose patches stand elsewhere."""
    cases = 0
    for patches in sizes.patches:
        for channels in sizes.channels:
            features = unit_rows(np.random.default_rng(patches), 3, patches, channels)
            features[2] = features[0][::-1]
            for form in FORMS:
                distances = by_form(form, cupy.asarray(features))
                farthest = max(float(distances[0, :, 2].max()), float(distances[2, :, 0].max()))
                place = f"P {patches}, C {channels}, {form}"
                found.hold(farthest == 0, f"{place}: a copy is at {farthest:.2g}")
                others = float(distances[0, :, 1].max())
                found.hold(others > 0, f"{place}: another image is at 0 as well")
                cases += 1
    found.row(f"{cases} cases of patches, channels and form", "copies looked for")
