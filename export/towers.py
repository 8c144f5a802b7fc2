"""From a backbone's name and weights to its tower."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Iterator, Sequence

from zeroline.export.backbones import Backbone, Follows
from zeroline.export.clip_tower import build_clip
from zeroline.export.dino_tower import build_dino
from zeroline.export.errors import ExportError
from zeroline.export.quiet import quiet
from zeroline.export.tower import Tower
from zeroline.export.weights import Weights


def build_tower(
    backbone: Backbone,
    weights: Weights,
    *,
    size: int | None,
    layers: Sequence[int] | None,
    follows: Follows = "framework",
    activation: str | None = None,
) -> Tower:
    """Build a tower; its position embedding is resized to the input's grid here, not in the graph.

    Parameters
    ----------
    backbone : Backbone
    weights : Weights
    size : int or None
        Side of the input in pixels, a multiple of the patch; None takes the backbone's own.
    layers : sequence of int or None
        0-based blocks, rising; None takes `Backbone.layers`.
    follows : {"framework", "musc"}
        Whose pixels, table of positions, activation and class token: those of open_clip and timm,
        or those of the authors of MuSc, to which the published figures belong.
    activation : {"gelu", "quick_gelu"} or None
        Of CLIP's blocks; None takes what `follows` says.

    Raises
    ------
    ExportError
        For a size or layers that the backbone cannot have, or weights that cannot be had.
    """
    side = backbone.size if size is None else size
    if side % backbone.patch:
        lower = side // backbone.patch * backbone.patch
        fits = [s for s in (lower, lower + backbone.patch) if s]
        raise ExportError(
            f"size {side} is no multiple of {backbone.name}'s patch of {backbone.patch} pixels; "
            f"{' or '.join(map(str, fits))} is"
        )
    chosen = backbone.layers if layers is None else tuple(layers)
    rising = list(chosen) == sorted(set(chosen))
    if not chosen or not rising or not 0 <= chosen[0] <= chosen[-1] < backbone.blocks:
        raise ExportError(
            f"layers {','.join(map(str, chosen))}: rising numbers from 0 to {backbone.blocks - 1} "
            f"are expected, the blocks of {backbone.name}"
        )
    build = build_clip if backbone.family == "CLIP" else build_dino
    with quiet():
        tower = build(
            backbone,
            weights,
            side,
            chosen,
            follows=follows,
            activation=activation,
            hub=lambda: _hub(backbone, weights),
        )
    tower.eval()
    return tower


@contextlib.contextmanager
def _hub(backbone: Backbone, weights: Weights) -> Iterator[None]:
    """Say how to bring the file where the hub cannot be reached."""
    try:
        yield
    except (OSError, RuntimeError, ValueError, pickle.UnpicklingError) as error:
        if weights.tag is None or weights.checkpoint is not None:
            raise
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:160]
        raise ExportError(
            f'weights "{weights.tag}" of {backbone.name} could not be had from the hub or its '
            f"cache ({reason}); on a machine with a network download them, copy the file here and "
            f"give --pretrained {weights.tag} --checkpoint FILE"
        ) from error
