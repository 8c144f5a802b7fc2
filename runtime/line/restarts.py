"""A window over restarts: the frames that it holds are written, and taken again as a window.

Nobody has called these frames good. So they never become a reference set, they leave as other
frames do, and those that share a defect do not come back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from zeroline.runtime.archives import DAMAGE, open_archive, signature, why_damaged, write_signed
from zeroline.runtime.arrays import Bools
from zeroline.runtime.errors import FramingError, StateFileError
from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.framing.kept import framing_arrays, framing_header, kept_framing
from zeroline.runtime.line.contents import Contents
from zeroline.runtime.line.slots import Slot, Slots
from zeroline.runtime.reference.selection import Scoring, recurring_among
from zeroline.runtime.stages.levels import in_one_pose
from zeroline.runtime.tokens import Tokens, joined

if TYPE_CHECKING:
    from zeroline.runtime.network.manifest import Manifest

VERSION = 1


@dataclass(frozen=True)
class StateReport:
    """What became of a window that was written or loaded.

    Attributes
    ----------
    frames : int
        Written, or now in the window.
    recurring : int
        Left out: they share a defect.
    bytes : int
        Of the file.

    Examples
    --------
    >>> print(StateReport(60, 3, 2_000_000))
    60 frames (3 with a recurring defect left out), 2.0 MB
    """

    frames: int
    recurring: int
    bytes: int

    def __str__(self) -> str:
        """Return one line."""
        left = f" ({self.recurring} with a recurring defect left out)" if self.recurring else ""
        return f"{self.frames} frames{left}, {self.bytes / 1e6:.1f} MB"


@dataclass(frozen=True)
class WindowSnapshot:
    """The frames of a window at one moment, to be written by any thread.

    Attributes
    ----------
    header : dict
        What is known of them.
    tokens : tuple of Tokens
        Of one frame each, on the host.
    absent : array, shape (n, P), bool, or None
        Patches whose part lies outside their frame; None of no frame.
    framing : Framing
    recurring : int
        Frames that were left out: they share a defect.
    """

    header: dict[str, Any]
    tokens: tuple[Tokens, ...]
    absent: Bools | None
    framing: Framing
    recurring: int

    def write(self, path: Path) -> StateReport:
        """Write the file; it is there whole or not at all.

        Raises
        ------
        StateFileError
            If it cannot be written.
        """
        arrays: dict[str, Any] = {}
        if self.tokens:
            together = joined(self.tokens)
            for number, layer in enumerate(together.layers):
                arrays[f"layer_{number}"] = _half(layer)
            arrays["class_tokens"] = np.asarray(together.class_tokens, np.float32)
            arrays["absent"] = self.absent
        arrays |= framing_arrays(self.framing)
        try:
            write_signed(path, self.header, arrays)
            size = path.stat().st_size
        except OSError as error:
            raise StateFileError(
                f'state "{path}" cannot be written: {error.strerror or error}'
            ) from error
        return StateReport(len(self.tokens), self.recurring, size)


class WindowState:
    """Takes the frames of a window out of it, and back.

    Parameters
    ----------
    contents : Contents
    slots : Slots
    scoring : Scoring
        How frames are scored against each other, for the search.
    manifest : Manifest
        Of the bundle.
    framing : Framing
    searches : bool
        Whether recurring defects are searched for.
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
        searches: bool,
        xp: Any,
    ) -> None:
        self._contents, self._slots, self._scoring = contents, slots, scoring
        self._manifest, self._framing, self._searches = manifest, framing, searches
        self._xp = xp

    def snapshot(self, *, count: int) -> WindowSnapshot:
        """Return the frames that came on the line; see `RollingInspector.snapshot`."""
        held = [slot for _, slot in self._slots.in_order() if not slot.reference]
        kept = tuple(slot for slot in held if not slot.recurring)
        tokens = self._contents.tokens_of(kept)
        rows = [[s.frame_id, s.part_id, s.time, s.turn, s.confirmed] for s in kept]
        header = {
            "version": VERSION,
            "network": self._manifest.network,
            "framing": framing_header(self._framing),
            "count": count,
            "frames": rows,
        }
        absent = None if not tokens else _absent(kept, patches=tokens[0].layers[0].shape[1])
        return WindowSnapshot(header, tokens, absent, self._framing, len(held) - len(kept))

    def load(self, path: Path) -> tuple[StateReport, int]:
        """Take the frames of a file into the window; return also the count of the line's frames."""
        try:
            with open_archive(path) as archive:
                header, arrays = archive.header(), archive.arrays()
            if header.get("version") != VERSION:
                raise ValueError(f"it has the version {header.get('version')}, not {VERSION}")
            if header.pop("sha256", None) != signature(header, arrays):
                raise ValueError("its hash does not fit")
            framing = kept_framing(header["framing"], arrays.__getitem__)
            tokens, slots = _slots_of(header, arrays)
            count = int(header["count"])
            size = path.stat().st_size
        except (FramingError, *DAMAGE) as error:
            raise StateFileError(f'state "{path}" cannot be used: {why_damaged(error)}') from error
        if header["network"] != self._manifest.network:
            raise StateFileError(f'state "{path}" is of another bundle')
        if framing != self._framing:
            raise StateFileError(f'state "{path}" is of another framing ({framing})')
        if tokens is None:
            return StateReport(0, 0, size), count
        self._check_shapes(path, tokens)
        room = self._contents.room(pinned=False)
        tokens, slots = tokens.select(slice(-room, None) if room else slice(0, 0)), slots[-room:]
        bad = self._recurring(tokens, slots) if room else np.zeros(0, bool)
        for number, slot in enumerate(slots if room else []):
            if not bad[number]:
                self._contents.admit_again(replace(slot, tokens=tokens.select([number])))
        return StateReport(int((~bad).sum()), int(bad.sum()), size), count

    def _recurring(self, tokens: Tokens, slots: list[Slot]) -> Bools:
        """Return which frames share a defect."""
        names = [slot.part_id or f"frame {slot.frame_id}" for slot in slots]
        if not self._searches or len(set(names)) < 2:
            return np.zeros(len(slots), bool)
        aligned = self._framing.taught is not None
        scoring = replace(
            self._scoring, own_level=aligned and in_one_pose([slot.turn for slot in slots])
        )
        layers = tuple(self._xp.asarray(layer, np.float32) for layer in tokens.layers)
        placed = Tokens(layers, self._xp.asarray(tokens.class_tokens), tokens.tiles)
        marks = [slot.absent for slot in slots]
        absent = None
        if any(mark is not None for mark in marks):
            nowhere = np.zeros(tokens.layers[0].shape[1], bool)
            absent = np.stack([nowhere if mark is None else mark for mark in marks])
        groups = [names.index(name) for name in names]
        return recurring_among(placed, scoring, groups=groups, absent=absent)

    def _check_shapes(self, path: Path, tokens: Tokens) -> None:
        rows, columns = self._framing.tiles
        outputs = self._manifest.outputs
        wanted = [(rows * columns * o.patches, o.channels) for o in outputs.tokens]
        found = [layer.shape[1:] for layer in tokens.layers]
        if found != wanted or tokens.class_tokens.shape[1] != outputs.class_token.channels:
            raise StateFileError(
                f'state "{path}" has tokens of {found}, the network gives {wanted}'
            )


