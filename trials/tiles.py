"""Small defects in large pictures: what tiles bring, and what they cost.

Simulated plates of 1440 pixels with small, faint defects, looked at whole and in tiles. Image AUROC
is of the raw scores, as `zeroline score` gives them: degrees of the bundle for one tile, fused for
more. The costs are those of a frame on one thread, in seconds of its processor, and of the memory
that NumPy takes, beside what was told before.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from trials.framed import FramedSet, auroc, frames_of, good_picture
from trials.resumed import Rows
from zeroline.runtime import Bundle, RollingInspector, Tokens, load_bundle, score_tokens
from zeroline.runtime.batch import scoring_memory
from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.grid import Grid
from zeroline.runtime.network.model import probe_images
from zeroline.runtime.tokens import joined

SEEDS = (1000, 1001, 1002, 1003, 1004)
SIZE, PARTS, DEFECTS = 1440, 80, 0.25
KINDS = "scratch,dent,stain,crack"
#: Largest defect, as a share of the part's area, and its strength.
HARD = ((0.0006, 0.35), (0.0008, 0.5))
TILES = ((1, 1), (2, 2), (3, 3), (4, 4))
#: How pictures are looked at: tiles, and how the part is found.
WAYS = (*((tiles, "off") for tiles in TILES), ((4, 4), "pattern"))
#: Frames of a window, and of a set whose memory is measured.
WINDOW, SET = 64, 32


def measured(
    bundle: Bundle, *, seed: int, area: float, strength: float, tiles: list[int], align: str
) -> dict[str, Any]:
    """Return the image AUROC of a line in some tiles, and good and bad pictures without a part."""
    address = f"sim://parts?seed={seed}&size={SIZE}"
    looks = f"defects={DEFECTS}&kinds={KINDS}&defect_area={area}&strength={strength}"
    taught = None if align == "off" else good_picture(address, number=PARTS)
    rows, columns = tiles
    framing = Framing(size=(SIZE, SIZE), align=align, taught=taught, tiles=(rows, columns))
    framed = FramedSet(bundle, framing, frames_of(f"{address}&{looks}", parts=PARTS))
    found = {"auroc": framed.scored()}
    if align != "off" and framed.in_one_pose:
        found["less the level"] = framed.less_the_level(found["auroc"])
    ranked = {name: round(auroc(framed.bad, framed.scores(s)), 4) for name, s in found.items()}
    refused = [framed.refused.count(True), framed.refused.count(False)]
    return {**ranked, "refused": refused, "defective": int(framed.bad.sum())}


def drawn_tokens(bundle: Bundle, tiles: tuple[int, int], seed: int) -> Tokens:
    """Return random tokens of a frame: what they hold makes no difference to the cost."""
    rng = np.random.default_rng(seed)
    patches = Grid(round(bundle.patches**0.5), tiles).patches
    layers = tuple(rng.standard_normal((1, patches, c), np.float32) for c in bundle.channels)
    row = np.ones((1, bundle.manifest.outputs.class_token.channels), np.float32)
    return Tokens(layers, row / np.linalg.norm(row), tiles)


def seconds_of(work: Callable[[], Any], *, times: int) -> float:
    """Return the least processor time of several runs."""
    laps = []
    for _ in range(times):
        began = time.process_time()
        work()
        laps.append(time.process_time() - began)
    return min(laps)


def cost(bundle: Bundle, tiles: tuple[int, int]) -> dict[str, Any]:
    """Return seconds of a frame, and MiB of a window and of a set: told, and taken."""
    count = tiles[0] * tiles[1]
    images = probe_images(bundle.size, batch=count)
    network = seconds_of(lambda: bundle.embed(images), times=4)
    frames = [drawn_tokens(bundle, tiles, seed) for seed in range(WINDOW + 8)]
    options: dict[str, Any] = {"degrees": "fused", "rscin": (), "threads": 1, "matching": "exact"}
    framing = Framing(size=(SIZE, SIZE), tiles=tiles)
    with RollingInspector(bundle, window=4, min_window=2, framing=framing, **options) as line:
        line.push_tokens(frames[0])  # compiled, and imported
    tracemalloc.start()
    with RollingInspector(
        bundle, window=WINDOW, framing=framing, codegraph=False, **options
    ) as line:
        pushed = []
        for frame in frames:
            kept = Tokens(
                tuple(layer.copy() for layer in frame.layers), frame.class_tokens, frame.tiles
            )
            began = time.process_time()
            line.push_tokens(kept)
            pushed.append(time.process_time() - began)
        taken = tracemalloc.get_traced_memory()[0]
        told = line.shape.memory + line.memory.tokens
    tracemalloc.stop()
    of_set = joined(frames[:SET])
    score_tokens(of_set.select(slice(0, 13)), size=bundle.size, degrees="fused", threads=1)
    tracemalloc.start()
    score_tokens(of_set, size=bundle.size, degrees="fused", rscin=(), threads=1, codegraph=True)
    peak = tracemalloc.get_traced_memory()[1] + sum(layer.nbytes for layer in of_set.layers)
    tracemalloc.stop()
    sizes: dict[str, Any] = {
        "patches": bundle.patches,
        "channels": bundle.channels,
        "class_channels": bundle.manifest.outputs.class_token.channels,
    }
    set_told = scoring_memory(SET, codegraph=True, tiles=count, **sizes)
    mib = 2**20
    return {
        "network_s": round(network, 4),
        "match_s": round(float(np.median(pushed[-8:])), 4),
        "window_told": round(told / mib, 1),
        "window_taken": round(taken / mib, 1),
        "set_told": round(set_told / mib, 1),
        "set_taken": round(peak / mib, 1),
    }


def run(report: Callable[[str], None], *, seeds: Sequence[int], rows: Rows) -> None:
    """Measure, and report tables."""
    with load_bundle("tiny", device="cpu", threads=1) as bundle:
        costs = {
            tiles: rows.once(
                {"measured": "cost", "tiles": list(tiles)}, lambda t=tiles: cost(bundle, t)
            )
            for tiles in TILES
        }
        report("tiles  network s  match s  window told, taken MiB  set told, taken MiB")
        for tiles, row in costs.items():
            report(
                f"{tiles[0]}×{tiles[1]}    {row['network_s']:8.3f} {row['match_s']:8.3f}  "
                f"{row['window_told']:10.1f} {row['window_taken']:10.1f}   "
                f"{row['set_told']:10.1f} {row['set_taken']:10.1f}"
            )
        for area, strength in HARD:
            report(f"image AUROC, --defect-area {area} --strength {strength}")
            for tiles, align in WAYS:
                found = []
                for seed in seeds:
                    key: dict[str, Any] = {"seed": seed, "area": area, "strength": strength,
                                           "tiles": list(tiles), "align": align}  # fmt: skip
                    found.append(rows.once(key, lambda k=key: measured(bundle, **k)))
                report(f"  {tiles[0]}×{tiles[1]}, pose {align}: {told(found)}")


def told(rows: Sequence[dict[str, Any]]) -> str:
    """Return mean, least and each seed's figure in words, and the pictures without a part."""
    texts = []
    for name in ("auroc", "less the level"):
        values = [row[name] for row in rows if name in row]
        if values:
            each = " ".join(f"{value:.3f}" for value in values)
            texts.append(f"{name} mean {np.mean(values):.3f}, least {min(values):.3f} ({each})")
    good, bad = np.sum([row["refused"] for row in rows], axis=0)
    return f"{'; '.join(texts)}; refused {good} good, {bad} bad"
