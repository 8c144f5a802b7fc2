"""Pose: find a taught part in a picture, and lay it upright and flat."""

from __future__ import annotations

from zeroline.runtime.framing.pose.found import FoundPose
from zeroline.runtime.framing.pose.ground import PartOnGround, part_on_ground
from zeroline.runtime.framing.pose.laid import laid_flat
from zeroline.runtime.framing.pose.taught import TaughtPart

__all__ = ["FoundPose", "PartOnGround", "TaughtPart", "laid_flat", "part_on_ground"]
