"""What each constant of the search for recurring defects is worth: the search without it.

    python benchmarks/search_constants.py --tiles FOLDER... --cache FOLDER [--only NAME...]

`FOLDER...`: tiles, and sets in its layout whose images in test/recurring share a defect. Sets are
made once, as in `recurring.py`, and their tables of distances are kept in the cache. Then each
constant is changed in turn (`VARIANTS`), and all sets are searched again.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from recurring import Case, MadeSet, _mask_of, cases, photographed, simulated

from zeroline.runtime import load_bundle
from zeroline.runtime.batch import embed_images
from zeroline.runtime.matching.distances import match_distances
from zeroline.runtime.recurring import constants, members, statistics
from zeroline.runtime.recurring.codegraph import codegraph
from zeroline.runtime.recurring.marking import marks_of_newcomer
from zeroline.runtime.recurring.scales import Scales, codegraph_at_both_scales
from zeroline.runtime.stages.degrees import aggregated

DEGREES = (1, 3, 5)
# the package offers its function under the same name
codegraph_module = importlib.import_module("zeroline.runtime.recurring.codegraph")
ALL = float("inf")
#: Values of each constant: the search without it, or as near to that as can be, then others.
VARIANTS: dict[str, tuple[Any, ...]] = {
    "NEAREST": (0.0, 0.1),
    "OWN_GAP": (0.0, 0.5),
    "HEIGHT": (0.25, 0.75),
    "FALSE_ALARM_RATE": (0.5,),
    "LOCAL": (ALL,),
    "NG_RATE": (0.5, 0.01),
    "OF_UNUSUAL": (0.0,),
    "COMPACT": (0.0, ALL),
    "COMPACT_LEAST": (0.0,),
    "OVER_CHANCE_COMPACT": (1.0, 3.0),
    "OVER_CHANCE": (1.0, 2.0),
    "ONE_PLACE": (0.0,),
    "ANYWHERE": (1.0, 3.0),
    "ANYWHERE_LEAST": (0,),
    "BESIDE": (0, 2),
    "AT_BORDER": (ALL,),
    "ELSEWHERE": (ALL,),
    "LEAST_CARRIERS": (3,),
    "LEAST_SHARE": (0.0, 0.1),
    "OVERLAP": (1.0,),
    "STANDS_OUT": (0.0, 6.0),
    "NEWCOMER": (0.0, 0.25),
    "NEWCOMER_NEAREST": (0.0, 0.02),
    "LEAST_IMAGES": (0,),
    "PERCENTILES": ((50,), (25, 50, 75)),
    "TRIALS": (1,),
    "LEAST": (2,),
    "LARGEST_SHARE": (1.0, 0.5),
    "ROUNDS": ((0.4,), (0.05,)),
    "FAR_MEMBER": (0.5,),
    "VOTE_INTERVAL": ((0.0, 0.3),),
    "MEDIAN": (0.25, 0.75),
    "EMPHASIS": (0, 3),
    "RELEVANT": (0.5, 1.0),
    "MEASURED": (400, 8),
    "REACH": (0.3, 0.7),
    "KEPT": (0.001, 0.004),
    "AVERAGED": (0.15, 0.5),
}
#: Those that newcomers are recognised by as well.
OF_NEWCOMERS = (
    "LARGEST_SHARE",
    "PERCENTILES",
    "NEAREST",
    "AVERAGED",
    "RELEVANT",
    "OWN_GAP",
    "STANDS_OUT",
    "NEWCOMER",
    "NEWCOMER_NEAREST",
)


@dataclass
class Tables:
    """A set as the search sees it, and the truth.

    Attributes
    ----------
    name : str
    finest, wide : array, shape (N, P, N), float32
        Distances of degree 1, and the mean over degrees.
    recurring : array, shape (N,), bool
        Images with a recurring defect.
    truth : array, shape (N, P), bool
        Patches of any defect, widened by two.
    """

    name: str
    finest: Any
    wide: Any
    recurring: Any
    truth: Any

    def part(self, chosen: Any, name: str) -> Tables:
        """Return some of the images as a set of their own."""
        finest, wide = (np.asarray(t)[chosen][:, :, chosen] for t in (self.finest, self.wide))
        return Tables(name, finest, wide, self.recurring[chosen], self.truth[chosen])


def made_sets(tiles: list[Path]) -> Iterator[tuple[str, Callable[[], MadeSet]]]:
    """Yield names of sets, and how each is made."""
    for seed, case in enumerate(cases(True, False)):
        if case.images > 120:
            continue
        if case.tiles:
            yield case.name, lambda case=case, seed=seed: photographed(case, seed, tiles[0])
        else:
            yield case.name, lambda case=case, seed=seed: simulated(case, seed + 500)
    plain = {"good": {}, "different": {"others": 0.1}, "two lots": {"lot": 0.3}}
    for seed in range(8):
        for place, (name, options) in enumerate(plain.items()):
            case = Case(f"{name}, seed {seed}", images=(120, 80, 60, 40)[(seed + place) % 4],
                        share=0.0, **({"others": 0.0} | options))  # fmt: skip
            yield case.name, lambda case=case, seed=seed: simulated(case, 900 + seed)
    for folder in tiles:
        yield folder.name, lambda folder=folder: read(folder)


def read(folder: Path) -> MadeSet:
    """Read a folder in the layout of MVTec AD."""
    images = MadeSet()
    for path in sorted((folder / "test").glob("*/*.png")):
        frame = cv2.imread(str(path))
        good = path.parent.name == "good"
        images.frames.append(frame)
        images.masks.append(np.zeros(frame.shape[:2], bool) if good else _mask_of(folder, path))
        images.recurring.append(path.parent.name == "recurring")
    return images


def make(cache: Path, tiles: list[Path]) -> None:
    """Make the sets that are not in the cache."""
    with load_bundle("tiny", threads=1) as bundle:
        side = round(bundle.patches**0.5)
        for name, images in made_sets(tiles):
            folder = cache / name
            if (folder / "truth.npz").exists():
                continue
            folder.mkdir(parents=True, exist_ok=True)
            drawn = images()
            truth = [cv2.resize(m.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
                     > 0.02 for m in drawn.masks]  # fmt: skip
            wide = [cv2.dilate(m.astype(np.uint8), np.ones((5, 5))).ravel() > 0 for m in truth]
            for table, array in zip(
                ("finest", "wide"), distances(drawn.frames, bundle), strict=True
            ):
                np.save(folder / f"{table}.npy", array)
            np.savez(
                folder / "truth.npz", recurring=np.array(drawn.recurring), truth=np.array(wide)
            )
            print("made", name, flush=True)


def distances(frames: list[Any], bundle: Any) -> tuple[Any, Any]:
    """Return the two tables that the search is given."""
    tokens = embed_images(frames, bundle)
    scales = Scales(DEGREES, layers=len(tokens.layers))
    for layer in tokens.layers:
        for place, features in enumerate(aggregated(layer, DEGREES, threads=1)):
            scales.add(match_distances(features, matching="fast", threads=1), place)
    return scales._finest_mean.taken(), scales._wide.taken()  # type: ignore[union-attr]


def all_sets(cache: Path, tiles: list[Path]) -> list[Tables]:
    """Return the sets of the cache, and draws from those without a recurring defect."""
    sets = []
    for name, _ in made_sets(tiles):
        truth = np.load(cache / name / "truth.npz")
        finest, wide = (np.load(cache / name / f"{table}.npy") for table in ("finest", "wide"))
        sets.append(Tables(name, finest, wide, truth["recurring"], truth["truth"]))
    draws = np.random.default_rng(0)
    for whole in [s for s in sets if not s.recurring.any()]:
        images = len(whole.recurring)
        sizes = [60] * 10 if whole.name == tiles[0].name else [40] * 2 if images >= 80 else []
        for number, size in enumerate([10, 24, *sizes]):
            chosen = np.sort(draws.permutation(images)[:size])
            sets.append(whole.part(chosen, f"{whole.name}, draw {number}"))
        if whole.name == tiles[0].name:
            good = np.flatnonzero(~whole.truth.any(axis=1))
            for number in range(10):
                chosen = np.sort(draws.permutation(good)[:60])
                sets.append(whole.part(chosen, f"{whole.name}, good {number}"))
    return sets


@dataclass
class Figures:
    """What a search of all sets brings.

    Attributes
    ----------
    right, wrong : int
        Images that are reported, with a recurring defect and without, over the sets that have one.
    communities : int
        Over the same sets.
    false : int
        Sets without a recurring defect in which something is reported.
    marks, marks_right : int
        Patches that are marked, and those of them that are a defect's.
    newcomers, strangers : int
        Images that are recognised without a search, with the defect and without.
    seconds : float
        Without the steps whose results are kept from an earlier variant.
    by_set : dict
        right and wrong of each set in which something is reported.
    """

    right: int = 0
    wrong: int = 0
    communities: int = 0
    false: int = 0
    marks: int = 0
    marks_right: int = 0
    newcomers: int = 0
    strangers: int = 0
    seconds: float = 0.0
    by_set: dict[str, tuple[int, int]] = field(default_factory=dict)

    def row(self) -> str:
        """Return the columns of a table."""
        return (f"{self.right} | {self.wrong} | {self.communities} | {self.false} | {self.marks} "
                f"({self.marks_right / max(self.marks, 1):.0%}) | {self.newcomers} | "
                f"{self.strangers} | {self.seconds:.0f}")  # fmt: skip


def searched(sets: list[Tables], newcomers: list[tuple[Tables, Any, Any]]) -> Figures:
    """Search all sets."""
    total, start = Figures(), time.perf_counter()
    for tables in sets:
        communities = codegraph_at_both_scales(tables.finest, tables.wide, blur=2).communities
        if not communities:
            continue
        images = np.unique(np.concatenate([c.members for c in communities]))
        right = int(tables.recurring[images].sum())
        total.by_set[tables.name] = right, len(images) - right
        if not tables.recurring.any():
            total.false += 1
            continue
        total.right += right
        total.wrong += len(images) - right
        total.communities += len(communities)
        for community in communities:
            total.marks += int(community.marks.sum())
            total.marks_right += int((community.marks & tables.truth[community.members]).sum())
    for tables, old, new in newcomers:
        recognised = newcomers_of(tables, old, new)
        total.newcomers += int(tables.recurring[recognised].sum())
        total.strangers += int((~tables.recurring[recognised]).sum())
    total.seconds = time.perf_counter() - start
    return total


def newcomers_of(tables: Tables, old: Any, new: Any) -> list[int]:
    """Return the new images that are recognised by what recurs in the old ones."""
    result = codegraph(tables.finest[old][:, :, old])
    recognised = set()
    for community in result.communities:
        for image in new.tolist():
            others = np.setdiff1d(np.arange(len(tables.recurring)), image)
            marks = marks_of_newcomer(
                tables.finest[image][:, others],
                np.flatnonzero(np.isin(others, old[community.members])),
                relevant=result.relevant,
                gap=community.evidence.gap,
            )
            if marks is not None:
                recognised.add(image)
    return sorted(recognised)


def remember() -> None:
    """Keep the results of the steps that take long, by their arguments and constants."""
    graph = ("KEPT", "REACH", "EMPHASIS")
    groups = ("PERCENTILES", "TRIALS", "LEAST", "LARGEST_SHARE")
    votes = ("FAR_MEMBER", "EMPHASIS", "MEDIAN", "VOTE_INTERVAL", "LEAST", "AVERAGED")
    evidence = ("NEAREST", "MEDIAN", "HEIGHT", "AVERAGED", "OWN_GAP", "BESIDE")
    for module, name, steers in (
        (codegraph_module, "image_graph", graph),
        (codegraph_module, "reference_distances", graph),
        (statistics, "interval_average", ()),
        (codegraph_module, "candidates", groups),
        (members, "votes_of", votes),
        (codegraph_module, "measured", evidence),
    ):
        setattr(module, name, _remembered(getattr(module, name), steers))


def _remembered(function: Callable[..., Any], steers: tuple[str, ...]) -> Callable[..., Any]:
    results: dict[Any, Any] = {}

    def call(*arguments: Any, **options: Any) -> Any:
        values = tuple(getattr(constants, name, None) for name in steers)
        key = tuple(map(_mark, arguments)), tuple((o, _mark(options[o])) for o in options), values
        if key not in results:
            result = function(*arguments, **options)
            results[key] = list(result) if isinstance(result, Iterator) else result
        return results[key]

    return call


def _mark(argument: Any) -> Any:
    """Return something that differs between arguments, and is quickly had."""
    if isinstance(argument, statistics.SetStatistics):
        scores = hash(argument.image_scores.tobytes())
        return argument.relevant, scores, argument.rows.shape, constants.RELEVANT
    if isinstance(argument, np.ndarray):
        some = argument[:, 5] if argument.ndim == 3 else argument
        return argument.shape, hash(some.tobytes())
    return argument


def change(name: str, value: Any) -> None:
    """Give a constant another value."""
    setattr(constants, name, value)
    codegraph.__kwdefaults__["false_alarm_rate"] = constants.FALSE_ALARM_RATE


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=Path, nargs="+", required=True)
    parser.add_argument("--cache", type=Path, required=True, help="for tables of distances")
    parser.add_argument("--only", nargs="*", help="constants; none: the search as it is")
    parser.add_argument("--set", nargs="*", default=[], help="NAME=VALUE, for all that follows")
    given = parser.parse_args()
    make(given.cache, given.tiles)
    sets = all_sets(given.cache, given.tiles)
    remember()
    draws = np.random.default_rng(1)
    halves = []
    for tables in sets:
        if tables.recurring.any() and len(tables.recurring) >= 60:
            order = draws.permutation(len(tables.recurring))
            first = 2 * len(order) // 3
            halves.append((tables, np.sort(order[:first]), np.sort(order[first:])))
    without = sum(not tables.recurring.any() for tables in sets)
    images = sum(int(tables.recurring.sum()) for tables in sets)
    new = sum(int(tables.recurring[new].sum()) for tables, _, new in halves)
    print(f"{len(sets)} sets, {without} without a recurring defect; {images} images have one, "
          f"of the newcomers {new}")  # fmt: skip
    print("| constant | value | right | wrong | communities | false | marks | newcomers | "
          "strangers | s |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|---|---|")
    for setting in given.set:
        name, value = setting.split("=")
        change(name, ast.literal_eval(value))
    usual = searched(sets, halves)
    print(f"| as it is | | {usual.row()} |", flush=True)
    print("  ", usual.by_set, file=sys.stderr, flush=True)
    for name in VARIANTS if given.only is None else given.only:
        kept = getattr(constants, name)
        for value in VARIANTS[name]:
            change(name, value)
            figures = searched(sets, halves if name in OF_NEWCOMERS else [])
            print(f"| {name} | {value} | {figures.row()} |", flush=True)
            both = set(figures.by_set) | set(usual.by_set)
            changed = {
                s: (usual.by_set.get(s), figures.by_set.get(s))
                for s in sorted(both)
                if usual.by_set.get(s) != figures.by_set.get(s)
            }
            print("  ", name, value, changed, file=sys.stderr, flush=True)
        change(name, kept)


if __name__ == "__main__":
    main()
