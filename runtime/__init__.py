"""Everything that computes scores: array code for NumPy and CuPy, and inference sessions.

No torch, no camera, no web. Each name is imported when it is first asked for. So ``import
zeroline.runtime`` stays fast on a small machine, and the errors and the doctor can be had where
NumPy itself is broken.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from zeroline.runtime.errors import (
    BundleError,
    DeviceError,
    FrameError,
    FramingError,
    MissingExtraError,
    ParityError,
    ProviderWarning,
    ReferenceFileError,
    ScoringError,
    ZerolineError,
)

if TYPE_CHECKING:
    from zeroline.runtime.batch import score_images, score_tokens, scoring_memory
    from zeroline.runtime.frames import CaptureTime, to_bgr8
    from zeroline.runtime.judgement import Judgement, judge
    from zeroline.runtime.line.inspector import RollingInspector
    from zeroline.runtime.loading import load_bundle
    from zeroline.runtime.matching.distances import match_distances
    from zeroline.runtime.network.model import Bundle
    from zeroline.runtime.recurring.codegraph import CodegraphResult, Community, codegraph
    from zeroline.runtime.recurring.evidence import Evidence
    from zeroline.runtime.reference.sets import LeftOut, ReferenceReport
    from zeroline.runtime.results import (
        FrameScores,
        Inspection,
        Reason,
        RecurringDefect,
        Revision,
        ScoreResult,
        Verdict,
    )
    from zeroline.runtime.stages.interval import interval_average
    from zeroline.runtime.stages.lnamd import lnamd
    from zeroline.runtime.stages.maps import anomaly_map, map_maximum
    from zeroline.runtime.stages.regions import Region
    from zeroline.runtime.stages.rscin import rscin
    from zeroline.runtime.stages.threshold import ThresholdRule, auto_threshold
    from zeroline.runtime.tokens import Tokens

#: Where the names lie.
_PLACES = {
    "batch": "score_images score_tokens scoring_memory",
    "frames": "CaptureTime to_bgr8",
    "judgement": "Judgement judge",
    "line.inspector": "RollingInspector",
    "loading": "load_bundle",
    "matching.distances": "match_distances",
    "network.model": "Bundle",
    "recurring.codegraph": "CodegraphResult Community codegraph",
    "recurring.evidence": "Evidence",
    "reference.sets": "LeftOut ReferenceReport",
    "results": "FrameScores Inspection Reason RecurringDefect Revision ScoreResult Verdict",
    "stages.interval": "interval_average",
    "stages.lnamd": "lnamd",
    "stages.maps": "anomaly_map map_maximum",
    "stages.regions": "Region",
    "stages.rscin": "rscin",
    "stages.threshold": "ThresholdRule auto_threshold",
    "tokens": "Tokens",
}
_LATER = {name: place for place, names in _PLACES.items() for name in names.split()}

__all__ = [  # noqa: RUF022 - in the order of the pipeline
    "load_bundle", "Bundle", "to_bgr8", "CaptureTime", "Tokens",
    "lnamd", "match_distances", "interval_average", "anomaly_map", "map_maximum", "rscin",
    "codegraph", "CodegraphResult", "Community", "Evidence",
    "score_tokens", "score_images", "ScoreResult", "scoring_memory",
    "auto_threshold", "ThresholdRule", "judge", "Judgement",
    "RollingInspector", "Inspection", "Verdict", "Reason", "FrameScores", "Region",
    "Revision", "RecurringDefect", "ReferenceReport", "LeftOut",
    "ZerolineError", "BundleError", "DeviceError", "FrameError", "FramingError",
    "MissingExtraError", "ParityError", "ReferenceFileError", "ScoringError", "ProviderWarning",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_LATER[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
