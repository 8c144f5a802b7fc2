"""Damaged pictures and videos: none crashes, hangs or is taken for a whole one.

The rule: an image is read or refused with a reason, a video is played or refused, within the limits
of `trials.watched`. What Pillow refuses when it decodes a picture whole is never a frame, in files
and in MJPEG.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from trials.damage import damaged
from trials.packed_tiff import write_packed
from trials.resumed import Rows
from trials.watched import Watched
from zeroline.edge_app.cli import silence_pillow
from zeroline.edge_app.errors import ImageError, InputError
from zeroline.edge_app.events import Events
from zeroline.edge_app.images import read_image
from zeroline.edge_app.opencv import opencv
from zeroline.edge_app.sources.video import VideoSource

#: A seed is so many files of each kind; 20 seeds are 20,000.
CASES = 1000
SEEDS = tuple(range(1, 21))
KINDS = ("jpeg", "png", "tiff", "bmp", "avi", "mp4")
_VIDEOS = ("avi", "mp4")
_FRAMES = 8


def _plate(number: int) -> npt.NDArray[np.uint8]:
    blocks = np.random.default_rng(5).integers(60, 200, (8, 12, 3)).astype(np.uint8)
    plate = blocks.repeat(8, axis=0).repeat(8, axis=1)
    plate[16:32, number * 5 % 80 : number * 5 % 80 + 16] = 255
    return plate


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@lru_cache
def whole_files(kind: str, folder: Path) -> tuple[bytes, ...]:
    """Return the files of a kind that are damaged.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    folder : Path
        Where those are written that need a file.
    """
    colour = Image.fromarray(_plate(0))
    grey = colour.convert("L")
    deep = np.asarray(grey).astype(np.uint16) * 257
    if kind == "jpeg":
        return (
            _saved(colour, "JPEG"), _saved(grey, "JPEG"), _saved(colour, "JPEG", progressive=True),
            _saved(colour.convert("CMYK"), "JPEG"), _saved(colour, "JPEG", restart_marker_rows=1),
        )  # fmt: skip
    if kind == "png":
        return (
            _saved(colour, "PNG"), _saved(grey, "PNG"), _saved(colour.quantize(16), "PNG"),
            _saved(Image.fromarray(deep), "PNG"), _saved(colour.convert("RGBA"), "PNG"),
            _by_opencv(".png", np.dstack([deep] * 3)),
        )  # fmt: skip
    if kind == "tiff":
        write_packed(folder / "twelve.tif", deep >> 4, 12, rows=20)
        ways = (None, "tiff_lzw", "tiff_deflate", "packbits", "jpeg")
        return (
            *(_saved(colour, "TIFF", compression=way) for way in ways),
            _saved(grey, "TIFF"), _saved(Image.fromarray(deep), "TIFF", compression="tiff_lzw"),
            _saved(colour.quantize(16), "TIFF"), _by_opencv(".tiff", np.dstack([deep] * 3)),
            (folder / "twelve.tif").read_bytes(),
            _saved(grey, "TIFF", save_all=True, append_images=[grey], tiffinfo={254: 1}),
        )  # fmt: skip
    if kind == "bmp":
        return (
            _saved(colour, "BMP"), _saved(grey, "BMP"), _saved(grey.convert("1"), "BMP"),
            _saved(colour.convert("RGBA"), "BMP"), _saved(colour.quantize(16), "BMP"),
        )  # fmt: skip
    if kind == "avi":
        return tuple(_film(folder / f"{code}.avi", code) for code in ("MJPG", "MJPG", "mp4v"))
    return (_film(folder / "mp4v.mp4", "mp4v"), *_by_pyav(folder))


def _by_opencv(suffix: str, pixels: npt.NDArray[np.uint16]) -> bytes:
    cv2 = opencv("to draw pictures")
    content: bytes = cv2.imencode(suffix, pixels)[1].tobytes()
    return content


def _film(path: Path, code: str) -> bytes:
    cv2 = opencv("to draw videos")
    height, width = _plate(0).shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*code), 10.0, (width, height))
    for number in range(_FRAMES):
        writer.write(_plate(number))
    writer.release()
    return path.read_bytes()


def _by_pyav(folder: Path) -> tuple[bytes, ...]:
    """Return films as H.264 and MJPEG in MP4, which OpenCV does not write; none without PyAV."""
    try:
        import av
    except ImportError:
        return ()
    found = []
    for codec, form in (("libx264", "yuv420p"), ("mjpeg", "yuvj420p")):
        path = folder / f"{codec}.mp4"
        with av.open(str(path), "w", options={"movflags": "faststart"}) as film:
            stream = film.add_stream(codec, rate=10)
            stream.height, stream.width = _plate(0).shape[:2]
            stream.pix_fmt = form
            for number in range(_FRAMES):
                film.mux(stream.encode(av.VideoFrame.from_ndarray(_plate(number), format="rgb24")))
            film.mux(stream.encode(None))
        found.append(path.read_bytes())
    return tuple(found)


def case(kind: str, folder: Path, seed: int, number: int) -> bytes:
    """Return the damaged file of a number."""
    rng = np.random.default_rng((KINDS.index(kind), seed, number))
    files = whole_files(kind, folder)
    content = files[number % len(files)]
    for _ in range(rng.integers(1, 4)):
        content, _ = damaged(content, rng)
    return content


def judged(which: tuple[str, Path, int, int]) -> tuple[str, str]:
    """Return what comes of a damaged file: "read", "refused", or "wrong" and what is wrong."""
    silence_pillow()
    kind, folder, seed, number = which
    path = folder / f"case.{kind}"
    path.write_bytes(case(kind, folder, seed, number))
    return _played(path) if kind in _VIDEOS else _read(path)


def _read(path: Path) -> tuple[str, str]:
    try:
        read_image(path)
    except ImageError as error:
        return "refused", str(error)
    # TIFF is read by more than Pillow, so that other kinds of it are read
    whole = path.suffix == ".tiff" or _is_whole(path.read_bytes())
    return ("read", "") if whole else ("wrong", "Pillow refuses it")


def _is_whole(content: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    except Exception:  # noqa: BLE001 - whatever Pillow refuses with
        return False
    return True


def _played(path: Path) -> tuple[str, str]:
    try:
        source = VideoSource(str(path), events=Events(), shown=path.name)
    except InputError as error:
        return "refused", str(error)
    frames = {int(captured.name): captured.frame is not None for captured in source}
    wrong = [n for n, whole in enumerate(_packets(path)) if not whole and frames.get(n)]
    return ("wrong", f"Pillow refuses frames {wrong}") if wrong else ("read", "")


def _packets(path: Path) -> Iterable[bool]:
    """Yield for each picture of an MJPEG video whether Pillow decodes it; nothing for others."""
    cv2 = opencv("to read videos")
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 0)  # it would turn the bytes
    code = int(capture.get(cv2.CAP_PROP_FOURCC))
    if code == cv2.VideoWriter.fourcc(*"MJPG") and capture.set(cv2.CAP_PROP_FORMAT, -1):
        failed = 0
        while failed < 100:
            there, packet = capture.read()
            if there:
                yield from [True] * failed  # they are faults anyway
                yield _is_whole(packet.tobytes())
            failed = 0 if there else failed + 1
    capture.release()


def of_kind(kind: str, seed: int, *, cases: int = CASES) -> dict[str, Any]:
    """Try the files of a seed."""
    with TemporaryDirectory() as folder, Watched(judged) as process:
        seen = [process.do((kind, Path(folder), seed, number)) for number in range(cases)]
    return {
        "outcomes": Counter(one.outcome for one in seen),
        "broken": {
            f"{kind} {seed}/{number}": f"{one.outcome}: {one.text[-300:]}"
            for number, one in enumerate(seen)
            if one.broken
        },
        "longest": max(one.seconds for one in seen),
        "most": max(one.mib for one in seen),
    }


def run(report: Callable[[str], None], *, seeds: Iterable[int] = SEEDS, rows: Rows) -> None:
    """Report counts by kind, then every file that broke the rule; see `false_alarms.run`."""
    report("| kind | files | read | refused | rule broken | longest | most memory |")
    report("|---|---|---|---|---|---|---|")
    seeds = tuple(seeds)
    broken: dict[str, str] = {}
    for kind in KINDS:
        found = [rows.once({"kind": kind, "seed": s}, partial(of_kind, kind, s)) for s in seeds]
        counts = sum((Counter(row["outcomes"]) for row in found), Counter())
        bad = {name: what for row in found for name, what in row["broken"].items()}
        broken |= bad
        longest, most = (max(row[key] for row in found) for key in ("longest", "most"))
        report(
            f"| {kind} | {sum(counts.values()):,} | {counts['read']:,} | {counts['refused']:,} | "
            f"{len(bad)} | {longest:.1f} s | {most:.0f} MiB |"
        )
    for name, what in broken.items():
        report(f"{name}: {what}")
