"""Everything that computes scores: array code for NumPy and CuPy, and inference sessions.

No torch, no camera, no web. What needs more than NumPy is imported when first used, so that
``import zeroline.runtime`` stays fast on a small machine.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

# at once, not when first used: a function named like its module would else be hidden by it
from zeroline.runtime.codegraph import codegraph
from zeroline.runtime.errors import (
    BundleError,
    DeviceError,
    FrameError,
    MissingExtraError,
    ScoringError,
    ZerolineError,
)
from zeroline.runtime.grid import anomaly_map, map_maximum
from zeroline.runtime.interval import interval_average
from zeroline.runtime.lnamd import lnamd
from zeroline.runtime.matching import match_distances
from zeroline.runtime.memory import scoring_memory
from zeroline.runtime.rscin import rscin
from zeroline.runtime.threshold import auto_threshold
from zeroline.runtime.tokens import Tokens

if TYPE_CHECKING:
    from zeroline.runtime.bundle import Bundle, load_bundle
    from zeroline.runtime.frames import to_bgr8
    from zeroline.runtime.inspection import Inspection, RecurringDefect, Revision, Verdict
    from zeroline.runtime.line_threshold import ThresholdRule
    from zeroline.runtime.rolling import RollingInspector
    from zeroline.runtime.scoring import ScoreResult, score_images, score_tokens

_LATER = {  # what needs pydantic or Pillow
    "Bundle": "bundle",
    "Inspection": "inspection",
    "RecurringDefect": "inspection",
    "Revision": "inspection",
    "RollingInspector": "rolling",
    "ThresholdRule": "line_threshold",
    "Verdict": "inspection",
    "ScoreResult": "scoring",
    "load_bundle": "bundle",
    "score_images": "scoring",
    "score_tokens": "scoring",
    "to_bgr8": "frames",
}

__all__ = [  # noqa: RUF022 - in the order of the pipeline
    "load_bundle", "Bundle", "to_bgr8", "Tokens",
    "lnamd", "match_distances", "interval_average", "anomaly_map", "map_maximum", "rscin",
    "codegraph", "score_tokens", "score_images", "ScoreResult", "scoring_memory", "auto_threshold",
    "RollingInspector", "Inspection", "RecurringDefect", "Revision", "Verdict", "ThresholdRule",
    "ZerolineError", "BundleError", "DeviceError", "FrameError", "MissingExtraError",
    "ScoringError",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_LATER[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
