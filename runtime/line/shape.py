"""The sizes of a rolling window, and the memory that they take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zeroline.runtime.arrays import Bools
from zeroline.runtime.errors import ScoringError
from zeroline.runtime.grid import Grid
from zeroline.runtime.matching.forms import FORMS, pick_form
from zeroline.runtime.stages.degrees import Degrees, match_count


@dataclass(frozen=True)
class WindowShape:
    """Sizes of a window.

    Attributes
    ----------
    capacity : int
        W, the number of slots.
    patches : int
        P, of all tiles.
    channels : tuple of int
        C_l of each layer.
    degrees : tuple of int, or "fused"
        Neighbourhood sizes of LNAMD; see `zeroline.runtime.stages.degrees`.
    form : str
        The form of matching, by its name in `matching.forms.FORMS`.
    counted : int, optional
        Patches that are compared, where a region of interest leaves some out; else P.
    tiles : (int, int)
        Rows and columns of tiles. A tile is compared with the same tile of other frames.
    """

    capacity: int
    patches: int
    channels: tuple[int, ...]
    degrees: Degrees
    form: str = "float32"
    counted: int | None = None
    tiles: tuple[int, int] = (1, 1)

    def __post_init__(self) -> None:
        if not isinstance(self.degrees, str):
            object.__setattr__(self, "degrees", tuple(self.degrees))
        if self.capacity < 2:
            raise ScoringError(f"window is {self.capacity}, at least 2 frames are expected")
        match_count(self.degrees)
        Grid.of(self.patches, self.tiles)
        if not 1 <= self.compared <= self.patches:
            raise ScoringError(f"{self.compared} of {self.patches} patches counted: from 1 on")

    @classmethod
    def fitting(
        cls,
        capacity: int,
        grid: Grid,
        roi: Bools,
        channels: tuple[int, ...],
        degrees: Degrees,
        *,
        matching: str,
        xp: Any,
    ) -> WindowShape:
        """Return the shape for frames of a grid of which some patches count.

        `matching` is "exact" or "fast"; the form is picked for the tile with the most patches.
        """
        form = pick_form(matching, patches=grid.most_in_a_tile(roi), channels=channels, xp=xp)
        counted = int(roi.sum())
        return cls(capacity, grid.patches, channels, degrees, form.name, counted, grid.tiles)

    @property
    def scales(self) -> int:
        """Number of matches: (layer, degree) pairs, or layers where degrees are fused."""
        return len(self.channels) * match_count(self.degrees)

    @property
    def compared(self) -> int:
        """P', the patches that are compared."""
        return self.patches if self.counted is None else self.counted

    @property
    def memory(self) -> int:
        """Bytes that the window holds, all taken at its start; `LineMemory` has all of a line's.

        With W slots, P' patches compared, R degrees, C_l channels of L layers::

            R·Σ_l 4·W·P'·(2·C_l + 2)     features, and the operand that they are multiplied by
            + L·R·4·W²·P'                distances

        Other forms than "float32" take less: `MatchingForm.bank_bytes` tells.
        """
        banks = sum(
            FORMS[self.form].bank_bytes(self.capacity, self.compared, c) for c in self.channels
        )
        return match_count(self.degrees) * banks + self.distances

    @property
    def distances(self) -> int:
        """Bytes of the distances, part of `memory`."""
        return 4 * self.scales * self.capacity**2 * self.compared
