"""How large a tile of a product is: small enough for an L2 cache, large enough for BLAS."""

from __future__ import annotations

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