def _half(layer: Any) -> Any:
    """Return tokens in half the room; as they are where they would not fit."""
    half = np.asarray(layer).astype(np.float16)
    return half if np.isfinite(half).all() else np.asarray(layer)


def _absent(slots: Sequence[Slot], *, patches: int) -> Bools:
    marks = np.zeros((len(slots), patches), bool)
    for row, slot in zip(marks, slots, strict=True):
        if slot.absent is not None:
            row[:] = slot.absent
    return marks


def _slots_of(header: Any, arrays: Any) -> tuple[Tokens | None, list[Slot]]:
    """Return tokens (n, …) and their n frames; one of `DAMAGE` for what is none."""
    rows = header["frames"]
    if not rows:
        return None, []
    names = [f"layer_{number}" for number in range(len(arrays)) if f"layer_{number}" in arrays]
    framing = kept_framing(header["framing"], arrays.__getitem__)
    layers = tuple(np.asarray(arrays[name], np.float32) for name in names)
    tokens = Tokens(layers, arrays["class_tokens"], framing.tiles)
    absent = arrays["absent"]
    sizes = {len(array) for array in (*layers, tokens.class_tokens, absent)}
    if sizes != {len(rows)} or not layers or not tokens.finite().all():
        raise ValueError("its arrays are not those of its frames")
    slots = []
    for number, (frame_id, part, time, turn, confirmed) in enumerate(rows):
        if type(frame_id) is not int or frame_id < 0 or not isfinite(time) or not isfinite(turn):
            raise ValueError("a frame has no number, time or turn")
        marks = absent[number] if absent[number].any() else None
        slots.append(
            Slot(
                frame_id,
                None if part is None else str(part),
                tokens.select([number]),
                settled=True,
                time=float(time),
                turn=float(turn),
                confirmed=bool(confirmed),
                absent=marks,
            )
        )
    return tokens, slots
