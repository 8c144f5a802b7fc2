"""Recipes in files of their own: a folder in place of the list."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from zeroline.edge_app.configuration.yaml_places import Document, read_text, read_yaml
from zeroline.edge_app.errors import InputError


def with_recipes(document: Document, folder: Path) -> tuple[Document, Path | None]:
    """Return a station's document with the recipes of its folder, and that folder.

    ``recipes: recipes/`` stands for the files ``<name>.yaml`` in it, one recipe each. The document
    is returned as it is where its recipes are a list.

    Parameters
    ----------
    document : Document
    folder : Path
        That the station's file lies in.

    Raises
    ------
    InputError
        If there is no such folder, or a file in it is no YAML.
    """
    values = document.values
    named = values.get("recipes") if isinstance(values, dict) else None
    if not isinstance(named, str):
        return document, None
    place = folder / named
    if not place.is_dir():
        raise InputError(f'recipes "{named}": there is no folder of that name beside the file')
    recipes: dict[str, Any] = {}
    lines = {key: line for key, line in document.lines.items() if key[:1] != ("recipes",)}
    files = dict(document.files)
    for path in sorted(place.glob("*.yaml")):
        found = read_yaml(read_text(path, what="recipe"), name=str(path))
        recipes[path.stem] = {} if found.values is None else found.values
        inside = ("recipes", path.stem)
        files[inside] = str(path)
        lines |= {inside + key: line for key, line in found.lines.items()}
    whole = replace(document, values={**values, "recipes": recipes}, lines=lines, files=files)
    return whole, place
