"""Recurring defects: MuSc, the interval .3 to .5, CoDeGraph and the oracle, on sets made here.

    python benchmarks/recurring.py [--model tiny] [--tiles FOLDER] [--quick]

Simulated sets: one defect drawn on some parts, each a little deeper or fainter and in its own pose,
and other defects on 6 % of the parts. With `--tiles`, a folder in the layout of MVTec AD: good
images (also mirrored, where more are needed) into which the defect of one bad image is blended,
moved and turned a little. The oracle ignores the true defect patches, widened by two.
Degrees 1, 3, 5; the image score is the maximum of the map before RsCIN.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from zeroline.edge_app.batch.metrics import ranking_metrics
from zeroline.edge_app.sim import camera
from zeroline.edge_app.sim.defects import damage
from zeroline.edge_app.sim.parts.plate import PLATE
from zeroline.runtime import load_bundle
from zeroline.runtime.batch import embed_images, score_tokens
from zeroline.runtime.stages.maps import anomaly_map

OTHERS = ("scratch", "dent", "stain", "crack")


@dataclass
class Case:
    """A set: its name, and how it is made."""

    name: str
    images: int = 120
    share: float = 0.2
    kinds: tuple[str, ...] = ("scratch",)
    strength: float = 0.3
    others: float = 0.06
    lot: float = 0.0
    tiles: bool = False


@dataclass
class MadeSet:
    """Images and the truth about them."""

    frames: list[Any] = field(default_factory=list)
    masks: list[Any] = field(default_factory=list)
    recurring: list[bool] = field(default_factory=list)


def simulated(case: Case, seed: int) -> MadeSet:
    """Make a set of the simulated line."""
    rng = np.random.default_rng((seed, 9))
    fates = _fates(case, rng)
    made = MadeSet()
    for number, fate in enumerate(fates):
        own = np.random.default_rng((seed, 5, number))
        lot = bool(own.random() < case.lot)
        surface = PLATE.make(480, own, variation=1.0, second_lot=lot)
        pose = camera.Pose.drawn(own, size=480, variation=1.0)
        ground = camera.belt((480, 480), own, variation=1.0)
        mask = np.zeros((480, 480), bool)
        if fate is not None:
            again = fate < len(case.kinds)
            kind = case.kinds[fate] if again else OTHERS[int(rng.integers(len(OTHERS)))]
            drawn = np.random.default_rng((seed, 77 + fate) if again else (seed, 200 + number))
            strength = case.strength * rng.uniform(0.85, 1.15) if again else 1.0
            footprint = damage(PLATE, surface, kind, drawn, largest=0.01, strength=strength)
            seen = camera.placed(footprint, pose, (480, 480))
            mask = seen > min(0.2, 0.5 * float(seen.max()))
        light = camera.Light.at(number, seed=seed, variation=1.0)
        scene = camera.lit(surface, pose, ground, light)
        sensor = np.random.default_rng((seed, 4, number))
        made.frames.append(camera.exposed(scene, sensor, variation=1.0))
        made.masks.append(mask)
        made.recurring.append(fate is not None and fate < len(case.kinds))
    return made


def photographed(case: Case, seed: int, folder: Path) -> MadeSet:
    """Blend the defect of one photograph into good ones."""
    rng = np.random.default_rng((seed, 8))
    good = sorted((folder / "test" / "good").glob("*.png"))
    donors = [_donor(folder, kind, rng) for kind in case.kinds]
    bad = [path for path in sorted((folder / "test").glob("*/*.png")) if path.parent.name != "good"]
    fates = _fates(case, rng)
    order = rng.permutation(len(good))
    made = MadeSet()
    for number, fate in enumerate(fates):
        if fate is not None and fate >= len(case.kinds):
            path = bad[int(rng.integers(len(bad)))]
            frame, mask = cv2.imread(str(path)), _mask_of(folder, path)
        else:
            frame = cv2.imread(str(good[order[number % len(good)]]))
            turn = number // len(good)  # mirrored, where there are not enough
            frame = np.ascontiguousarray(frame[:: -1 if turn & 1 else 1, :: -1 if turn & 2 else 1])
            mask = np.zeros(frame.shape[:2], bool)
            if fate is not None:
                frame, mask = _blended(frame, *donors[fate], rng, case.strength)
        made.frames.append(frame)
        made.masks.append(mask)
        made.recurring.append(fate is not None and fate < len(case.kinds))
    return made


def _fates(case: Case, rng: np.random.Generator) -> list[int | None]:
    """Return for each image which recurring defect it has, one more for another, or None."""
    order = rng.permutation(case.images)
    marked, others = round(case.images * case.share), round(case.images * case.others)
    fates: list[int | None] = [None] * case.images
    for place, image in enumerate(order[: marked + others].tolist()):
        fates[image] = place % len(case.kinds) if place < marked else len(case.kinds)
    return fates


def _mask_of(folder: Path, path: Path) -> Any:
    name = folder / "ground_truth" / path.parent.name / f"{path.stem}_mask.png"
    if not name.exists():
        name = name.with_name(f"{path.stem}.png")
    return cv2.imread(str(name), cv2.IMREAD_GRAYSCALE) > 127


def _donor(folder: Path, kind: str, rng: np.random.Generator) -> tuple[Any, Any]:
    """Return what a defect changes in its photograph, and its mask."""
    paths = sorted((folder / "test" / kind).glob("*.png"))
    path = paths[int(rng.integers(len(paths)))]
    frame, mask = cv2.imread(str(path)), _mask_of(folder, path)
    wide = cv2.dilate(mask.astype(np.uint8), np.ones((9, 9)))
    healed = cv2.inpaint(frame, wide, 7, cv2.INPAINT_TELEA)
    return frame.astype(np.float32) - healed, mask


def _blended(
    frame: Any, change: Any, mask: Any, rng: np.random.Generator, strength: float
) -> tuple[Any, Any]:
    """Add a defect, moved by up to 6 pixels and turned by up to 5 degrees."""
    size = frame.shape[1], frame.shape[0]
    move = cv2.getRotationMatrix2D((size[0] / 2, size[1] / 2), rng.uniform(-5, 5), 1.0)
    move[:, 2] += rng.uniform(-6, 6, 2)
    change = cv2.warpAffine(cv2.resize(change, size), move, size)
    moved = cv2.warpAffine(cv2.resize(mask.astype(np.float32), size), move, size)
    soft = cv2.GaussianBlur(cv2.dilate(moved, np.ones((7, 7))), (0, 0), 3)[:, :, None]
    scale = strength * rng.uniform(0.85, 1.15)
    return (frame + scale * soft * change).clip(0, 255).astype(np.uint8), moved > 0.5


def figures(made: MadeSet, bundle: Any) -> dict[str, Any]:
    """Score a set in four ways; image AUROC and pixel AP of each."""
    tokens = embed_images(made.frames, bundle)
    size = bundle.size
    masks = np.stack(
        [
            cv2.resize(m.astype(np.uint8), (size, size), interpolation=cv2.INTER_NEAREST) > 0
            for m in made.masks
        ]
    )
    labels = masks.any(axis=(1, 2))
    side = round(bundle.patches**0.5)
    small = [cv2.resize(m.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA) > 0.02
             for m in masks]  # fmt: skip
    widened = np.stack([cv2.dilate(m.astype(np.uint8), np.ones((5, 5))).ravel() > 0 for m in small])
    truth = widened & np.array(made.recurring)[:, None]
    common = {"size": size, "degrees": (1, 3, 5), "rscin": (), "matching": "fast"}
    ways = {
        "MuSc": {},
        ".3-.5": {"interval": (0.3, 0.5)},
        "CoDeGraph": {"codegraph": True},
        "oracle": {"ignore": truth},
    }
    found: dict[str, Any] = {}
    for name, options in ways.items():
        result = score_tokens(tokens, **common, **options)  # type: ignore[arg-type]
        auroc = ap = float("nan")
        if labels.any():
            auroc = ranking_metrics(labels, result.raw_scores).auroc
            maps = anomaly_map(result.patch_scores, size=size)
            ap = ranking_metrics(masks.ravel(), maps.ravel()).ap
        found[name] = auroc, ap
        if name == "CoDeGraph":
            found["communities"] = [
                (len(c.members), float(np.mean(np.array(made.recurring)[c.members])))
                for c in result.communities
            ]
    return found


def cases(tiles: bool, quick: bool) -> Iterator[Case]:
    """Yield the sets."""
    for kind in ("scratch",) if quick else ("scratch", "stain"):
        for share in (0.05, 0.1, 0.2, 0.3, 0.4):
            yield Case(f"{kind} {share:.0%}", share=share, kinds=(kind,))
    yield Case("scratch 20%, faint", strength=0.18)
    yield Case("scratch and stain 15% each", share=0.3, kinds=("scratch", "stain"))
    for images in (30, 60, 250):
        yield Case(f"scratch 25%, N {images}", images=images, share=0.25)
    yield Case("good parts only", share=0.0, others=0.0)
    yield Case("different defects only", share=0.0, others=0.1)
    yield Case("two lots, 70/30", share=0.0, lot=0.3)
    if tiles:
        for kind in ("fray", "break", "blowhole", "crack"):
            yield Case(f"tiles, {kind} 20%", kinds=(kind,), strength=1.0, tiles=True)
        for share in (0.05, 0.1, 0.3, 0.4):
            yield Case(f"tiles, break {share:.0%}", share=share, kinds=("break",), strength=1.0,
                       tiles=True)  # fmt: skip
        yield Case("tiles, break 20%, faint", kinds=("break",), strength=0.5, tiles=True)
        yield Case("tiles, fray and break 15% each", share=0.3, kinds=("fray", "break"),
                   strength=1.0, tiles=True)  # fmt: skip
        for images in (30, 60, 250):
            yield Case(f"tiles, break 25%, N {images}", images=images, share=0.25,
                       kinds=("break",), strength=1.0, tiles=True)  # fmt: skip


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--tiles", type=Path, help="photographs to blend defects into")
    parser.add_argument("--only-tiles", action="store_true")
    parser.add_argument("--quick", action="store_true", help="fewer sets")
    given = parser.parse_args()
    ways = ("MuSc", ".3-.5", "CoDeGraph", "oracle")
    print("| set | " + " | ".join(ways) + " | communities (size, true share) |")
    with load_bundle(given.model, threads=1) as bundle:
        for seed, case in enumerate(cases(given.tiles is not None, given.quick)):
            if given.only_tiles and not case.tiles:
                continue
            made = (
                photographed(case, seed, given.tiles) if case.tiles else simulated(case, seed + 500)
            )
            found = figures(made, bundle)
            cells = [f"{found[way][0]:.3f} / {found[way][1]:.2f}" for way in ways]
            groups = ", ".join(f"{size} ({share:.2f})" for size, share in found["communities"])
            print(f"| {case.name} | " + " | ".join(cells) + f" | {groups or 'none'} |", flush=True)


if __name__ == "__main__":
    main()
