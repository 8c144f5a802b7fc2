"""The files that a station's file names: what another machine needs beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from zeroline.edge_app.configuration.models import Station
from zeroline.edge_app.configuration.reading import StationFile
from zeroline.edge_app.configuration.secrets import secrets_in
from zeroline.edge_app.configuration.versions import FILES
from zeroline.runtime.network.open import bundled_names


def named_files(found: StationFile) -> list[Path]:
    """Return a station's file and what it names, each once, by absolute paths.

    Recipes, reference sets, masks, taught pictures, framings, and folders of bundles. Not its data
    folder, not what a camera reads, and no secrets. A link stays a link.
    """
    folder = found.path.absolute().parent
    paths = [found.path.absolute()]
    paths += [folder / name for name in found.document.files.values()]
    for recipe in found.station.recipes.values():
        paths += [path for name in FILES if (path := getattr(recipe, name)) is not None]
        if recipe.model not in bundled_names():
            paths.append(Path(recipe.model))
    return list(dict.fromkeys(Path(os.path.abspath(path)) for path in paths))  # noqa: PTH100 - links


def named_secrets(written: Station) -> list[str]:
    """Return the secrets that a station's file names, as people say it."""
    return list(dict.fromkeys(_secrets(written)))


def _secrets(written: Station) -> Iterator[str]:
    for camera in written.cameras:
        yield from secrets_in(camera.source)
    for output in written.outputs:
        if output.kind != "webhook":
            continue
        yield from secrets_in(output.url)
        if output.secret_env is not None:
            yield f"the variable {output.secret_env}"
        if output.secret_file is not None:
            yield f'the file "{output.secret_file}"'
