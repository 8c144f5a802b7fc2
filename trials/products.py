"""Another product, or none, before the camera: what is told of it, and of the right product.

A line begins with a reference set of tiles and sees plates, or the other way round, or an empty
belt between plates. And two long shifts with drifting light, two lots of metal and large defects:
no part of the right product may be taken for another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from trials.poison import SEEDS, built
from trials.resumed import Rows
from trials.shared import shared_folder
from zeroline.edge_app.images import read_image
from zeroline.edge_app.sim.line import EMPTY, SimFrame, SimulatedLine
from zeroline.edge_app.sim.settings import LineSettings
from zeroline.runtime import Reason, RollingInspector, Tokens, Verdict, load_bundle
from zeroline.runtime.frames import Frame
from zeroline.runtime.stages.degrees import FUSED
from zeroline.runtime.tokens import joined

#: Frames of a reference set, and frames of another product after it, for each seed.
SET, OTHERS = 64, 20
#: Parts of a shift: the light drifts through its whole range, more than twice.
SHIFT = 1500
#: A shift: the largest defects, and metal of two lots.
HARD = {"defects": 0.1, "defect_area": 0.02, "second_lot": 0.2}


def photographs() -> list[Path]:
    """Return the photographs of good tiles, which are not part of the repository."""
    return sorted((shared_folder() / "data/tiles/test/good").glob("*.*"))


def embedded(bundle: Any, frames: Iterable[Frame]) -> list[Tokens]:
    """Return the tokens of frames, one by one."""
    return [bundle.embed(bundle.prepare(frame)[None]) for frame in frames]


def called_other(
    bundle: Any, known: Sequence[Tokens], streams: Mapping[str, Sequence[Tokens]], folder: Path
) -> dict[str, list[bool]]:
    """Tell which frames are called another product by a line that begins with a set.

    The right product comes last: it alone enters the window.
    """
    path = folder / "set.npz"
    built(bundle, joined(known), path, degrees=FUSED)
    with RollingInspector(bundle, degrees=FUSED, rscin=()) as line:
        line.load_reference(path)
        return {
            name: [line.push_tokens(t).reason is Reason.OTHER_PRODUCT for t in stream]
            for name, stream in streams.items()
        }


def parts(seed: int, count: int, **settings: Any) -> Iterator[SimFrame]:
    """Return the first frames of a line."""
    line = SimulatedLine(LineSettings(seed=seed, **{"defects": 0.0, **settings}))
    return islice(line, count)


def another_product(bundle: Any, seed: int, folder: Path) -> dict[str, list[bool]]:
    """Return what is called another product, for each change of it."""
    plates = embedded(bundle, (frame.image for frame in parts(seed, SET + OTHERS)))
    belt = [f.image for f in parts(seed + 1, 4 * OTHERS, empty=0.5) if f.kind == EMPTY][:OTHERS]
    known, right = plates[:SET], plates[SET:]
    streams = {"empty belt on plates": embedded(bundle, belt)}
    files, seen = photographs(), dict[str, list[bool]]()
    if files:
        order = np.random.default_rng(seed).permutation(len(files))
        tiles = embedded(bundle, (read_image(files[n]) for n in order[: SET + OTHERS]))
        streams["tiles on plates"] = tiles[SET:]
        on_tiles = {"plates on tiles": right, "tiles on tiles": tiles[SET:]}
        seen |= called_other(bundle, tiles[:SET], on_tiles, folder)
    return seen | called_other(bundle, known, streams | {"plates on plates": right}, folder)


def shift(bundle: Any, seed: int, count: int) -> tuple[int, int, int]:
    """Return parts called another product, defective parts, and how many of these are not OK."""
    others = defective = found = 0
    with RollingInspector(bundle, degrees=FUSED, rscin=()) as line:
        for frame in parts(seed, count, **HARD):
            inspection = line.push(frame.image)
            others += inspection.reason is Reason.OTHER_PRODUCT
            defective += frame.defective
            found += frame.defective and inspection.verdict is not Verdict.OK
    return others, defective, found


def run(report: Callable[[str], None], *, seeds: Iterable[int] = SEEDS, rows: Rows) -> None:
    """Report frames called another product; see `false_alarms.run`."""
    seeds, together = list(seeds), dict[str, list[bool]]()
    with load_bundle("tiny", threads=1) as bundle, TemporaryDirectory() as folder:
        for seed in seeds:
            key = {"seed": seed, "of": "changes"}
            row = rows.once(key, partial(_changes, bundle, seed, Path(folder)))
            for change, seen in row["seen"].items():
                together.setdefault(change, []).extend(seen)
        report("| the line sees | frames | called another product |")
        report("|---|---|---|")
        for change, seen in together.items():
            report(f"| {change} | {len(seen)} | {sum(seen)} |")
        for seed in seeds[:2]:
            key = {"seed": seed, "of": "shift"}
            row = rows.once(key, partial(_shift, bundle, seed))
            others, defective, found = row["counts"]
            report(f"| shift of line {seed} | {SHIFT} | {others} |")
            report(f"| of these defective: {defective}, not OK: {found} | | |")


def _changes(bundle: Any, seed: int, folder: Path) -> dict[str, Any]:
    return {"seen": another_product(bundle, seed, folder)}


def _shift(bundle: Any, seed: int) -> dict[str, Any]:
    return {"counts": shift(bundle, seed, SHIFT)}
