"""Save the simulated line: a labelled folder in MVTec AD's layout, or a video with its truth."""

from __future__ import annotations

import csv
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from zeroline.edge_app.errors import InputError, OutputError
from zeroline.edge_app.opencv import opencv
from zeroline.edge_app.sim.line import GOOD, SimFrame
from zeroline.edge_app.sim.settings import LineSettings
from zeroline.edge_app.writing import prepare_folder, whole_file, write_png

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
    with tempfile.TemporaryDirectory(dir=folder, prefix=".part-") as temporary:
        for frame in frames:
            if frame.part is None or frame.part == last:
                continue
            last = frame.part
            _write_labelled(frame, Path(temporary))
            counts[frame.kind] += 1
            progress(1)
        for whole in sorted(Path(temporary).iterdir()):
            whole.rename(folder / whole.name)
    return counts


def _write_labelled(frame: SimFrame, folder: Path) -> None:
    images, masks = (folder / side / frame.kind for side in ("test", "ground_truth"))
    images.mkdir(parents=True, exist_ok=True)
    write_png(images / f"{frame.part:05d}.png", frame.image)
    if frame.kind != GOOD:
        masks.mkdir(parents=True, exist_ok=True)
        write_png(masks / f"{frame.part:05d}_mask.png", frame.mask.astype(np.uint8) * 255)


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
    codec, rate = _CODECS.get(path.suffix.lower()), settings.rate or _DEFAULT_RATE
    truth = path.with_suffix(".csv")
    if codec is None:
        raise InputError(f'video "{path}": {" or ".join(VIDEO_SUFFIXES)} is expected as its ending')
    if rate < 1:
        raise InputError(f"rate {rate:g}: at least 1 frame in a second is expected for a video")
    height, width = settings.shape
    if width % 2 or height % 2:
        raise InputError(f"size {width}x{height}: even numbers are expected for a video")
    for taken in (path, truth):
        if taken.exists():
            raise InputError(f'"{taken}" exists already: name another video')
    prepare_folder(path.parent)
    partial = path.with_name(f".part-{path.name}")
    counts: Counter[str] = Counter()
    writer = cv2.VideoWriter(str(partial), cv2.VideoWriter_fourcc(*codec), rate, (width, height))
    try:
        if not writer.isOpened():
            raise OutputError(f'video "{path}" could not be opened for writing by OpenCV')
        with whole_file(truth) as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["frame", "part", "kind"])
            for frame in frames:
                writer.write(frame.image)
                table.writerow([frame.number, "" if frame.part is None else frame.part, frame.kind])
                counts[frame.kind] += 1
                progress(1)
            writer.release()
            _check_whole(partial, path, frames=sum(counts.values()))
            partial.replace(path)
    finally:
        writer.release()
        partial.unlink(missing_ok=True)
    return counts


def _check_whole(written: Path, path: Path, *, frames: int) -> None:
    """Count the frames of a video: OpenCV does not tell when the disk is full."""
    cv2 = opencv("to read videos")
    video = cv2.VideoCapture(str(written))
    there = 0
    while video.grab():
        there += 1
    video.release()
    if there != frames:
        raise OutputError(
            f'video "{path}" is not whole, {there} of {frames} frames: is the disk full?'
        )
