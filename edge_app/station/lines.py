"""A camera's line: its recipe opened, with bundle, framing and window."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zeroline.edge_app.configuration.models import Recipe, Station
from zeroline.edge_app.configuration.versions import RecipeVersion, version_of
from zeroline.edge_app.events import Events, events_of_reference
from zeroline.edge_app.memory import check_window, memory_teller
from zeroline.edge_app.settings.framing import FramingOptions
from zeroline.runtime.line.inspector import RollingInspector
from zeroline.runtime.reference.files import read_reference

if TYPE_CHECKING:
    from zeroline.runtime.framing.framing import Framing
    from zeroline.runtime.network.manifest import Manifest
    from zeroline.runtime.network.model import Bundle

#: Height and width of a camera's frames; None where none has come.
Size = tuple[int, int] | None


@dataclass(frozen=True, eq=False)
class CameraLine:
    """What one camera's frames are judged by.

    Attributes
    ----------
    camera : str
    recipe : str
        Its name.
    settings : Recipe
    version : RecipeVersion
    bundle : Bundle
    framing : Framing
        What of a frame is looked at.
    inspector : RollingInspector
        The window.
    """

    camera: str
    recipe: str
    settings: Recipe
    version: RecipeVersion
    bundle: Bundle
    framing: Framing
    inspector: RollingInspector

    @property
    def memory(self) -> int:
        """Bytes of its window."""
        return self.inspector.memory.all


class Lines:
    """Opens recipes; cameras with one bundle share its session. A context manager.

    Parameters
    ----------
    station : Station
    events : Events
        Is told of reference sets that look bad.
    tell : callable
        Takes each line for people, at the start.
    named : collection of str
        Cameras whose parts have names: each enters the window, whatever it is like.
    """

    def __init__(
        self,
        station: Station,
        *,
        events: Events,
        tell: Callable[[str], None],
        named: Collection[str] = (),
    ) -> None:
        self._station, self._events, self._tell, self._named = station, events, tell, named
        self._bundles: dict[str, Bundle] = {}

    def opened(
        self, camera: str, recipe: str, *, size: Callable[[], Size], waits: bool
    ) -> CameraLine:
        """Open a recipe for a camera.

        Parameters
        ----------
        camera, recipe : str
            Their names.
        size : callable
            Gives the size of the camera's frames, where the framing needs it.
        waits : bool
            Whether frames wait for a search that is not ready: those of files do.
        """
        settings = self._station.recipe(recipe)
        options = self._station.options(settings)
        starting = time.monotonic()
        bundle = self._bundles.get(settings.model)
        first = bundle is None
        if bundle is None:
            # frames come one by one: all cores for each (36 ms a frame instead of 43 on two)
            bundle = options.open_bundle(threads=self._station.threads)
            self._bundles[settings.model] = bundle
        framing = _framing(settings.framed(), settings.reference, size, bundle.manifest)
        chosen = options.rolling(bundle, framing)
        check_window(
            bundle,
            settings.window,
            degrees=chosen["degrees"],
            tiles=framing.tiles,
            searches=options.codegraph,
        )
        inspector = RollingInspector(
            bundle,
            window=settings.window,
            min_window=settings.min_window,
            band=settings.band,
            exclusion=settings.exclusion,
            settle=settings.settle,
            admit_copies=camera in self._named,
            wait_for_search=waits,
            tell_memory=memory_teller(bundle, settings.window, tell=self._tell),
            **chosen,
        )
        line = CameraLine(
            camera, recipe, settings, version_of(settings, bundle), bundle, framing, inspector
        )
        try:
            self._tell_line(line, seconds=time.monotonic() - starting, first=first)
            if settings.reference is not None:
                self._load_reference(line, settings.reference)
        except BaseException:
            inspector.close()
            raise
        return line

    def close(self) -> None:
        """Close the bundles."""
        for bundle in self._bundles.values():
            bundle.close()
        self._bundles.clear()

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _tell_line(self, line: CameraLine, *, seconds: float, first: bool) -> None:
        shape = line.inspector.shape
        self._tell(
            f"window of {line.settings.window} frames, {shape.memory / 2**20:.0f} MiB, matched by "
            f"{shape.form}"
        )
        device = line.bundle.session.device
        if device != "cpu" and first:
            self._tell(f"started on {device} in {seconds:.1f} s")
        if line.framing.is_tiled:
            for text in _tile_lines(line, self._station):
                self._tell(text)

    def _load_reference(self, line: CameraLine, reference: Path) -> None:
        """Load a reference set, and tell what came of it."""
        loaded = line.inspector.load_reference(reference)
        self._tell(f'{loaded} from "{reference}"')
        if loaded.unused:
            self._tell(
                f"the newest {loaded.frames} stay in the window: a quarter of its "
                f"{line.settings.window} slots is free for the line"
            )
        for event in events_of_reference(str(reference), loaded):
            self._events(event)


def _framing(
    framed: FramingOptions,
    reference: Path | None,
    size: Callable[[], Size],
    manifest: Manifest,
) -> Framing:
    """Return what of a frame is looked at: by the options, or as a reference set was made."""
    kept = None if reference is None else read_reference(reference).framing
    if kept is not None and (framed.is_plain or framed.only_aligns(kept)):
        return kept
    return framed.opened(size, manifest)


def _tile_lines(line: CameraLine, station: Station) -> list[str]:
    """Return what tiles cost."""
    from zeroline.edge_app.tiles import tile_cost
    from zeroline.runtime.framing.framer import Framer

    shape = line.inspector.shape
    cost = tile_cost(
        line.bundle,
        Framer(line.framing, line.bundle.manifest.input, patches=line.bundle.patches),
        frames=shape.capacity,
        degrees=shape.degrees,
        matching=line.settings.matching,
        threads=station.threads,
        one_way=True,
    )
    return list(cost.lines(shape.memory + line.inspector.memory.tokens))
