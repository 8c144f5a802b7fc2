"""Refuse what would not fit, before the start."""

from __future__ import annotations

import contextlib
from pathlib import Path

from zeroline.edge_app.errors import MemoryLimitError
from zeroline.runtime.batch import scoring_memory
from zeroline.runtime.compiled import compiled_loops
from zeroline.runtime.errors import MissingExtraError
from zeroline.runtime.line.shape import WindowShape
from zeroline.runtime.matching.forms import FORMS
from zeroline.runtime.network.model import Bundle
from zeroline.runtime.stages.degrees import Degrees
from zeroline.runtime.workers import thread_count

_CGROUP_LIMITS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)


def available_memory() -> int:
    """Return the bytes that this process may still take, a container's limit included."""
    try:
        import psutil
    except ModuleNotFoundError as error:
        raise MissingExtraError("psutil", extra="app", purpose="to see the free memory") from error
    free = int(psutil.virtual_memory().available)
    for limit, used in _CGROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # no such group, or "max"
            taken = int(used.read_text()) - _file_cache(used.with_name("memory.stat"))
            free = min(free, int(limit.read_text()) - taken)
    return max(free, 0)


def _file_cache(statistics: Path) -> int:
    """Return the bytes of a group's use that are only cached files, freed when need be."""
    for line in statistics.read_text().splitlines():
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file"):
            return int(value)
    return 0


def needed_memory(
    bundle: Bundle, images: int, *, threads: int | None, codegraph: bool = False, tiles: int = 1
) -> int:
    """Return the bytes that scoring `images` images of so many tiles takes at its peak."""
    return scoring_memory(
        images,
        patches=bundle.patches,
        channels=bundle.channels,
        class_channels=bundle.manifest.outputs.class_token.channels,
        threads=thread_count(threads),
        compiled=compiled_loops() is not None,
        codegraph=codegraph,
        tiles=tiles,
    )


def check_memory(
    bundle: Bundle, images: int, *, threads: int | None, codegraph: bool = False, tiles: int = 1
) -> int:
    """Return the bytes that scoring needs, or refuse.

    Raises
    ------
    MemoryLimitError
        Names both figures and a subset size that fits.
    """

    def needed_for(count: int) -> int:
        return needed_memory(bundle, count, threads=threads, codegraph=codegraph, tiles=tiles)

    needed, free = needed_for(images), available_memory()
    if needed <= free:
        return needed
    fits = images
    while fits > 2 and needed_for(fits) > 0.8 * free:
        fits = fits * 4 // 5
    advice = f"use --subset {fits}" + (" or a smaller number" if fits > 2 else "")
    raise MemoryLimitError(
        f"scoring {images} images{_in_tiles(tiles)} as one set with "
        f'"{bundle.name}" takes '
        f"{needed / 2**30:.1f} GiB, {free / 2**30:.1f} GiB are free: "
        f"{advice}"
    )


def _in_tiles(tiles: int) -> str:
    return f" of {tiles} tiles" if tiles > 1 else ""


def check_window(
    bundle: Bundle, frames: int, *, degrees: Degrees | None, tiles: tuple[int, int] = (1, 1)
) -> int:
    """Return the bytes that a window of a line takes at its start, or refuse.

    Parameters
    ----------
    bundle : Bundle
    frames : int
        W.
    degrees : sequence of odd int, "fused" or None
        None: those of the bundle.
    tiles : (int, int)
        Rows and columns of tiles.

    Raises
    ------
    MemoryLimitError
        Names both figures and the largest window that fits.
    """
    of = degrees or bundle.manifest.defaults.degrees
    count = tiles[0] * tiles[1]

    def needed(window: int) -> int:
        # the leanest form of matching: what is refused fits by none
        sizes = (count * bundle.patches, bundle.channels, of)
        return min(WindowShape(window, *sizes, form, tiles=tiles).memory for form in FORMS)

    free = available_memory()
    if needed(frames) <= free:
        return needed(frames)
    low, high = 2, frames  # the largest that fits lies between
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if needed(middle) <= 0.8 * free else (low, middle)
    raise MemoryLimitError(
        f'a window of {frames} frames{_in_tiles(count)} with "{bundle.name}" takes '
        f"{needed(frames) / 2**30:.1f} GiB, "
        f"{free / 2**30:.1f} GiB are free: use --window {low} or a smaller number"
    )
