"""What memory a line takes, and where: told and compared with what is free before it is taken."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from zeroline.runtime.arrays import Bools
from zeroline.runtime.cuda import without_room
from zeroline.runtime.errors import warn_of_cpu
from zeroline.runtime.grid import Grid
from zeroline.runtime.line.search import MOST_FRAMES
from zeroline.runtime.line.shape import WindowShape
from zeroline.runtime.matching.cuda import CudaBank
from zeroline.runtime.matching.forms import FORMS
from zeroline.runtime.matching.launches import filled
from zeroline.runtime.matching.plain import PlainBank
from zeroline.runtime.stages.degrees import Degrees, match_count

if TYPE_CHECKING:
    from zeroline.runtime.network.model import Session


@dataclass(frozen=True)
class LineMemory:
    """Bytes that a line takes beside its network.

    Attributes
    ----------
    on_device : bool
        Whether the window lies on a CUDA device: then only `tokens` are on the host.
    features, distances : int
        Of the window, taken at its start and kept.
    tokens : int
        Of W held frames, from which a reference set is written: float32 on the host, float16 where
        they come home from a device.
    frame : int
        What comes and goes with one frame: its tokens, features, matches and what finds them. A
        product on the CPU is not counted: some MB for each thread.
    search : int
        What a search for recurring defects takes; 0 without one.
    """

    on_device: bool
    features: int
    distances: int
    tokens: int
    frame: int
    search: int

    @classmethod
    def of(
        cls, shape: WindowShape, *, on_device: bool, searches: bool = True, held: bool = True
    ) -> LineMemory:
        """Return what a line takes by the sizes of its window.

        With W slots, P patches of which P' are compared, R degrees, S scales, C_l channels of L
        layers, filled up to C'_l, and n = min(W, 256) frames that a search sees::

            tokens       4·W·P·Σ_l C_l, from a device 2·W·P·Σ_l C_l
            frame        4·P·Σ_l C_l + R·P'·Σ_l F_l + 8·S·W·P'
                         + on a device the larger one of `work` and 6·P·max C_l
            F_l          4·C_l, where a device keeps float16 2·C'_l + 4
            work         8·S·W·P' keys; of the float32 form 12·P'² for each slot of a product
            search       4·n²·P' + the features of marked frames, at most n·P'·Σ_l C_l values

        With fused degrees a search also matches the tokens anew, layer by layer. `held`: whether
        the tokens of held frames are kept.
        """
        window, patches, compared = shape.capacity, shape.patches, shape.compared
        form = FORMS[shape.form]
        channels, count = sum(shape.channels), match_count(shape.degrees)
        cuda = issubclass(form.bank, CudaBank)
        features = count * sum(2 * filled(c) + 4 if cuda else 4 * c for c in shape.channels)
        tables = 8 * shape.scales * window * compared
        frame = 4 * patches * channels + compared * features + tables
        tile = -(-compared // (shape.tiles[0] * shape.tiles[1]))
        if on_device:
            work = tables if cuda else 12 * tile**2 * min(window, PlainBank.block_of(tile))
            frame += max(work, 6 * patches * max(shape.channels))
        seen, size = min(window, MOST_FRAMES), 2 if cuda else 4
        search = 4 * seen**2 * compared + size * seen * compared * channels
        if isinstance(shape.degrees, str):
            most = max(shape.channels)
            search += seen * tile * (8 * most + form.bank.patch_bytes(most)) + 8 * seen**2 * tile
        return cls(
            on_device,
            features=shape.memory - shape.distances,
            distances=shape.distances,
            tokens=(2 if on_device else 4) * held * window * patches * channels,
            frame=frame,
            search=search if searches else 0,
        )

    @property
    def beside_tokens(self) -> int:
        """Bytes that lie where the window does: all but the tokens."""
        return self.features + self.distances + self.frame + self.search

    @property
    def all(self) -> int:
        """Bytes on the device and on the host together."""
        return self.beside_tokens + self.tokens

    def lines(self, *, frames: int, free: str) -> list[str]:
        """Return it in words, for people.

        Parameters
        ----------
        frames : int
            W.
        free : str
            What is free where the window lies, such as "5.9 GiB".
        """
        parts = {
            "features": self.features,
            "distances": self.distances,
            "a frame on its way": self.frame,
            "a search for recurring defects": self.search,
        }
        kind, tokens = "float16" if self.on_device else "float32", self.tokens
        if not self.on_device:
            parts[f"tokens of {frames} held frames"], tokens = tokens, 0
        where = "memory on the device" if self.on_device else "memory"
        told = ", ".join(f"{name} {in_words(size)}" for name, size in parts.items() if size)
        lines = [f"{where}: up to {in_words(sum(parts.values()))} of {free} that are free: {told}"]
        if tokens:
            lines.append(
                f"memory of the host: tokens of {frames} held frames {in_words(tokens)} ({kind})"
            )
        return lines


def in_words(size: int) -> str:
    """Return a number of bytes for people."""
    return f"{size / 2**30:.1f} GiB" if size >= 10 * 2**30 else f"{size / 2**20:.0f} MiB"


def placed_shape(
    session: Session,
    capacity: int,
    grid: Grid,
    roi: Bools,
    channels: tuple[int, ...],
    degrees: Degrees,
    *,
    matching: str,
    searches: bool = True,
) -> tuple[WindowShape, Any]:
    """Return a window's shape, and the library of its arrays: that of the network's outputs.

    A device without room for it is left to the network: then the window is on the host, with a
    `ProviderWarning`.

    Parameters
    ----------
    session : Session
    capacity, grid, roi, channels, degrees, matching
        See `WindowShape.fitting`.
    searches : bool
        Whether recurring defects are searched for.

    Raises
    ------
    DeviceError
        If there is no room and the device was asked for by its name.
    """
    sizes = capacity, grid, roi, channels, degrees
    shape = WindowShape.fitting(*sizes, matching=matching, xp=session.arrays)
    if session.arrays is np:
        return shape, np
    needed = LineMemory.of(shape, on_device=True, searches=searches).beside_tokens
    error = without_room(f"a window of {capacity} frames", needed, session.arrays)
    if error is None:
        return shape, session.arrays
    if session.named:
        raise error
    warn_of_cpu(error, what="the window is")
    return WindowShape.fitting(*sizes, matching=matching, xp=np), np
