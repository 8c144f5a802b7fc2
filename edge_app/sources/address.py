"""From an address to a source."""

from __future__ import annotations

import threading
from pathlib import Path

from zeroline.edge_app.captured import FrameSource
from zeroline.edge_app.errors import InputError
from zeroline.edge_app.events import Events
from zeroline.edge_app.passwords import without_password
from zeroline.edge_app.sim.line import SimulatedLine
from zeroline.edge_app.sim.settings import settings_from
from zeroline.edge_app.sources.files import PictureSource, VideoSource
from zeroline.edge_app.sources.live import URL, LiveSource
from zeroline.edge_app.sources.simulated import SimulatedSource

_VIDEOS = (".avi", ".m4v", ".mjpeg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")


def open_source(
    address: str, *, events: Events, stop: threading.Event | None = None
) -> FrameSource:
    """Open a source by its address.

    Parameters
    ----------
    address : str
        A device number, an RTSP or HTTP URL, a GStreamer pipeline ("… ! appsink"), a video file,
        an image or a folder of images, or ``sim://parts?…``.
    events : Events
        Is told of a camera that is lost and found.
    stop : Event, optional
        Ends a live source's wait for a frame.

    Raises
    ------
    InputError
        If it is none of these, or a file cannot be opened.
    """
    if address.startswith("sim://"):
        return SimulatedSource(SimulatedLine(settings_from(address)))
    if address.isdigit() or URL.match(address) or "!" in address:
        return LiveSource(address, events=events, stop=stop or threading.Event())
    path = Path(address)
    if not path.exists():
        raise InputError(
            f'source "{without_password(address)}" is no file, folder, device number, URL, '
            "GStreamer pipeline or sim://parts"
        )
    if path.suffix.lower() in _VIDEOS:
        return VideoSource(path)
    return PictureSource(path)
