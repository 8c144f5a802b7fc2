"""RsCIN: constrained image-level neighbourhood (MuSc §3.4, docs/algorithms.md)."""

from __future__ import annotations

from collections.abc import Sequence

from zeroline.runtime.arrays import Array, ArrayT, array_namespace, as_float32
from zeroline.runtime.errors import ScoringError

#: Products of class tokens that differ less, as a share, are equal.
LEAST_ROUNDING = 1e-6


def rscin(
    scores: ArrayT,
    class_tokens: Array,
    /,
    *,
    neighbours: Sequence[int] = (1, 2, 3),
    normalise: bool = True,
) -> ArrayT:
    """Re-score each image by the scores of the images that look most like it.

    Parameters
    ----------
    scores : array, shape (N,), float
        Image scores.
    class_tokens : array, shape (N, D), float (half precision too)
        Class tokens, as the bundle gives them. Of unit rows each is most like itself; the
        authors leave those of DINO as long as they are, and a longer row can be more alike.
    neighbours : sequence of int
        Window sizes m, the image itself included; results are averaged over them. An m over
        N counts as N. Negative similarities weigh nothing (ours; the authors' weights can then
        sum to 0).
    normalise : bool
        True: scores are first scaled to [0, 1] over the set, as the authors do. False: they
        keep their unit, so that a threshold means the same in every set. Both rank alike,
        since the weights of a row sum to 1.

    Returns
    -------
    array, shape (N,), float32
        Constant scores give zeros with `normalise`, themselves without.

    Raises
    ------
    ScoringError
        For lengths that differ, an empty set, or a neighbourhood under 1.

    References
    ----------
    MuSc (arXiv 2401.16753), section 3.4; ({1, 8, 9} is the authors' choice for VisA).

    Examples
    --------
    >>> import numpy as np
    >>> tokens = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> rscin(np.array([0.25, 0.75, 1.0]), tokens, neighbours=(2,), normalise=False).tolist()
    [0.5, 0.5, 1.0]
    """
    xp = array_namespace(scores)
    values = as_float32(scores, name="scores", ndim=1).astype(xp.float64)
    tokens = as_float32(class_tokens, name="class_tokens", ndim=2)
    count = len(values)
    if count == 0 or len(tokens) != count:
        raise ScoringError(f"{count} score(s) and {len(tokens)} class token(s): as many, and at "
                           "least one, are expected")  # fmt: skip
    if not neighbours or min(neighbours) < 1:
        raise ScoringError(f"neighbours is {tuple(neighbours)}, one or more numbers from 1 on "
                           "are expected")  # fmt: skip
    if normalise:
        low, spread = values.min(), values.max() - values.min()
        values = (values - low) / xp.where(spread > 0, spread, 1.0)
    # in double: of images that are much alike the products differ by less than float32 resolves
    exact = tokens.astype(xp.float64)
    # unrelated images may have a negative similarity; a row's sum must not vanish for it
    similarity = xp.maximum(exact @ exact.T, 0)
    key = -similarity
    itself = xp.arange(count)
    rounding = max(4 * float(xp.finfo(class_tokens.dtype).eps), LEAST_ROUNDING)
    # the image itself comes first among its equals
    first = similarity[itself, itself] >= similarity.max(axis=1) * (1 - rounding)
    key[itself, itself] = xp.where(first, -xp.inf, key[itself, itself])
    order = xp.argsort(key, axis=1)[:, : min(max(neighbours), count)]
    weights = xp.take_along_axis(similarity, order, axis=1)
    nearest = values[order]
    rescored = [
        (weights[:, :m] * nearest[:, :m]).sum(axis=1) / weights[:, :m].sum(axis=1)
        for m in neighbours
    ]
    result: ArrayT = xp.stack(rescored).mean(axis=0).astype(xp.float32)
    return result
