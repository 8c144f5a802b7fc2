"""From an address to a source."""

from __future__ import annotations

import os
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
from zeroline.edge_app.sim.line import SimulatedLine
from zeroline.edge_app.sim.settings import settings_from
from zeroline.edge_app.sources.files import PictureSource
from zeroline.edge_app.sources.live import URL, LiveSource, without_password
from zeroline.edge_app.sources.simulated import SimulatedSource
from zeroline.edge_app.sources.video import VideoSource, announces_frames

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
    address: str, *, events: Events, stop: threading.Event | None = None
) -> FrameSource:
    """Open a source by its address.

    Parameters
    ----------
    address : str
        A device number, an RTSP or HTTP URL, a GStreamer pipeline ("… ! appsink"), a video file,
        an image or a folder of images, or ``sim://parts?…``. A video file behind an HTTP URL is
        played once, as one on disk.
    events : Events
        Is told of a camera that is lost and found, and of a video that is not complete.
    stop : Event, optional
        Ends a live source's wait for a frame.

    Raises
    ------
    InputError
        If it is none of these, or a file cannot be opened.
    """
    if address.startswith("sim://"):
        return SimulatedSource(SimulatedLine(settings_from(address)))
    if os.path.exists(address):  # noqa: PTH110 - Path raises for a long pipeline
        return _from_disk(Path(address), events)
    if address.startswith(("http://", "https://")) and _is_video_file(address):
        shown = without_password(address)
        return VideoSource(address, events=events, shown=shown)
    if address.isdigit() or URL.match(address) or "!" in address:
        return LiveSource(address, events=events, stop=stop or threading.Event())
    raise InputError(
        f'source "{address}" is no file, folder, device number, URL, GStreamer pipeline '
        "or sim://parts"
    )


def _from_disk(path: Path, events: Events) -> FrameSource:
    """Open what exists on disk, whatever its name looks like."""
    if path.is_dir() or path.suffix.lower() in SUFFIXES:
        return PictureSource(path)
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
    return PictureSource(path)


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
