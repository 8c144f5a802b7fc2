"""What tiles cost, told before the start: memory, and the time for a frame.

The time is measured: the network once on all tiles of a frame, and the match of a tile with a few
frames. The rest is a product: frames, tiles, layers and degrees.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from zeroline.runtime.arrays import to_host
from zeroline.runtime.framing.framer import Framer
from zeroline.runtime.matching.forms import match_seconds, pick_form
from zeroline.runtime.network.model import Bundle, probe_images
from zeroline.runtime.stages.degrees import Degrees, match_count
from zeroline.runtime.workers import thread_count


@dataclass(frozen=True)
class TileCost:
    """What a frame in tiles costs.

    Attributes
    ----------
    tiles : (int, int)
        Rows and columns.
    seen : int
        Tiles in which a patch counts.
    size : (float, float)
        Width and height of a tile, in pixels of the picture.
    enlarged : bool
        Whether tiles have fewer pixels than the network's input.
    network, match : float
        Seconds for a frame.
    frames : int
        With which it is compared.
    """

    tiles: tuple[int, int]
    seen: int
    size: tuple[float, float]
    enlarged: bool
    network: float
    match: float
    frames: int

    def lines(self, memory: int) -> list[str]:
        """Return it in words, for people; `memory` in bytes."""
        rows, columns = self.tiles
        width, height = self.size
        unseen = rows * columns - self.seen
        told = [
            f"{rows}×{columns} tiles of {width:.0f}×{height:.0f} pixels"
            + (f", {unseen} of them without a patch that counts" if unseen else "")
            + f": {memory / 2**20:.0f} MiB, about {self.network + self.match:.2g} s for a frame "
            f"(measured: network {self.network:.2g} s, match with {self.frames} frames "
            f"{self.match:.2g} s)"
        ]
        if self.enlarged:
            told.append(
                "note: tiles have fewer pixels than the network's input, so that they are enlarged:"
                " fewer tiles show as much"
            )
        return told


def tile_cost(
    bundle: Bundle,
    framer: Framer,
    *,
    frames: int,
    degrees: Degrees,
    matching: str,
    threads: int | None,
    one_way: bool,
    search: bool = False,
) -> TileCost:
    """Measure what a frame costs, in a second or so.

    Parameters
    ----------
    bundle : Bundle
    framer : Framer
        Of the framing, which has tiles.
    frames : int
        Of the set, or of the window.
    degrees : sequence of odd int, or "fused"
    matching : {"exact", "fast"}
    threads : int or None
    one_way : bool
        True for a line, where a frame is matched with the whole window, and the network runs on
        one thread. In a set each pair is matched once, and all threads run networks.
    search : bool
        Whether a set is searched for recurring defects: with fused degrees a match more.
    """
    counts = [part.stop - part.start for part in framer.grid.parts(framer.roi)]
    most = max(counts)
    xp = bundle.session.arrays
    form = pick_form(matching, patches=most, channels=bundle.channels, xp=xp)
    one = match_seconds(form.name, most, bundle.channels, xp)
    share = sum((count / most) ** 2 for count in counts)
    workers = thread_count(threads) if xp is np else 1
    images = probe_images(bundle.size, batch=len(framer.seen))
    to_host(bundle.embed(images).class_tokens)  # the first run prepares much
    began = time.perf_counter()
    to_host(bundle.embed(images).class_tokens)  # waits for the device
    network = time.perf_counter() - began
    others = frames if one_way else frames / 2
    matches = match_count(degrees) + (search and isinstance(degrees, str))
    return TileCost(
        framer.framing.tiles,
        len(framer.seen),
        framer.tile_size,
        framer.is_enlarged,
        network if one_way else network / workers,
        one * share * matches * others / workers,
        frames,
    )
