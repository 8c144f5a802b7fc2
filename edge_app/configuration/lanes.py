"""Lanes: which cameras see one part, and what makes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zeroline.edge_app.configuration.cameras import Camera, Trigger
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
    ValueError
        If cameras do not go together; names them.
    """
    names = [camera.name for camera in cameras]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f'two cameras have the name "{twice}"')
    groups: dict[str, list[Camera]] = {}
    for camera in cameras:
        groups.setdefault(_key(camera), []).append(camera)
    lanes = tuple(_lane(group) for group in groups.values())
    _check_sources(cameras)
    return lanes


def _key(camera: Camera) -> str:
    """Return what cameras of one lane have in common."""
    if camera.trigger.mode == "every-frame":
        return f"source {camera.source}"
    return f"trigger {camera.trigger.name}"


def _lane(cameras: Sequence[Camera]) -> Lane:
    first = cameras[0]
    for other in cameras[1:]:
        if other.trigger != first.trigger:
            raise ValueError(
                f'cameras "{first.name}" and "{other.name}" share a trigger, and its settings '
                "differ"
            )
    sources: dict[str, list[Camera]] = {}
    for camera in cameras:
        sources.setdefault(camera.source, []).append(camera)
    each_frame = first.trigger.mode == "every-frame"
    for address in sources:
        if address.startswith(WATCHED) and not each_frame:
            raise ValueError(
                f'camera "{first.name}": a watched folder makes a part of each picture, its '
                "trigger mode is every-frame"
            )
    return Lane(
        first.name if each_frame else first.trigger.name,
        first.trigger,
        tuple(SharedSource(address, tuple(served)) for address, served in sources.items()),
    )


def _check_sources(cameras: Sequence[Camera]) -> None:
    """Refuse a source that would have to be opened twice."""
    first: dict[str, Camera] = {}
    for camera in cameras:
        other = first.setdefault(camera.source, camera)
        if _key(other) != _key(camera):
            raise ValueError(
                f'cameras "{other.name}" and "{camera.name}" have one source and two triggers'
            )
