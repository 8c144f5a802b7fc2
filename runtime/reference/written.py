"""From a selection to a file: the frames that were kept, and a report on the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from zeroline.runtime.errors import ReferenceFileError
from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.reference.files import read_reference, write_reference
from zeroline.runtime.reference.selection import Selection
from zeroline.runtime.reference.sets import (
    ReferenceFrame,
    ReferenceReport,
    ReferenceSet,
    report_of,
)
from zeroline.runtime.stages.degrees import Degrees
from zeroline.runtime.tokens import Tokens

if TYPE_CHECKING:
    from zeroline.runtime.network.manifest import Manifest


@dataclass(frozen=True)
class Origin:
    """Where a set comes from, and by what it was chosen.

    Attributes
    ----------
    manifest : Manifest
        Of the bundle.
    degrees : sequence of odd int, or "fused"
    false_alarm_rate : float
    source : str
        Folders or address of the frames.
    framing : Framing
        What of them was looked at.
    """

    manifest: Manifest
    degrees: Degrees
    false_alarm_rate: float
    source: str
    framing: Framing = field(default_factory=Framing)


def write_selected(
    path: Path,
    tokens: Tokens,
    selection: Selection,
    origin: Origin,
    *,
    names: Sequence[str],
    times: Sequence[float],
    confirmed: Sequence[bool],
    turns: Sequence[float],
) -> ReferenceReport:
    """Write the frames that were selected.

    Parameters
    ----------
    path : Path
    tokens : Tokens
        Of N frames, on the host or not.
    selection : Selection
        Of the same.
    origin : Origin
    names, times, confirmed, turns : sequences of N
        Of each frame: name, seconds since 1970, whether a person has called it good, degrees by
        which its part is turned.
    """
    frames = tuple(
        ReferenceFrame(name, time, float(score), selection.threshold, bool(sure), float(turn))
        for name, time, sure, turn, score, kept in zip(
            names, times, confirmed, turns, selection.scores, selection.kept, strict=True
        )
        if kept
    )
    write_reference(
        path,
        ReferenceSet(
            tokens.select(selection.kept),
            frames,
            bundle=origin.manifest.name,
            network=origin.manifest.network,
            degrees=origin.degrees,
            false_alarm_rate=origin.false_alarm_rate,
            left_out=len(names) - len(frames),
            source=origin.source,
            program=version("zeroline"),
            framing=origin.framing,
        ),
    )
    return report_of(selection, names, frames=len(frames), offered=len(names))


def add_frame(path: Path, tokens: Tokens, frame: ReferenceFrame) -> int:
    """Add a frame that a person has called good to a set; return how many it holds now.

    A frame of that name is replaced. The file is there whole, before and after.

    Parameters
    ----------
    path : Path
    tokens : Tokens
        Of the one frame, on the host.
    frame : ReferenceFrame

    Raises
    ------
    ReferenceFileError
        If the set cannot be read or written, or is of another network.
    """
    reference = read_reference(path)
    shapes = [layer.shape[1:] for layer in tokens.layers]
    if shapes != [layer.shape[1:] for layer in reference.tokens.layers]:
        raise ReferenceFileError(f'reference "{path}" has other tokens than this frame')
    kept = [number for number, one in enumerate(reference.frames) if one.name != frame.name]
    layers = tuple(
        np.concatenate([held[kept], np.asarray(new, held.dtype)])
        for held, new in zip(reference.tokens.layers, tokens.layers, strict=True)
    )
    held = reference.tokens.class_tokens
    classes = np.concatenate([held[kept], np.asarray(tokens.class_tokens, held.dtype)])
    frames = (*(reference.frames[number] for number in kept), frame)
    together = Tokens(layers, classes, reference.tokens.tiles)
    write_reference(path, replace(reference, tokens=together, frames=frames))
    return len(frames)
