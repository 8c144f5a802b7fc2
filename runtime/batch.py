"""Score a set of images against each other: MuSc from tokens to image scores."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Sized
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from zeroline.runtime.arrays import Array, Bools, array_namespace
from zeroline.runtime.errors import FrameError, ScoringError
from zeroline.runtime.frames import Frame
from zeroline.runtime.framing.framer import Framer
from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.matching.sets import SetMatching, TilePatches
from zeroline.runtime.recurring.codegraph import Community
from zeroline.runtime.recurring.scales import Scales
from zeroline.runtime.results import ScoreResult
from zeroline.runtime.stages.degrees import Degrees, aggregated, match_count
from zeroline.runtime.stages.interval import interval_average
from zeroline.runtime.stages.levels import in_one_pose, less_level, place_levels
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
    these is the patch score. Then `map_maximum` and `rscin`. Where images have several tiles,
    each tile is matched with the same tile of other images.

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
        Called with 1 as each image of each layer, degree and tile is done: N·L·R·T times, in the
        first run. Tiles in which nothing counts are none.

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
    matching_of = SetMatching(
        tokens, ignore=ignore, absent=absent, roi=roi, groups=groups, form=matching, threads=threads
    )
    scales = None
    if codegraph:
        scales = Scales(degrees, layers=len(tokens.layers), grid=tokens.grid, roi=matching_of.roi)

    def tile_scores(tile: TilePatches, ignored: Any, step: Callable[[int], None] | None) -> Any:
        total: Any = 0.0

        def scores_of(features: Any, number: int) -> Any:  # what it takes is free before the next
            distances = matching_of.distances(features, tile, ignored, step)
            if scales is not None and ignored is matching_of.ignore:
                scales.add(distances, number, tile.counted)
            return interval_average(distances, low=low, high=high)

        for layer in tokens.layers:
            for number, features in enumerate(aggregated(tile.of(layer), degrees, threads=threads)):
                total = total + scores_of(features, number).astype(xp.float64)
        return (total / matches).astype(xp.float32)

    def patch_scores_with(ignored: Any, step: Callable[[int], None] | None) -> Any:
        return matching_of.whole([tile_scores(tile, ignored, step) for tile in matching_of.tiles])

    patch_scores = patch_scores_with(matching_of.ignore, progress)
    if scales is not None and scales.beside:
        for tile in matching_of.tiles:
            for layer in tokens.layers:
                (features,) = aggregated(tile.of(layer), (1,), threads=threads)
                found = matching_of.distances(features, tile, matching_of.ignore, None)
                scales.add_finest(found, tile.counted)
    communities: tuple[Community, ...] = ()
    recurring = xp.zeros(len(tokens), dtype=bool)
    if scales is not None:
        search = scales.recurring()
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
    raw_scores = map_maximum(patch_scores, size=size, tiles=tokens.tiles)
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


def embed_framed(
    images: Iterable[Frame], bundle: Bundle, framing: Framing, /
) -> tuple[Tokens, dict[str, Any]]:
    """Run the network over what a framing looks at.

    Parameters
    ----------
    images : iterable of arrays, shape (H, W, 3), uint8
        BGR, all of the framing's size.
    bundle : Bundle
    framing : Framing

    Returns
    -------
    tokens : Tokens
    options : dict
        What `score_tokens` takes beside them: `roi`, `absent` and `own_level`.

    Raises
    ------
    FrameError
        For a picture that does not fit the framing, or shows no whole part: with its number.
    """
    framer = Framer(framing, bundle.manifest.input, patches=bundle.patches)
    images = images if isinstance(images, Sized) else list(images)
    buffer, turns = TokenBuffer(len(images)), []
    absent = np.zeros((len(images), framer.grid.patches), bool)
    for number, image in enumerate(images):
        look = framer.look(image)
        if look.problem:
            raise FrameError(f"image {number}: {look.problem}")
        prepared = np.stack([bundle.prepare(seen) for seen in look.images])
        buffer.append(framer.joined(bundle.embed(prepared)))
        if look.absent is not None:
            absent[number] = look.absent
        turns.append(0.0 if look.pose is None else look.pose.turn)
    tokens = buffer.tokens()
    if tokens is None:
        raise ScoringError("0 image(s): mutual scoring needs at least 2")
    aligned = framing.taught is not None
    return tokens, {
        "roi": framer.roi,
        "absent": absent if absent.any() else None,
        "own_level": aligned and in_one_pose(turns),
    }


def score_images(
    images: Iterable[Frame],
    bundle: Bundle,
    /,
    *,
    framing: Framing | None = None,
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
    framing : Framing, optional
        What of each image is looked at; all of it, when not given. Where it finds the part and no
        part is turned much, scores are less each place's own level: the result has `level`.
    groups, ignore, codegraph, degrees, rscin, interval, matching, threads, progress
        See `score_tokens`.

    Returns
    -------
    ScoreResult

    Raises
    ------
    FrameError
        For a frame that is not uint8 BGR, does not fit the framing, or shows no whole part.
    FramingError
        If the framing leaves nothing to look at.
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
    defaults, framing = bundle.manifest.defaults, framing or Framing()
    options: dict[str, Any] = {}
    if framing.is_plain:
        tokens = embed_images(images, bundle)
    else:
        tokens, options = embed_framed(images, bundle, framing)
    return score_tokens(
        tokens,
        size=bundle.size,
        degrees=framing.degrees(defaults.degrees) if degrees is None else degrees,
        rscin=defaults.rscin if rscin is None else rscin,
        interval=defaults.interval if interval is None else interval,
        groups=groups,
        ignore=ignore,
        codegraph=codegraph,
        matching=matching,
        threads=threads,
        progress=progress,
        **options,
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
    tiles: int = 1,
) -> int:
    """Return the peak of bytes that `score_tokens` holds, the tokens themselves included.

    With N images, P patches of a tile, C_l channels of layer l, C the largest of them, D channels
    of the class token and T threads::

        4·N·P·ΣC_l + 4·N·D       tokens
        + 4·N·P·(2·C + 2)        features and product operand of one layer and degree
        + 4·N²·P                 match distances of one layer and degree
        + N²·P + 12·N²           marks on them, image similarities and their order
        + T·(4·P·(C + 2) + max(1.25 MB, 512·P) + 13·P·N)   per thread
        + 12·N·P                 patch scores

    With `codegraph` 8·N²·P more, two means of distances; or tokens and 16·N²·P, if that is more:
    the means, a copy of one, and the distances of a community of half the images.

    With `tiles` of them P counts those of all tiles in tokens, patch scores and what `codegraph`
    takes. The tokens of one tile come on top, 4·N·P·C.

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
    everything = elements * tiles
    tokens = 4 * everything * sum(channels) + 4 * images * class_channels
    features = 4 * elements * (2 * widest + 2)
    distances = 5 * images * elements + 12 * images**2
    per_thread = 4 * patches * (widest + 2) + max(1_250_000, 512 * patches) + 13 * elements
    total = tokens + features + distances + threads * per_thread + 12 * everything
    if tiles > 1:
        total += 4 * elements * widest
    if codegraph:
        total = max(total + 8 * images * everything, tokens + 16 * images * everything)
    if not compiled:
        tile = min(elements * patches, max(2**24, patches**2))
        total += 12 * tile + 8 * elements * widest
    return total
