"""Refuse what would not fit, before the start."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from zeroline.edge_app.errors import MemoryLimitError
from zeroline.runtime.batch import scoring_memory
from zeroline.runtime.compiled import compiled_loops
from zeroline.runtime.cuda import ON_DEVICE, free_device_memory, no_room, without_room
from zeroline.runtime.errors import MissingExtraError, warn_of_cpu
from zeroline.runtime.line.room import LineMemory, in_words
from zeroline.runtime.line.shape import WindowShape
from zeroline.runtime.matching.forms import FORMS
from zeroline.runtime.network.model import Bundle
from zeroline.runtime.network.onhost import on_host
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


def free_memory(xp: Any) -> tuple[int, str]:
    """Return the bytes that are free where arrays of NumPy or CuPy lie, and words for there.

    A Jetson has one memory for both, and the host knows it better.
    """
    on_device = None if xp is np else free_device_memory(xp)
    return (available_memory(), "") if on_device is None else (on_device, ON_DEVICE)


def needed_memory(
    bundle: Bundle, images: int, *, threads: int | None, codegraph: bool = False, tiles: int = 1
) -> int:
    """Return the bytes that scoring `images` images of so many tiles takes at its peak."""
    on_cpu = bundle.session.arrays is np
    return scoring_memory(
        images,
        patches=bundle.patches,
        channels=bundle.channels,
        class_channels=bundle.manifest.outputs.class_token.channels,
        threads=thread_count(threads) if on_cpu else 1,
        compiled=on_cpu and compiled_loops() is not None,
        codegraph=codegraph,
        tiles=tiles,
    )


def placed_bundle(
    bundle: Bundle, images: int, *, threads: int | None, codegraph: bool = False, tiles: int = 1
) -> Bundle:
    """Return a bundle that is scored on the CPU, where a device that was not named has no room.

    A `ProviderWarning` says so; the network stays where it is.
    """
    xp = bundle.session.arrays
    if xp is np or bundle.session.named:
        return bundle
    needed = needed_memory(bundle, images, threads=threads, codegraph=codegraph, tiles=tiles)
    error = without_room(f"a set of {images} images{_in_tiles(tiles)}", needed, xp)
    if error is None:
        return bundle
    warn_of_cpu(error, what="scores are")
    return on_host(bundle)


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

    needed = needed_for(images)
    free, where = free_memory(bundle.session.arrays)
    if needed <= free:
        return needed
    fits = images
    while fits > 2 and needed_for(fits) > 0.8 * free:
        fits = fits * 4 // 5
    advice = f"use --subset {fits}" + (" or a smaller number" if fits > 2 else "")
    what = f'scoring {images} images{_in_tiles(tiles)} as one set with "{bundle.name}"'
    raise MemoryLimitError(f"{no_room(what, needed, free, where=where)}: {advice}")


def _in_tiles(tiles: int) -> str:
    return f" of {tiles} tiles" if tiles > 1 else ""


def memory_teller(
    bundle: Bundle, frames: int, *, tell: Callable[[str], None]
) -> Callable[[LineMemory], None]:
    """Return what tells in lines how much memory a line of W frames is about to take.

    The network is loaded by then. What it takes while it runs depends on its provider, and is not
    known before it has run: nothing is said but the size of its files.
    """

    def told(memory: LineMemory) -> None:
        free, _ = free_memory(bundle.session.arrays if memory.on_device else np)
        for line in memory.lines(frames=frames, free=in_words(free)):
            tell(line)
        tell(
            f"beside it: the network, loaded, from files of {in_words(network_bytes(bundle))}; "
            "what it takes while it runs is not known before"
        )

    return told


def network_bytes(bundle: Bundle) -> int:
    """Return the bytes of a bundle's files: the network and its weights."""
    return sum((bundle.path / name).stat().st_size for name in bundle.manifest.files)


def check_window(
    bundle: Bundle,
    frames: int,
    *,
    degrees: Degrees | None,
    tiles: tuple[int, int] = (1, 1),
    searches: bool = True,
) -> int:
    """Return the bytes that a line takes beside its network, or refuse.

    Those of the device where it has its own memory, else all of them.

    Parameters
    ----------
    bundle : Bundle
    frames : int
        W.
    degrees : sequence of odd int, "fused" or None
        None: those of the bundle.
    tiles : (int, int)
        Rows and columns of tiles.
    searches : bool
        Whether recurring defects are searched for.

    Raises
    ------
    MemoryLimitError
        Names both figures and the largest window that fits, if any does.
    """
    of = degrees or bundle.manifest.defaults.degrees
    count = tiles[0] * tiles[1]

    def needed_on(device: str, window: int) -> int:
        # the leanest form of matching: what is refused fits by none
        sizes = (count * bundle.patches, bundle.channels, of)
        forms = [form.name for form in FORMS.values() if device in form.devices]
        shapes = [WindowShape(window, *sizes, form, tiles=tiles) for form in forms]
        cuda = device == "cuda"
        lines = [LineMemory.of(shape, on_device=cuda, searches=searches) for shape in shapes]
        return min(line.beside_tokens if where else line.all for line in lines)

    free, where = free_memory(bundle.session.arrays)
    device = "cpu" if bundle.session.arrays is np else "cuda"
    if where and needed_on(device, frames) > free and not bundle.session.named:
        device, free, where = "cpu", available_memory(), ""  # where the window then is

    def needed(window: int) -> int:
        return needed_on(device, window)

    if needed(frames) <= free:
        return needed(frames)
    low, high = 2, frames  # the largest that fits lies between
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if needed(middle) <= 0.8 * free else (low, middle)
    what = f'a window of {frames} frames{_in_tiles(count)} with "{bundle.name}"'
    told = no_room(what, needed(frames), free, where=where)
    advice = f"use --window {low} or a smaller number"
    if needed(2) > free:
        fused = "" if isinstance(of, str) else "--degrees fused or "
        advice = f"no window fits, {fused}a smaller model takes less"
    raise MemoryLimitError(f"{told}: {advice}")
