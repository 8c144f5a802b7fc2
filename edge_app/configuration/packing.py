"""A station's file with what it names, in one file: what another machine needs."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

from zeroline.edge_app.configuration.models import Station
from zeroline.edge_app.configuration.reading import StationFile
from zeroline.edge_app.configuration.secrets import secrets_in
from zeroline.edge_app.configuration.versions import FILES
from zeroline.edge_app.errors import InputError
from zeroline.edge_app.writing import exists_already, whole_file
from zeroline.runtime.network.open import bundled_names


def write_pack(found: StationFile, path: Path) -> list[Path]:
    """Write a tar file of all that a station's file names; return the paths.

    Names in it are absolute, without the first slash. What a link leads to is taken.

    Raises
    ------
    OutputError
        If there is such a file already, or it cannot be written; then there is none.
    InputError
        If a file cannot be read.
    """
    if path.exists():
        raise exists_already(path)
    paths = _named_files(found)
    with (
        whole_file(path, "wb") as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT, dereference=True) as pack,
    ):
        for one in paths:
            _add(pack, one)
    return paths


def _add(pack: tarfile.TarFile, path: Path) -> None:
    try:
        pack.add(path, str(path).lstrip("/"))
    except (FileNotFoundError, PermissionError) as error:
        raise InputError(f'"{error.filename}" cannot be read: {error.strerror}') from error


def _named_files(found: StationFile) -> list[Path]:
    """Return a station's file and what it names, each once, by absolute paths.

    Recipes, reference sets, masks, taught pictures, framings, and folders of bundles. Not its data
    folder, not what a camera reads, and no secrets.
    """
    folder = found.path.absolute().parent
    paths = [found.path.absolute()]
    paths += [folder / name for name in found.document.files.values()]
    for recipe in found.station.recipes.values():
        paths += [path for name in FILES if (path := getattr(recipe, name)) is not None]
        if recipe.model not in bundled_names():
            paths.append(Path(recipe.model))
    # a link keeps its name
    return list(dict.fromkeys(Path(os.path.abspath(path)) for path in paths))  # noqa: PTH100


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
