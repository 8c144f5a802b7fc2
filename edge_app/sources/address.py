"""From an address to a source."""

from __future__ import annotations

import os
import re
import sys
import threading
from http.client import HTTPException
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen

from zeroline.edge_app.captured import FrameSource
from zeroline.edge_app.decoding.kinds import UNKNOWN
from zeroline.edge_app.errors import InputError
from zeroline.edge_app.events import Events
from zeroline.edge_app.images import SUFFIXES, unread_kind
from zeroline.edge_app.opencv import opencv
from zeroline.edge_app.passwords import without_password
from zeroline.edge_app.sim.line import SimulatedLine
from zeroline.edge_app.sim.settings import settings_from
from zeroline.edge_app.sources.files import PictureSource
from zeroline.edge_app.sources.live import URL, LiveSource
from zeroline.edge_app.sources.simulated import SimulatedSource
from zeroline.edge_app.sources.video import VideoSource, announces_frames
from zeroline.edge_app.sources.watched import SCHEME, watched_folder, watched_words

_VIDEO_DEVICE = re.compile(r"/dev/video\d+", re.ASCII)
# fmt: off
_VIDEOS = frozenset({
    ".264", ".265", ".3gp", ".avi", ".flv", ".h264", ".h265", ".hevc", ".m2ts", ".m4v", ".mjpeg",
    ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".vob", ".webm",
    ".wmv",
})
# fmt: on
_STREAMS = frozenset({".mjpeg", ".mjpg"})  # behind a URL, cameras are called so
_PATIENCE = 5.0  # seconds to ask whether a file behind a URL has a length


def open_source(
    address: str,
    *,
    events: Events,
    stop: threading.Event | None = None,
    patience: float | None = None,
) -> FrameSource:
    """Open a source by its address.

    Parameters
    ----------
    address : str
        A device number, an RTSP or HTTP URL, a GStreamer pipeline ("… ! appsink"), a video file,
        an image or a folder of images, ``watch:FOLDER``, or ``sim://parts?…``. A video file behind
        an HTTP URL is played once, as one on disk.
    events : Events
        Is told of a camera that is lost and found, and of a video that is not complete.
    stop : Event, optional
        Ends a live source's wait for a frame.
    patience : float, optional
        Seconds without a frame after which a live source is at fault; as usual, when not given.

    Raises
    ------
    InputError
        If it is none of these, or a file cannot be opened.
    """
    if address.startswith(SCHEME):
        return watched_folder(address, events=events, stop=stop or threading.Event())
    if address.startswith("sim://"):
        return SimulatedSource(SimulatedLine(settings_from(address)))
    # Path.exists raises for a long pipeline
    if os.path.exists(address) and not _VIDEO_DEVICE.fullmatch(address):  # noqa: PTH110
        return _from_disk(Path(address), events)
    if address.startswith(("http://", "https://")) and _is_video_file(address):
        shown = without_password(address)
        return VideoSource(address, events=events, shown=shown)
    is_number = address.isascii() and address.isdigit()
    if is_number or _VIDEO_DEVICE.fullmatch(address):
        _check_device(address if not is_number else f"/dev/video{int(address)}")
    elif URL.match(address):
        pass
    elif "!" in address:
        _check_gstreamer(address)
    else:
        raise InputError(
            f'source "{without_password(address)}" is no file, folder, device number, URL, '
            "GStreamer pipeline, watch:FOLDER or sim://parts"
        )
    return LiveSource(address, events=events, stop=stop or threading.Event(), patience=patience)


def check_words(address: str) -> None:
    """Refuse an address whose words are wrong; nothing is opened.

    Raises
    ------
    InputError
        If a watched folder or a simulated line has no such setting.
    """
    if address.startswith(SCHEME):
        watched_words(address)
    elif address.startswith("sim://"):
        settings_from(address)


def _check_device(node: str) -> None:
    """Refuse a camera that is not there, where cameras are files."""
    if not sys.platform.startswith("linux") or Path(node).exists():
        return
    others = sorted(map(str, Path("/dev").glob("video[0-9]*")))
    here = f"here are {', '.join(others)}" if others else "there is no camera here"
    raise InputError(
        f"camera {node} does not exist: {here}. Is it plugged in, and given to the container "
        "(--device)?"
    )


def _check_gstreamer(pipeline: str) -> None:
    """Refuse a pipeline where this OpenCV cannot run it."""
    cv2 = opencv("to run a pipeline")
    if re.search(r"GStreamer:\s+YES", cv2.getBuildInformation()):
        return
    raise InputError(
        f'source "{without_password(pipeline)}" is a GStreamer pipeline, and this OpenCV '
        f"({cv2.__version__}) has no GStreamer: the wheels from PyPI have none. Take the OpenCV of "
        "the system (Debian: python3-opencv; Jetson: that of JetPack), or an rtsp:// address"
    )


def _from_disk(path: Path, events: Events) -> FrameSource:
    """Open what exists on disk, whatever its name looks like."""
    if path.is_dir() or path.suffix.lower() in SUFFIXES:
        return PictureSource(path, events=events)
    if path.suffix.lower() in _VIDEOS:
        return VideoSource(str(path.absolute()), events=events, shown=str(path))
    return _by_content(path, events)


def _by_content(path: Path, events: Events) -> FrameSource:
    """Open a file whose name does not tell what it is."""
    why = unread_kind(path)
    if why == UNKNOWN:
        try:
            return VideoSource(str(path.absolute()), events=events, shown=str(path))
        except InputError as error:
            why = f"{why}; {error}"
    if why:
        raise InputError(f'source "{path}" is neither an image nor a video: {why}')
    return PictureSource(path, events=events)


def _is_video_file(url: str) -> bool:
    """Tell whether a URL leads to a video that has an end; a camera's stream has none."""
    if announces_frames(url):
        return True
    suffix = Path(urlsplit(url).path).suffix.lower()
    if suffix not in _VIDEOS - _STREAMS:
        return False
    try:
        with urlopen(url, timeout=_PATIENCE) as answer:  # noqa: S310 - the scheme is HTTP
            return answer.headers.get("Content-Length") is not None
    except (OSError, HTTPException, ValueError):
        return False
