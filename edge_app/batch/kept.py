"""``scores.npz``: what `score` keeps, so that another threshold needs no scoring.

A NumPy archive without pickle: a header in JSON, and one row for each image in the arrays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zeroline.edge_app.batch.embedding import Problem
from zeroline.edge_app.batch.recurring import SetDefect
from zeroline.edge_app.batch.results import KEPT_SCORES, read_csv
from zeroline.edge_app.batch.sets import ScoredSet
from zeroline.edge_app.errors import InputError
from zeroline.edge_app.images import ImageFile
from zeroline.edge_app.writing import whole_file
from zeroline.runtime.archives import DAMAGE, Archive, open_archive, why_damaged
from zeroline.runtime.framing.kept import kept_tiles
from zeroline.runtime.framing.view import View
from zeroline.runtime.results import Reason

VERSION = 3


@dataclass(frozen=True)
class KeptScores:
    """Everything that new verdicts, overlays, tables and reports are made from.

    Attributes
    ----------
    sets : tuple of ScoredSet
        Patch scores have passed through float16, which is exact to 0.0005; scores are as they were.
    problems : tuple of Problem
        Images that were left out.
    title : str
        Of the report.
    settings : mapping
        Of the run, in words.
    draw : {"all", "ng", "none"}
        Which overlays were written.
    false_alarm_rate : float
        Of the run.
    white_level : int or None
        See `zeroline.edge_app.images.read_image`.
    """

    sets: tuple[ScoredSet, ...]
    problems: tuple[Problem, ...]
    title: str
    settings: Mapping[str, str]
    draw: str
    false_alarm_rate: float
    white_level: int | None


def write_scores(folder: Path, kept: KeptScores) -> None:
    """Write ``scores.npz``, whole or not at all."""
    order = np.argsort(np.concatenate([scored.places for scored in kept.sets]))

    def in_order(values: Sequence[Any]) -> Any:
        return np.concatenate(values)[order]

    all_files = [file for scored in kept.sets for file in scored.files]
    files = [all_files[place] for place in order.tolist()]
    defects = [(number, d) for number, scored in enumerate(kept.sets) for d in scored.defects]
    header = {
        "version": VERSION,
        "title": kept.title,
        "settings": dict(kept.settings),
        "draw": kept.draw,
        "false_alarm_rate": kept.false_alarm_rate,
        "white_level": kept.white_level,
        "tiles": next((s.views[0].tiles for s in kept.sets if s.views), (1, 1)),
        "names": [file.name for file in files],
        "paths": [str(file.path.absolute()) for file in files],
        "problems": [[p.name, p.reason, p.verdict and p.verdict.value] for p in kept.problems],
        "defects": [
            {
                "set": number,
                "one_place": defect.one_place,
                "members": [kept.sets[number].files.index(file) for file in defect.files],
            }
            for number, defect in defects
        ],
    }
    arrays = {
        "patch_scores": in_order([s.patch_scores.astype(np.float16) for s in kept.sets]),
        "raw_scores": in_order([s.raw_scores for s in kept.sets]),
        "scores": in_order([s.scores for s in kept.sets]),
        "recurring": in_order([s.recurring for s in kept.sets]),
        "set": in_order([np.full(len(s.files), n, np.int32) for n, s in enumerate(kept.sets)]),
        "copy_of": in_order([_copy_of(s) for s in kept.sets]),
        "views": in_order([_views(s) for s in kept.sets]),
        **{f"marks_{n}": np.asarray(d.marks, bool) for n, (_, d) in enumerate(defects)},
    }
    with whole_file(folder / KEPT_SCORES, "wb") as file:
        text = np.frombuffer(json.dumps(header).encode(), np.uint8)
        np.savez(file, header=text, **arrays)


def read_scores(folder: Path) -> KeptScores:
    """Read the scores of a results folder, and check that they are those of its table.

    Raises
    ------
    InputError
        If there are none, if they are damaged or of another version, or if ``scores.csv`` beside
        them is of another run.
    """
    path = folder / KEPT_SCORES
    if not folder.is_dir():
        raise InputError(f'results "{folder}" is not a folder that "zeroline score" wrote')
    try:
        with open_archive(path) as archive:
            header = archive.header()
            version = header["version"]
            kept = _read(header, archive) if version == VERSION else None
    except FileNotFoundError as error:
        raise InputError(
            f'"{folder}" holds no {KEPT_SCORES}: "zeroline score" of this version writes it'
        ) from error
    except OSError as error:
        raise InputError(f'"{path}" cannot be read: {why_damaged(error)}') from error
    except DAMAGE as error:
        raise InputError(
            f'"{path}" is damaged, or no file of "zeroline score": {why_damaged(error)}'
        ) from error
    if kept is None:
        raise InputError(
            f'"{path}" is of version {version!r}, this zeroline reads {VERSION}: score again'
        )
    _check_table(path, kept)
    return kept


def _read(header: Mapping[str, Any], archive: Archive) -> KeptScores:
    patch_scores, raw_scores, scores, recurring, numbers, copy_of, views = (
        archive.array(name)
        for name in ("patch_scores", "raw_scores", "scores", "recurring", "set", "copy_of", "views")
    )
    names, paths = header["names"], header["paths"]
    tiles, count = kept_tiles(header), len(names)
    fits = patch_scores.dtype == np.float16 and patch_scores.ndim == 2
    fits &= raw_scores.dtype == np.float32 and scores.dtype == np.float32
    fits &= recurring.dtype == bool and numbers.dtype == np.int32 and copy_of.dtype == np.int32
    arrays = (recurring, numbers, patch_scores, raw_scores, scores, copy_of)
    fits &= all(len(array) == count for array in (paths, *arrays))
    fits &= views.shape == (count, 8) and views.dtype == np.float64 and np.isfinite(views).all()
    fits &= all(array.shape == (count,) for array in arrays if array is not patch_scores)
    fits = fits and bool(count) and numbers.min() >= 0 and numbers.max() < count
    fits = fits and patch_scores.shape[1] % (tiles[0] * tiles[1]) == 0
    if not fits or not all(np.isfinite(array).all() for array in arrays[2:5]):
        raise ValueError("the arrays do not fit each other")
    files = [ImageFile(Path(path), name) for path, name in zip(paths, names, strict=True)]
    sets = []
    for number in range(int(numbers.max()) + 1):
        places = np.flatnonzero(numbers == number)
        chosen = tuple(files[place] for place in places)
        originals = copy_of[places].astype(np.intp)
        seen = tuple(
            View((int(height), int(width)), np.array(row).reshape(2, 3), tiles)
            for height, width, *row in views[places]
            if width
        )
        if seen and len(seen) < len(places):
            raise ValueError("some views of a set are missing")
        if not ((originals >= 0) & (originals < len(places))).all():
            raise ValueError("a copy of no image of its set")
        defects = tuple(
            SetDefect(
                tuple(chosen[m] for m in defect["members"]),
                archive.array(f"marks_{n}"),
                chosen,
                bool(defect["one_place"]),
                tuple(seen[m] for m in defect["members"]) if seen else (),
            )
            for n, defect in enumerate(header["defects"])
            if defect["set"] == number
        )
        sets.append(
            ScoredSet(
                tuple(places.tolist()),
                chosen,
                patch_scores[places].astype(np.float32),
                raw_scores[places],
                scores[places],
                recurring[places],
                defects,
                originals,
                seen,
            )
        )
    return KeptScores(
        tuple(sets),
        tuple(
            Problem(name, reason, None if verdict is None else Reason(verdict))
            for name, reason, verdict in header["problems"]
        ),
        header["title"],
        header["settings"],
        header["draw"],
        header["false_alarm_rate"],
        header["white_level"],
    )


def _copy_of(scored: ScoredSet) -> Any:
    numbers = np.arange(len(scored.files)) if scored.copy_of is None else scored.copy_of
    return numbers.astype(np.int32)


def _views(scored: ScoredSet) -> Any:
    """Return height, width and matrix of each file's view (n, 8); zeros for whole pictures."""
    rows = np.zeros((len(scored.files), 8))
    for row, view in zip(rows, scored.views, strict=False):
        row[:] = *view.size, *view.matrix.ravel()
    return rows


def _check_table(path: Path, kept: KeptScores) -> None:
    """Refuse scores that are not those of the table beside them."""
    rows = read_csv(path.with_name("scores.csv"))
    if rows is None:
        return
    scores = {
        file.name: f"{score:.6f}"
        for scored in kept.sets
        for file, score in zip(scored.files, scored.scores.tolist(), strict=True)
    }
    if {row["image"]: row.get("score") for row in rows if row.get("score")} != scores:
        raise InputError(
            f'"{path}" and scores.csv beside it are of different runs: score the images again'
        )
