"""Save the simulated line: a labelled folder in MVTec AD's layout, or a video with its truth."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from zeroline.edge_app.errors import InputError, OutputError
from zeroline.edge_app.opencv import opencv
from zeroline.edge_app.output import prepare_folder, whole_file, write_png
from zeroline.edge_app.sim.line import EMPTY, GOOD, SimFrame
from zeroline.edge_app.sim.settings import LineSettings

VIDEO_SUFFIXES = (".avi", ".mp4")
_DEFAULT_RATE = 10.0
_CODECS = {".avi": "MJPG", ".mp4": "mp4v"}


def write_dataset(
    frames: Iterable[SimFrame], folder: Path, progress: Callable[[int], None]
) -> Counter[str]:
    """Write ``test/<kind>/NNNNN.png`` and ``ground_truth/<kind>/NNNNN_mask.png``.

    A stopped belt gives one picture of its part, an empty belt none. Returns how many pictures
    of each kind were written.
    """
    if (folder / "test").exists() or (folder / "ground_truth").exists():
        raise InputError(f'output "{folder}" holds a data set already: name another folder')
    prepare_folder(folder)
    counts: Counter[str] = Counter()
    last: int | None = None
    for frame in frames:
        if frame.kind == EMPTY or frame.part == last or frame.part is None:
            continue
        last = frame.part
        name = f"{frame.part:05d}"
        images, masks = (folder / side / frame.kind for side in ("test", "ground_truth"))
        images.mkdir(parents=True, exist_ok=True)
        write_png(images / f"{name}.png", frame.image)
        if frame.kind != GOOD:
            masks.mkdir(parents=True, exist_ok=True)
            write_png(masks / f"{name}_mask.png", frame.mask.astype(np.uint8) * 255)
        counts[frame.kind] += 1
        progress(1)
    return counts


def write_video(
    frames: Iterable[SimFrame],
    path: Path,
    settings: LineSettings,
    progress: Callable[[int], None],
) -> Counter[str]:
    """Write every frame to a video, and beside it ``<name>.csv``: frame, part, kind.

    Returns how many frames of each kind were written.
    """
    cv2 = opencv("to write videos")
    if path.suffix.lower() not in _CODECS:
        raise InputError(f'video "{path}": {" or ".join(VIDEO_SUFFIXES)} is expected as its ending')
    prepare_folder(path.parent)
    codec = cv2.VideoWriter_fourcc(*_CODECS[path.suffix.lower()])
    partial = path.with_name(f".part-{path.name}")
    writer = cv2.VideoWriter(
        str(partial), codec, settings.rate or _DEFAULT_RATE, (settings.size, settings.size)
    )
    if not writer.isOpened():
        raise OutputError(f'video "{path}" could not be opened for writing by OpenCV')
    counts: Counter[str] = Counter()
    try:
        with whole_file(path.with_suffix(".csv")) as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["frame", "part", "kind"])
            for frame in frames:
                writer.write(frame.image)
                table.writerow([frame.number, "" if frame.part is None else frame.part, frame.kind])
                counts[frame.kind] += 1
                progress(1)
            writer.release()
            partial.replace(path)
    finally:
        writer.release()
        partial.unlink(missing_ok=True)
    return counts
