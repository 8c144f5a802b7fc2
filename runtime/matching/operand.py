"""The augmented product that turns a matrix product into half squared distances.

With h = ½‖x‖², the rows A = [x, h, 1] and B = [-y, 1, h] give A·B = ½‖x - y‖². Its minima need
no further work per element, and non-negative floats order like their bit patterns.
"""

from __future__ import annotations

from typing import Any

from zeroline.runtime.arrays import array_namespace
from zeroline.runtime.errors import ScoringError

#: Distances under 0.2 are computed anew: ½·0.2².
NEAR = 0.02
#: Half squared distance of a patch that nobody may match; finite, so that no NaN arises.
IGNORED = 1e30


def rounding_margin(channels: int) -> float:
    """Return what rounding may add to ½‖x - y‖² of unit rows of C channels, with room to spare.

    Seen at the worst, on rows of equal entries: 5.9e-6 at C = 1000 and 1.2e-5 at C = 3000.
    """
    return 4e-6 + 1e-8 * channels


def right_operand(features: Any, ignore: Any) -> Any:
    """Return Bᵀ, shape (C + 2, N·P), with ignored patches out of everybody's reach.

    It stands transposed because BLAS packs rows of it faster than columns.

    Raises
    ------
    ScoringError
        If a feature is NaN or inf; names the image.
    """
    xp = array_namespace(features)
    images, patches, channels = features.shape
    operand = xp.empty((channels + 2, images * patches), dtype=xp.float32)
    operand[channels] = 1
    for image in range(images):
        place = slice(image * patches, (image + 1) * patches)
        half_norm = xp.float32(0.5) * (features[image] * features[image]).sum(axis=1)
        check_finite(half_norm, image=image)
        operand[:channels, place] = -features[image].T
        operand[channels + 1, place] = half_norm
    if ignore is not None:
        operand[channels + 1][ignore.reshape(-1)] = IGNORED
    return operand


def check_finite(values: Any, *, image: int) -> None:
    """Refuse NaN and inf, which an integer minimum would pass over in silence.

    Raises
    ------
    ScoringError
        Names the image.
    """
    if not bool(array_namespace(values).isfinite(values).all()):
        raise ScoringError(f"the features of image {image} hold NaN or inf")


def left_rows(features: Any, rows: Any = slice(None)) -> Any:
    """Return A, shape (rows, C + 2), for one image's (P, C) features or some of its rows."""
    xp = array_namespace(features)
    chosen = features[rows]
    channels = chosen.shape[1]
    operand = xp.empty((len(chosen), channels + 2), dtype=xp.float32)
    operand[:, :channels] = chosen
    operand[:, channels] = xp.float32(0.5) * (chosen * chosen).sum(axis=1)
    operand[:, channels + 1] = 1
    return operand


def mark_unmatched(half_squared: Any, groups: Any) -> None:
    """Set inf, in place, where images of (N, N, P) distances do not match each other."""
    xp = array_namespace(half_squared)
    images = len(half_squared)
    same = xp.eye(images, dtype=bool)
    if groups is not None:
        same |= groups[:, None] == groups[None, :]
    half_squared[same] = xp.inf
    half_squared[half_squared >= IGNORED / 2] = xp.inf


#: Bytes of a tile.
TILE_BYTES = 1_250_000
#: Fewer rows than this make BLAS slow, so a tile may be larger than TILE_BYTES.
LEAST_ROWS = 128


def tile_shape(patches: int) -> tuple[int, int]:
    """Return how many rows and how many images wide a tile is, for images of P patches."""
    row_bytes = 4 * patches
    most_rows = min(patches, max(LEAST_ROWS, TILE_BYTES // row_bytes))
    parts = -(-patches // most_rows)
    rows = -(-patches // parts)
    return rows, max(1, TILE_BYTES // (rows * row_bytes))
