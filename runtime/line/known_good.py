"""A window and reference sets: what it holds is chosen and written, and a set is checked and taken.

Nothing is trusted: not the window, which holds whatever has passed, and not the file, which anyone
may have made.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zeroline.runtime.arrays import Bools
from zeroline.runtime.errors import ReferenceFileError, ScoringError
from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.line.contents import Contents
from zeroline.runtime.line.slots import Slot, Slots
from zeroline.runtime.reference.files import read_reference
from zeroline.runtime.reference.selection import Scoring, recheck, select_good
from zeroline.runtime.reference.sets import ReferenceReport, ReferenceSet, report_of
from zeroline.runtime.reference.written import Origin, write_selected
from zeroline.runtime.results import Reason, Verdict
from zeroline.runtime.stages.levels import in_one_pose
from zeroline.runtime.tokens import Tokens

if TYPE_CHECKING:
    from zeroline.runtime.network.manifest import Manifest


class WindowReferences:
    """Writes reference sets from a window, and loads them into it.

    Parameters
    ----------
    contents : Contents
        Where frames enter.
    slots : Slots
        What is in the window.
    scoring : Scoring
        How frames are scored against each other.
    manifest : Manifest
        Of the bundle.
    framing : Framing
        What of the frames is looked at.
    xp : module
        NumPy or CuPy: where frames are scored.
    """

    def __init__(
        self,
        contents: Contents,
        slots: Slots,
        scoring: Scoring,
        manifest: Manifest,
        framing: Framing,
        *,
        xp: Any,
    ) -> None:
        self._contents, self._slots, self._xp = contents, slots, xp
        self._scoring, self._manifest, self._framing = scoring, manifest, framing

    def save(self, path: Path, *, false_alarm_rate: float, source: str) -> ReferenceReport:
        """Write the good ones of the window's frames; see `RollingInspector.save_reference`."""
        tokens = self._contents.tokens()
        if tokens is None:
            raise ScoringError("the window is empty, there is nothing to save")
        slots = [slot for _, slot in self._slots.in_order()]
        selection = select_good(
            self._placed(tokens),
            self._scoring_of([slot.turn for slot in slots]),
            false_alarm_rate=false_alarm_rate,
            not_good=[_known_reason(slot) for slot in slots],
            confirmed=np.array([slot.confirmed for slot in slots], bool),
            groups=_groups(slots),
            absent=_absent(slots),
        )
        return write_selected(
            path,
            tokens,
            selection,
            Origin(self._manifest, self._scoring.degrees, false_alarm_rate, source, self._framing),
            names=[slot.label for slot in slots],
            times=[slot.time for slot in slots],
            confirmed=[slot.confirmed for slot in slots],
            turns=[slot.turn for slot in slots],
        )

    def load(self, path: Path, *, pinned: bool) -> ReferenceReport:
        """Take the good ones of a set's frames; see `RollingInspector.load_reference`."""
        reference = read_reference(path, network=self._manifest.network)
        if reference.framing != self._framing:
            raise ReferenceFileError(
                f'reference "{path}" was made with another framing ({reference.framing}), this '
                f"line has {self._framing}"
            )
        self._check_shapes(path, reference)
        room = self._contents.room(pinned=pinned)
        if not room:
            raise ScoringError(
                f'reference "{path}": the {self._slots.pinned} pinned frames of the window leave '
                "no room for more"
            )
        newest = slice(-len(self._slots.filled), None)  # more can never enter
        tokens, frames = reference.tokens.select(newest), reference.frames[newest]
        confirmed = np.array([frame.confirmed for frame in frames], bool)
        scoring = self._scoring_of([frame.turn for frame in frames])
        selection = recheck(self._placed(tokens), scoring, confirmed=confirmed)
        taken = selection.kept.nonzero()[0][-room:]
        self._contents.admit_reference(
            tokens.select(taken), [frames[number] for number in taken], pinned=pinned
        )
        names = [frame.name for frame in frames]
        return report_of(selection, names, frames=len(taken), offered=len(reference.frames))

    def _scoring_of(self, turns: list[float]) -> Scoring:
        """Return how frames are scored, with their places' levels if they are in one pose."""
        aligned = self._framing.taught is not None
        return replace(self._scoring, own_level=aligned and in_one_pose(turns))

    def _check_shapes(self, path: Path, reference: ReferenceSet) -> None:
        """Refuse tokens that this network cannot have made, whatever the file says."""
        outputs = self._manifest.outputs
        rows, columns = self._framing.tiles
        wanted = [(rows * columns * o.patches, o.channels) for o in outputs.tokens]
        found = [layer.shape[1:] for layer in reference.tokens.layers]
        class_channels = reference.tokens.class_tokens.shape[1]
        if found != wanted or class_channels != outputs.class_token.channels:
            raise ReferenceFileError(
                f'reference "{path}" has tokens of {found} and {class_channels}, the network gives '
                f"{wanted} and {outputs.class_token.channels}"
            )
        lengths = np.linalg.norm(reference.tokens.class_tokens.astype(np.float64), axis=1)
        unit = outputs.class_token.unit or rows * columns > 1  # that of tiles is made so
        if unit and not np.allclose(lengths, 1, atol=1e-2):
            raise ReferenceFileError(
                f'reference "{path}" has a class token of length '
                f"{lengths[np.abs(lengths - 1).argmax()]:g}, the network gives 1"
            )

    def _placed(self, tokens: Tokens) -> Tokens:
        """Return tokens where they are scored."""
        layers = tuple(self._xp.asarray(layer) for layer in tokens.layers)
        return Tokens(layers, self._xp.asarray(tokens.class_tokens), tokens.tiles)


def _absent(slots: list[Slot]) -> Bools | None:
    """Return which patches (n, P) of frames show no part; None where all do."""
    marks = [slot.absent for slot in slots if slot.absent is not None]
    if not marks:
        return None
    whole = np.zeros_like(marks[0])
    return np.stack([whole if slot.absent is None else slot.absent for slot in slots])


def _known_reason(slot: Slot) -> Reason | None:
    """Return why a frame was NG on the line."""
    if slot.recurring:
        return Reason.RECURRING
    return slot.reason if slot.verdict is Verdict.NG else None


def _groups(slots: list[Slot]) -> list[int]:
    """Return a number for each frame, the same for frames of one part."""
    first: dict[str, int] = {}
    return [
        number if slot.part_id is None else first.setdefault(slot.part_id, number)
        for number, slot in enumerate(slots)
    ]
