"""A reference set from image files: scored against each other, the unusual left out."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from zeroline.edge_app.batch.embedding import Problem, embed_files
from zeroline.edge_app.errors import InputError
from zeroline.edge_app.images import ImageFile
from zeroline.edge_app.memory import check_memory, placed_bundle
from zeroline.edge_app.progress import Bars
from zeroline.edge_app.settings.options import ScoreOptions
from zeroline.runtime.copies import originals
from zeroline.runtime.framing.framer import Framer
from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.network.model import Bundle
from zeroline.runtime.reference.selection import Scoring, select_good
from zeroline.runtime.reference.sets import ReferenceReport
from zeroline.runtime.reference.written import Origin, write_selected
from zeroline.runtime.stages.levels import in_one_pose


def build_reference(
    files: Sequence[ImageFile],
    path: Path,
    bundle: Bundle,
    options: ScoreOptions,
    bars: Bars,
    *,
    framing: Framing,
    source: str,
    keep: Sequence[str] = (),
) -> tuple[ReferenceReport, list[Problem]]:
    """Write the good ones of some pictures as a reference set.

    Parameters
    ----------
    files : sequence of ImageFile
    path : Path
        The file of the set.
    bundle : Bundle
    options : ScoreOptions
    bars : Bars
        Shows progress.
    framing : Framing
        What of each picture is looked at.
    source : str
        Where the pictures come from, to be kept in the file.
    keep : sequence of str
        Patterns of names: pictures that a person has called good, whatever they score.

    Returns
    -------
    ReferenceReport
    list of Problem
        Files that could not be used.

    Raises
    ------
    InputError
        If fewer than two files can be used.
    MemoryLimitError
        If they would take more memory than there is; nothing was read then.
    """
    framer = Framer(framing, bundle.manifest.input, patches=bundle.patches)
    tiles = framer.grid.count
    bundle = placed_bundle(bundle, len(files), threads=options.threads, codegraph=True, tiles=tiles)
    check_memory(bundle, len(files), threads=options.threads, codegraph=True, tiles=tiles)
    in_time = sorted(files, key=lambda file: file.path.stat().st_mtime)
    embedding = embed_files(
        in_time,
        bundle,
        framer=framer,
        threads=options.threads,
        progress=bars("reading", len(files)),
    )
    tokens, used = embedding.tokens, embedding.files
    if tokens is None or len(used) < 2:
        raise InputError(f"{len(used)} usable image(s) of {len(files)}: at least 2 are needed")
    aligned = framing.taught is not None
    chosen = options.scoring(bundle, framing) | {
        "roi": framer.roi,
        "own_level": aligned and in_one_pose(embedding.turns),
    }
    scoring = Scoring(
        **{name: chosen[name] for name in Scoring.__dataclass_fields__ if name in chosen}
    )
    confirmed = [any(fnmatchcase(file.name, pattern) for pattern in keep) for file in used]
    selection = select_good(
        tokens,
        scoring,
        false_alarm_rate=options.false_alarm_rate,
        confirmed=np.array(confirmed, bool),
        absent=np.stack(embedding.absent) if np.any(embedding.absent) else None,
        # copies of a bad picture would vouch for each other
        groups=originals(
            tokens,
            same=embedding.pixels,
            thumbnails=np.stack(embedding.thumbnails),
            roi=framer.roi,
            threads=options.threads,
        ).tolist(),
    )
    report = write_selected(
        path,
        tokens,
        selection,
        Origin(bundle.manifest, scoring.degrees, options.false_alarm_rate, source, framing),
        names=[file.name for file in used],
        times=[file.path.stat().st_mtime for file in used],
        confirmed=confirmed,
        turns=embedding.turns,
    )
    return report, embedding.problems
