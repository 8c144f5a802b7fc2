"""Score a set of images against each other: MuSc from tokens to image scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Sized
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from zeroline.runtime.arrays import Array, Bools, array_namespace
from zeroline.runtime.errors import ScoringError
from zeroline.runtime.frames import Frame
from zeroline.runtime.grid import counted_patches, on_grid
from zeroline.runtime.matching.distances import distances_by
from zeroline.runtime.matching.forms import pick_form
from zeroline.runtime.recurring.codegraph import Community
from zeroline.runtime.recurring.scales import Scales
from zeroline.runtime.results import ScoreResult
from zeroline.runtime.stages.degrees import Degrees, aggregated, match_count
from zeroline.runtime.stages.interval import interval_average
from zeroline.runtime.stages.levels import less_level, place_levels
from zeroline.runtime.stages.maps import map_maximum
from zeroline.runtime.stages.rscin import rscin as rescore
from zeroline.runtime.tokens import TokenBuffer, Tokens

if TYPE_CHECKING:
    from zeroline.runtime.network.model import Bundle


def score_tokens(
    tokens: Tokens,
    /,
    *,
    size: int,
    degrees: Degrees = (1, 3, 5),
    rscin: Sequence[int] = (1, 2, 3),
    interval: tuple[float, float] = (0.0, 0.3),
    groups: Array | Sequence[int] | None = None,
    ignore: Array | None = None,
    absent: Bools | None = None,
    roi: Bools | None = None,
    own_level: bool = False,
    codegraph: bool = False,
    matching: str = "exact",
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> ScoreResult:
    """Score N images from their tokens (docs/algorithms.md).

    For each layer and degree: `lnamd`, `match_distances`, `interval_average`; the mean of
    these is the patch score. Then `map_maximum` and `rscin`.

    Parameters
    ----------
    tokens : Tokens
        Of N ≥ 2 images, all finite.
    size : int
        Side S of the maps whose maximum is the image score, in pixels.
    degrees : sequence of odd int, or "fused"
        Neighbourhood sizes of LNAMD; see `zeroline.runtime.stages.degrees` for "fused".
    rscin : sequence of int
        Neighbourhood sizes of RsCIN; empty: off.
    interval : (float, float)
        Part of the sorted distances that is averaged.
    groups, ignore, matching
        See `match_distances`; the form is picked once for all layers.
    absent : array, shape (N, P), bool, optional
        Patches of an image that show no part: nobody may match them, and their score is 0.
    roi : array, shape (P,), bool, optional
        Patches that count in all images. The others neither score nor match, and cost nothing.
    own_level : bool
        Take each place's own level off the patch scores (`zeroline.runtime.stages.levels`), where
        all images show the part in one pose.
    codegraph : bool
        Look for recurring defects, and where there are some score a second time, their patches
        marked: nobody may match them.
    threads : int or None
        Worker threads on the CPU; None takes all cores.
    progress : callable, optional
        Called with 1 as each image of each layer and degree is done: N·L·R times, in the first
        run.

    Returns
    -------
    ScoreResult
        On the device of the tokens.

    Raises
    ------
    ScoringError
        For fewer than two images, tokens that are not finite, or options out of range.

    Notes
    -----
    Memory: `scoring_memory` has the formula.

    Examples
    --------
    >>> import numpy as np
    >>> rows = np.random.default_rng(0).standard_normal((6, 9, 8)).astype(np.float32)
    >>> tokens = Tokens((rows,), np.ones((6, 1), np.float32))
    >>> score_tokens(tokens, size=32, rscin=()).patch_scores.shape
    (6, 9)
    """
    _check(tokens)
    matches = len(tokens.layers) * match_count(degrees)
    xp = array_namespace(tokens.class_tokens)
    low, high = interval
    matching_of = _SetMatching(
        tokens, ignore=ignore, absent=absent, roi=roi, groups=groups, form=matching, threads=threads
    )
    scales = Scales(degrees, layers=len(tokens.layers)) if codegraph else None

    def patch_scores_with(ignored: Any, step: Callable[[int], None] | None) -> Any:
        total: Any = 0.0

        def scores_of(features: Any, number: int) -> Any:  # what it takes is free before the next
            distances = matching_of.distances(features, ignored, step)
            if scales is not None and ignored is matching_of.ignore:
                scales.add(distances, number)
            return interval_average(distances, low=low, high=high)

        for layer in tokens.layers:
            for number, features in enumerate(aggregated(layer, degrees, threads=threads)):
                total = total + scores_of(features, number).astype(xp.float64)
        return matching_of.on_grid((total / matches).astype(xp.float32))

    patch_scores = patch_scores_with(matching_of.ignore, progress)
    if scales is not None and scales.beside:
        for layer in tokens.layers:
            (features,) = aggregated(layer, (1,), threads=threads)
            scales.add_finest(matching_of.distances(features, matching_of.ignore, None))
    communities: tuple[Community, ...] = ()
    recurring = xp.zeros(len(tokens), dtype=bool)
    if scales is not None:
        search = scales.recurring(roi=matching_of.roi)
        communities = search.communities
        if communities:
            marks = xp.asarray(search.ignored)
            recurring = marks.any(axis=1)
            ignored = matching_of.ignore
            patch_scores = patch_scores_with(marks if ignored is None else marks | ignored, None)
    level = None
    if own_level:
        level = place_levels(patch_scores, absent=absent)
        patch_scores = less_level(patch_scores, level, absent=absent)
    raw_scores = map_maximum(patch_scores, size=size)
    scores = raw_scores
    if rscin:
        scores = rescore(raw_scores, tokens.class_tokens, neighbours=rscin, normalise=False)
    return ScoreResult(
        patch_scores, raw_scores, scores, recurring, communities, matching_of.form, level
    )


def _check(tokens: Tokens) -> None:
    """Refuse tokens that are not those of two images or more."""
    images = len(tokens)
    shapes = {layer.shape[:2] for layer in tokens.layers}
    if len(shapes) != 1 or next(iter(shapes))[0] != images:
        raise ScoringError(
            f"{images} class token(s) and token layers of (N, P) {sorted(shapes)}: one or more "
            "layers of the same N and P, and N class tokens, are expected"
        )
    if images < 2:
        raise ScoringError(f"{images} image(s): mutual scoring needs at least 2")
    bad = np.nonzero(~tokens.finite())[0]
    if bad.size:
        raise ScoringError(
            f"the tokens of image {bad[0]} hold NaN or inf ({bad.size} such image(s))"
        )


class _SetMatching:
    """Matches the images of a set by features of one layer and degree; see `score_tokens`.

    Attributes
    ----------
    roi : array, shape (P,), bool, or None
        Patches that count; None: all.
    ignore : array, shape (N, P), bool, or None
        Patches that nobody may match, those without a part among them.
    form : str
        The form of matching.
    """

    def __init__(
        self,
        tokens: Tokens,
        *,
        ignore: Array | None,
        absent: Bools | None,
        roi: Bools | None,
        groups: Array | Sequence[int] | None,
        form: str,
        threads: int | None,
    ) -> None:
        self._xp = xp = array_namespace(tokens.class_tokens)
        self._groups, self._threads = groups, threads
        images, patches = tokens.layers[0].shape[:2]
        self.roi = None if roi is None else counted_patches(roi, patches)
        if self.roi is not None and self.roi.all():
            self.roi = None
        places = np.arange(patches) if self.roi is None else np.flatnonzero(self.roi)
        self._places = None if self.roi is None else xp.asarray(places)
        self.ignore = None if ignore is None else xp.asarray(ignore, dtype=bool)
        self._absent = None
        if absent is not None:
            if absent.shape != (images, patches):
                raise ScoringError(
                    f"absent has shape {absent.shape}, {(images, patches)} is expected"
                )
            self._absent = xp.asarray(absent)
            self.ignore = self._absent if self.ignore is None else self._absent | self.ignore
        channels = tuple(layer.shape[2] for layer in tokens.layers)
        self._form = pick_form(form, patches=len(places), channels=channels, xp=xp)
        self.form = self._form.name

    def distances(
        self, features: Any, ignored: Any | None, step: Callable[[int], None] | None
    ) -> Any:
        """Return the distances (N, P', N) of the P' patches that count."""
        found = distances_by(
            self._form,
            self._counted(features),
            ignore=None if ignored is None else self._counted(ignored),
            groups=self._groups,
            threads=self._threads,
            progress=step,
        )
        if self._absent is not None:  # as near as can be to every image that can be matched
            absent = self._counted(self._absent)
            rows = found[absent]
            found[absent] = self._xp.where(self._xp.isfinite(rows), rows.dtype.type(0), rows)
        return found

    def on_grid(self, rows: Any) -> Any:
        """Return values (N, P') of the patches that count as (N, P)."""
        return rows if self.roi is None else on_grid(rows, self.roi)

    def _counted(self, rows: Any) -> Any:
        return rows if self._places is None else rows[:, self._places]


def patch_and_image_scores(tokens: Tokens, size: int, /) -> tuple[Any, Any]:
    """Return patch scores (N, P) and image scores (N,) before RsCIN, by MuSc's own options.

    What two networks are compared by (`zeroline.runtime.network.parity`).
    """
    result = score_tokens(tokens, size=size, rscin=())
    return result.patch_scores, result.raw_scores


def embed_images(images: Iterable[Frame], bundle: Bundle, /) -> Tokens:
    """Run the network over frames, `bundle.batch_size` at a time.

    Parameters
    ----------
    images : iterable of arrays, shape (H, W, 3), uint8
        BGR; sizes may differ. What has a length is taken batch by batch; anything else is
        made a list first.
    bundle : Bundle

    Returns
    -------
    Tokens
        Of all images, in their order.
    """
    if not isinstance(images, Sized):
        images = list(images)
    buffer = TokenBuffer(len(images))
    source = iter(images)
    while batch := list(islice(source, bundle.batch_size)):
        buffer.append(bundle.embed(np.stack([bundle.prepare(frame) for frame in batch])))
    tokens = buffer.tokens()
    if tokens is None:
        raise ScoringError("0 image(s): mutual scoring needs at least 2")
    return tokens


def score_images(
    images: Iterable[Frame],
    bundle: Bundle,
    /,
    *,
    groups: Array | Sequence[int] | None = None,
    ignore: Array | None = None,
    codegraph: bool = False,
    degrees: Degrees | None = None,
    rscin: Sequence[int] | None = None,
    interval: tuple[float, float] | None = None,
    matching: str = "exact",
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> ScoreResult:
    """Score N images as one set (MuSc, arXiv 2401.16753).

    Parameters
    ----------
    images : iterable of arrays, shape (H, W, 3), uint8
        BGR frames; sizes may differ, at least two.
    bundle : Bundle
        From `load_bundle`; its manifest has the defaults of what is not given here.
    groups, ignore, codegraph, degrees, rscin, interval, matching, threads, progress
        See `score_tokens`.

    Returns
    -------
    ScoreResult

    Raises
    ------
    FrameError
        For a frame that is not uint8 BGR.
    ScoringError
        See `score_tokens`.

    Examples
    --------
    >>> import numpy as np
    >>> frames = np.random.default_rng(0).integers(0, 255, (3, 64, 64, 3), np.uint8)
    >>> with load_bundle("tiny") as bundle:
    ...     score_images(frames, bundle).scores.shape
    (3,)
    """
    defaults = bundle.manifest.defaults
    return score_tokens(
        embed_images(images, bundle),
        size=bundle.size,
        degrees=defaults.degrees if degrees is None else degrees,
        rscin=defaults.rscin if rscin is None else rscin,
        interval=defaults.interval if interval is None else interval,
        groups=groups,
        ignore=ignore,
        codegraph=codegraph,
        matching=matching,
        threads=threads,
        progress=progress,
    )


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

    Examples
    --------
    >>> round(scoring_memory(100, patches=400, channels=(64,), class_channels=64) / 2**20)
    51
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
