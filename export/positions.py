"""The table of position embeddings, brought from the trained grid to the input's.

There are two ways in use. timm and open_clip resize to a size, antialiased. The code of MuSc's
authors does not antialias, and for DINO and DINOv2 it scales by (g + 0.1)/n, as Meta's own code:
g patches a side are wanted, n were trained. At the trained size the table stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

#: What Meta's code adds to g, so that rounding never gives a grid that is too small.
_OFFSET = 0.1


@dataclass(frozen=True)
class TableRule:
    """How a table is resized, always bicubic.

    Attributes
    ----------
    antialias : bool
        Where it shrinks.
    scaled : bool
        By the factor (g + 0.1)/n, not by the size.
    """

    antialias: bool = True
    scaled: bool = False

    def __str__(self) -> str:
        """Return the rule in words, for the manifest."""
        how = "by the factor (g + 0.1)/n" if self.scaled else "by size"
        return f"bicubic, {'antialiased' if self.antialias else 'not antialiased'}, {how}"


def resized_table(table: Tensor, rule: TableRule, *, grid: int, prefix: int) -> Tensor:
    """Return a table of positions for another grid.

    Parameters
    ----------
    table : Tensor, shape (prefix + n², C)
        n is the trained grid's side.
    rule : TableRule
    grid : int
        g, the side of the wanted grid.
    prefix : int
        Rows before those of the patches, which stay: the class token's, or none.

    Returns
    -------
    Tensor, shape (prefix + g², C)
    """
    first, places = table[:prefix], table[prefix:]
    trained = round(len(places) ** 0.5)
    if trained == grid:
        return table
    square = places.reshape(1, trained, trained, -1).permute(0, 3, 1, 2)
    factor = (grid + _OFFSET) / trained
    resized = functional.interpolate(
        square,
        size=None if rule.scaled else (grid, grid),
        scale_factor=(factor, factor) if rule.scaled else None,
        mode="bicubic",
        antialias=rule.antialias,
    )
    return torch.cat([first, resized.permute(0, 2, 3, 1).reshape(grid * grid, -1)])
