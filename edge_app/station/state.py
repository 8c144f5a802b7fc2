"""Windows on disk: written on a clean stop and now and then, and taken again at a start."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from zeroline.edge_app.errors import OutputError
from zeroline.edge_app.station.lines import CameraLine
from zeroline.edge_app.writing import whole_file
from zeroline.runtime.errors import StateFileError
from zeroline.runtime.line.restarts import WindowSnapshot
from zeroline.runtime.line.room import in_words

_RECIPES = "recipes.json"
#: Seconds from one writing to the next while a station runs.
EVERY = 600.0


class StateFolder:
    """Keeps a file for each camera and recipe.

    Parameters
    ----------
    folder : Path
    tell : callable
        Takes each line for people.
    """

    def __init__(self, folder: Path, *, tell: Callable[[str], None]) -> None:
        self._folder, self._tell = folder, tell
        self._running: dict[str, dict[str, str]] = {}
        with suppress(OSError, ValueError, TypeError, KeyError):
            kept = json.loads((folder / _RECIPES).read_text(encoding="utf-8"))
            self._running = {
                str(camera): {name: str(entry[name]) for name in ("configured", "running")}
                for camera, entry in kept.items()
            }

    def path(self, line: CameraLine) -> Path:
        """Return the file of a line's window."""
        return self._folder / line.camera / f"{line.recipe}.npz"

    def recipe(self, camera: str, configured: str) -> str:
        """Return the recipe that a camera ran last; the file's, where that is another by now."""
        kept = self._running.get(camera)
        return kept["running"] if kept and kept["configured"] == configured else configured

    def runs(self, camera: str, recipe: str, configured: str) -> None:
        """Keep which recipe a camera runs, over a power cut too."""
        entry = {"configured": configured, "running": recipe}
        if self._running.get(camera) == entry or (recipe == configured and not self._running):
            return
        self._running[camera] = entry
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with whole_file(self._folder / _RECIPES) as file:
                json.dump(self._running, file)
        except (OSError, OutputError) as error:
            self._tell(f"warning: which recipe runs could not be kept: {error}")

    def announce(self, line: CameraLine) -> None:
        """Tell how large the file of a full window is."""
        size = in_words(line.inspector.memory.tokens // 2)  # in float16
        self._tell(
            f"the window is kept for the next start: {size}, written at a stop and every "
            f"{EVERY / 60:g} minutes"
        )

    def load(self, line: CameraLine) -> None:
        """Fill a window from its file, if there is one that fits."""
        path = self.path(line)
        if not path.exists():
            return
        try:
            report = line.inspector.load_state(path)
        except StateFileError as error:
            self._tell(f"warning: {error}: the window begins empty")
            return
        self._tell(f"the window goes on with {report} of the last run, unseen by a person")

    def save(self, path: Path, snapshot: WindowSnapshot) -> None:
        """Write a window; one that cannot be written is told."""
        if not snapshot.tokens:
            return
        try:
            snapshot.write(path)
        except StateFileError as error:
            self._tell(f"warning: {error}")
