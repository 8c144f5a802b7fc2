"""Lanes: which cameras see one part, and what makes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zeroline.edge_app.configuration.cameras import Camera, Trigger
from zeroline.edge_app.configuration.setting import PlacedError
from zeroline.edge_app.sources.watched import SCHEME as WATCHED


@dataclass(frozen=True)
class SharedSource:
    """A source, opened once, and the cameras that it serves: two regions of one picture, say.

    Attributes
    ----------
    address : str
    cameras : tuple of Camera
    """

    address: str
    cameras: tuple[Camera, ...]


@dataclass(frozen=True)
class Lane:
    """Cameras that see the same parts.

    Attributes
    ----------
    name : str
        That of the trigger, or of the first camera where each frame is a part.
    trigger : Trigger
        What makes a part.
    sources : tuple of SharedSource
        Each gives a frame of each part.
    """

    name: str
    trigger: Trigger
    sources: tuple[SharedSource, ...]

    @property
    def cameras(self) -> tuple[Camera, ...]:
        """All cameras of the lane."""
        return tuple(camera for source in self.sources for camera in source.cameras)


def lanes_of(cameras: Sequence[Camera]) -> tuple[Lane, ...]:
    """Return the lanes of a station's cameras.

    Raises
    ------
    PlacedError
        If cameras do not go together; names them.
    """
    names = [camera.name for camera in cameras]
    for number, name in enumerate(names):
        if name in names[:number]:
            raise PlacedError(("cameras", number, "name"), f'two cameras have the name "{name}"')
    groups: dict[str, list[Camera]] = {}
    for camera in cameras:
        groups.setdefault(_key(camera), []).append(camera)
    lanes = tuple(_lane(group, names) for group in groups.values())
    _check_sources(cameras)
    return lanes


def _key(camera: Camera) -> str:
    """Return what cameras of one lane have in common."""
    if camera.trigger.mode == "every-frame":
        return f"source {camera.source}"
    return f"trigger {camera.trigger.name}"


def _lane(cameras: Sequence[Camera], names: Sequence[str]) -> Lane:
    first = cameras[0]
    for other in cameras[1:]:
        if other.trigger != first.trigger:
            raise PlacedError(
                ("cameras", names.index(other.name), "trigger"),
                f'cameras "{first.name}" and "{other.name}" share a trigger, and its settings '
                "differ",
            )
    sources: dict[str, list[Camera]] = {}
    for camera in cameras:
        sources.setdefault(camera.source, []).append(camera)
    each_frame = first.trigger.mode == "every-frame"
    for address, (camera, *_) in sources.items():
        if address.startswith(WATCHED) and not each_frame:
            raise PlacedError(
                ("cameras", names.index(camera.name), "trigger"),
                f'camera "{camera.name}": a watched folder makes a part of each picture, its '
                "trigger mode is every-frame",
            )
    return Lane(
        first.name if each_frame else first.trigger.name,
        first.trigger,
        tuple(SharedSource(address, tuple(served)) for address, served in sources.items()),
    )


def _check_sources(cameras: Sequence[Camera]) -> None:
    """Refuse a source that would have to be opened twice."""
    first: dict[str, Camera] = {}
    for number, camera in enumerate(cameras):
        other = first.setdefault(camera.source, camera)
        if _key(other) != _key(camera):
            raise PlacedError(
                ("cameras", number, "source"),
                f'cameras "{other.name}" and "{camera.name}" have one source and two triggers',
            )
