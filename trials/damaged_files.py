"""Damaged pictures and videos: none crashes, hangs or is taken for a whole one.

Each file is cut, has bytes changed, or a header of another file. The rules: an image is read or
refused with a reason, a video is played or refused, within the limits of `trials.guarded`. What
Pillow refuses when it decodes a picture whole is never a frame, in files and in MJPEG.
"""

from __future__ import annotations

import io
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from trials.guarded import tried
from trials.packed_tiff import write_packed
from trials.resumed import Rows
from zeroline.edge_app.errors import ImageError, InputError
from zeroline.edge_app.events import Events
from zeroline.edge_app.images import read_image
from zeroline.edge_app.opencv import opencv
from zeroline.edge_app.sources.video import VideoSource

#: A seed is so many files of each kind; 20 seeds are 20,000.
CASES = 1000
SEEDS = tuple(range(1, 21))
KINDS = ("jpeg", "png", "tiff", "bmp", "avi", "mp4")
#: Outcomes that break no rule.
ALLOWED = frozenset({"read", "refused"})
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


def damaged(content: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Return a file that is damaged in one to three ways.

    Parameters
    ----------
    content : bytes
    other : bytes
        Whose header it may get.
    rng : numpy.random.Generator
    """
    found = bytearray(content)
    for way in rng.choice(("cut", "bytes", "run", "size", "header", "gone", "twice"),
                          rng.integers(1, 4)):  # fmt: skip
        end = max(len(found), 2)
        # headers are short and matter most
        place = int(rng.integers(0, min(end, 200) if rng.random() < 0.5 else end))
        length = int(rng.integers(1, 64))
        if way == "cut":
            del found[max(place, 1) :]
        elif way == "bytes":
            for at in [*rng.integers(0, end, rng.integers(1, 20)).tolist(), place]:
                found[at : at + 1] = rng.bytes(1)
        elif way == "run":
            found[place : place + length] = (
                bytes(length) if rng.random() < 0.5 else rng.bytes(length)
            )
        elif way == "size":  # large, negative and zero numbers
            value = [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4), b"\xff\xff\0\0"]
            found[place : place + 4] = value[rng.integers(4)]
        elif way == "header":
            found[:length] = other[:length]
        elif way == "gone":
            del found[place : place + length]
        else:
            found[place:place] = found[place : place + length]
    return bytes(found)


def case(kind: str, folder: Path, seed: int, number: int) -> bytes:
    """Return the damaged file of a number."""
    rng = np.random.default_rng((KINDS.index(kind), seed, number))
    files = whole_files(kind, folder)
    others = whole_files(str(rng.choice(KINDS)), folder)
    content = files[number % len(files)]
    return damaged(content, others[rng.integers(len(others))], rng)


def judged(kind: str, folder: Path, seed: int, number: int) -> str:
    """Return what comes of a damaged file: "read", "refused", or what breaks a rule."""
    warnings.filterwarnings("ignore", category=UserWarning, module="PIL")  # as the commands do
    path = folder / f"case.{kind}"
    path.write_bytes(case(kind, folder, seed, number))
    try:
        return _played(path) if kind in _VIDEOS else _read(path)
    except Exception as error:  # noqa: BLE001 - it is what is looked for
        return f"{type(error).__name__} at {seed}/{number}: {error}"[:200]


def _read(path: Path) -> str:
    try:
        read_image(path)
    except ImageError:
        return "refused"
    # TIFF is read by more than Pillow, so that other kinds of it are read
    return "read" if path.suffix == ".tiff" or _is_whole(path.read_bytes()) else "taken for whole"


def _is_whole(content: bytes) -> bool:
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    except Exception:  # noqa: BLE001 - whatever Pillow refuses with
        return False
    return True


def _played(path: Path) -> str:
    try:
        source = VideoSource(str(path), events=Events(), shown=path.name)
    except InputError:
        return "refused"
    frames = {int(captured.name): captured.frame is not None for captured in source}
    wrong = [n for n, whole in enumerate(_packets(path)) if not whole and frames.get(n)]
    return "taken for whole" if wrong else "read"


def _packets(path: Path) -> Iterable[bool]:
    """Yield for each picture of an MJPEG video whether Pillow decodes it; nothing for others."""
    cv2 = opencv("to read videos")
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
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
    with TemporaryDirectory() as folder:
        found = tried(partial(judged, kind, Path(folder), seed), range(cases))
    counts = Counter(found.values())
    broken = {f"{kind} {seed}/{n}": what for n, what in found.items() if what not in ALLOWED}
    return {"read": counts["read"], "refused": counts["refused"], "broken": broken}


def run(report: Callable[[str], None], *, seeds: Iterable[int] = SEEDS, rows: Rows) -> None:
    """Report counts by kind, then every file that broke a rule; see `false_alarms.run`."""
    report("| kind | files | read | refused | broke a rule |")
    report("|---|---|---|---|---|")
    seeds = tuple(seeds)
    broken: dict[str, str] = {}
    for kind in KINDS:
        found = [rows.once({"kind": kind, "seed": s}, partial(of_kind, kind, s)) for s in seeds]
        read, refused = (sum(row[key] for row in found) for key in ("read", "refused"))
        bad = {name: what for row in found for name, what in row["broken"].items()}
        broken |= bad
        total = read + refused + len(bad)
        report(f"| {kind} | {total:,} | {read:,} | {refused:,} | {len(bad)} |")
    for name, what in broken.items():
        report(f"{name}: {what}")
