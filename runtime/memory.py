"""How much memory a batch run takes, told before it starts."""

from __future__ import annotations

from collections.abc import Sequence


def scoring_memory(
    images: int,
    *,
    patches: int,
    channels: Sequence[int],
    class_channels: int,
    threads: int = 1,
    compiled: bool = True,
    codegraph: bool = False,
) -> int:
    """Return the peak of bytes that `score_tokens` holds, the tokens themselves included.

    With N images, P patches, C_l channels of layer l, C the largest of them, D channels of the
    class token and T threads::

        4·N·P·ΣC_l + 4·N·D       tokens
        + 4·N·P·(2·C + 2)        features and product operand of one layer and degree
        + 4·N²·P                 match distances of one layer and degree
        + N²·P + 12·N²           marks on them, image similarities and their order
        + T·(4·P·(C + 2) + max(1.25 MB, 512·P) + 13·P·N)   per thread
        + 12·N·P                 patch scores

    With `codegraph` 8·N²·P more, two means of distances; or tokens and 16·N²·P, if that is more:
    the means, a copy of one, and the distances of a community of half the images.

    Without the compiled loops (on CuPy, or where numba is missing) three tiles of
    min(N·P², max(2²⁴, P²)) float32 and two more copies of the features come on top. The
    network itself and the pictures being read are not counted.

    Returns
    -------
    int
        Bytes.
    """
    widest = max(channels)
    elements = images * patches
    tokens = 4 * elements * sum(channels) + 4 * images * class_channels
    features = 4 * elements * (2 * widest + 2)
    distances = 5 * images * elements + 12 * images**2
    per_thread = 4 * patches * (widest + 2) + max(1_250_000, 512 * patches) + 13 * elements
    total = tokens + features + distances + threads * per_thread + 12 * elements
    if codegraph:
        total = max(total + 8 * images * elements, tokens + 16 * images * elements)
    if not compiled:
        tile = min(elements * patches, max(2**24, patches**2))
        total += 12 * tile + 8 * elements * widest
    return total
