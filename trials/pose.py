"""Pose: how exactly a taught part is found, and what is told of pictures that do not show it.

A part is taught from one picture of each line, as the guide rail leaves it. Then parts are shifted
and turned under a lamp that stands still. The truth is the simulator's. Errors are those between
the taught picture and the frame: of the part's middle, in pixels of a picture of 480, and of its
turn. Other frames show the empty belt, another product, half a part, or two parts that the
picture's border cuts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from trials.resumed import Rows
from zeroline.edge_app.sim.line import EMPTY, SimFrame, SimulatedLine
from zeroline.edge_app.sim.settings import settings_from
from zeroline.runtime.frames import Frame
from zeroline.runtime.framing.pose import FoundPose, TaughtPart
from zeroline.runtime.framing.pose.rigid import after, between, inverse, moved, turn_of

SEEDS = tuple(range(1000, 1005))
PRODUCTS = ("parts", "ring", "connector")
METHODS = ("pattern", "outline")
#: Largest shift, as a share of the picture's side, and largest turn in degrees.
PLACES = ((0.02, 3), (0.05, 15), (0.05, 180), (0.12, 0))
#: Frames of each row and seed, and frames of each thing to be told.
FRAMES, TOLD = 80, 40
#: Further off than this, a pose is the wrong way up, or not that of the part.
WRONG_DEGREES, WRONG_PIXELS = 5, 10
SIDE = 480
#: Defects, so that the search sees bad parts too.
DAMAGED = {"defects": 0.25, "kinds": "scratch,dent,stain,crack", "defect_area": 0.003}


def line(product: str, seed: int, **settings: Any) -> SimulatedLine:
    """Return a line of a product."""
    values = {"seed": seed, "strength": 0.6, "size": SIDE, **DAMAGED, **settings}
    query = "&".join(f"{name}={value}" for name, value in values.items())
    return SimulatedLine(settings_from(f"sim://{product}?{query}"))


def taught_from(product: str, seed: int) -> tuple[TaughtPart, SimFrame]:
    """Teach a good part as the guide rail leaves it."""
    frame = line(product, seed, defects=0).part(0)
    return TaughtPart.of(frame.image), frame


def errors(taught: TaughtPart, first: SimFrame, found: FoundPose, frame: SimFrame) -> list[float]:
    """Return the error of the part's middle in pixels, and of its turn in degrees."""
    seen = after(found.matrix, inverse(taught.upright))
    true = after(frame.to_picture, inverse(first.to_picture))
    middle = moved(np.full((1, 2), (SIDE - 1) / 2), first.to_picture)
    shift = np.hypot(*(moved(middle, seen) - moved(middle, true))[0])
    return [float(shift), between(turn_of(seen), turn_of(true))]


def found_poses(product: str, seed: int, place: float, turn: float) -> dict[str, Any]:
    """Return the errors and problems of a line's frames, by method."""
    taught, first = taught_from(product, seed)
    poses: dict[str, list[Any]] = {method: [] for method in METHODS}
    for frame in islice(line(product, seed, place=place, turn=turn, parts=FRAMES + 1), 1, None):
        for method in METHODS:
            found = taught.find(frame.image, by=method)
            poses[method].append(
                [*errors(taught, first, found, frame), found.quality, found.in_view,
                 found.margin, frame.in_view, found.problem]
            )  # fmt: skip
    return poses


def cut(frame: Frame) -> Frame:
    """Show the end of a part and the beginning of the next."""
    return np.roll(frame, SIDE // 2, axis=1)


def others(product: str, seed: int) -> Iterator[tuple[str, Iterable[Frame]]]:
    """Yield what is in view instead of the whole part, each with its frames."""
    belt = (f.image for f in line(product, seed, empty=0.5) if f.kind == EMPTY)
    yield "empty belt", islice(belt, TOLD)
    for other in PRODUCTS:
        if other != product:
            frames = line(other, seed, place=0.05, turn=180, parts=TOLD)
            yield f"product {other}", (frame.image for frame in frames)
    far = line(product, seed, place=0.5, turn=180)
    yield "half a part", islice((f.image for f in far if 0.35 < f.in_view < 0.65), TOLD)
    near = line(product, seed, place=0.05, turn=180, parts=TOLD)
    yield "two cut parts", (cut(frame.image) for frame in near)


def problems(product: str, seed: int) -> dict[str, Any]:
    """Return what was told of each thing in view, by method."""
    taught, _ = taught_from(product, seed)
    told: dict[str, Any] = {}
    for thing, frames in others(product, seed):
        for frame in frames:
            for method in METHODS:
                pose = taught.find(frame, by=method)
                row = [pose.problem, pose.quality, pose.in_view]
                told.setdefault(method, {}).setdefault(thing, []).append(row)
    return told


def run(report: Callable[[str], None], *, seeds: Iterable[int] = SEEDS, rows: Rows) -> None:
    """Report errors of poses, and what is told; see `false_alarms.run`."""
    seeds = list(seeds)
    report(
        "| product | method | place, turn | frames | px p50 | p99 | ° p50 | p99 | wrong | refused |"
    )
    report("|---|---|---|---|---|---|---|---|---|---|")
    for product in PRODUCTS:
        for place, turn in PLACES:
            found = [
                rows.once(
                    {"seed": seed, "of": [product, place, turn]},
                    partial(found_poses, product, seed, place, turn),
                )
                for seed in seeds
            ]
            for method in METHODS:
                poses = [pose for row in found for pose in row[method]]
                report(f"| {product} | {method} | {place:g}, {turn}° | {_summary(poses)} |")
    report("| product | method | in view | frames | told | largest quality of the others |")
    report("|---|---|---|---|---|---|")
    for product in PRODUCTS:
        told = [
            rows.once({"seed": seed, "of": [product]}, partial(problems, product, seed))
            for seed in seeds
        ]
        for method in METHODS:
            for thing in told[0][method]:
                poses = [pose for row in told for pose in row[method][thing]]
                missed = [quality for problem, quality, _ in poses if problem is None]
                counts = f"{len(poses)} | {len(poses) - len(missed)} | {max(missed, default=0):.2f}"
                report(f"| {product} | {method} | {thing} | {counts} |")


def _summary(poses: list[Any]) -> str:
    """Return frames, errors, poses that are wrong, and whole parts that were refused."""
    off = np.array([pose[:2] for pose in poses])
    wrong = (off[:, 0] > WRONG_PIXELS) | (off[:, 1] > WRONG_DEGREES)
    refused = [pose[6] is not None for pose in poses if pose[5] >= 0.9]
    (shift, turn), (far, most) = np.percentile(off[~wrong], (50, 99), axis=0)
    right = f"{shift:.2f} | {far:.2f} | {turn:.3f} | {most:.3f}"
    return f"{len(poses)} | {right} | {wrong.sum()} | {sum(refused)}"
