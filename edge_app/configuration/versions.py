"""Versions of recipes: the full text that a verdict rests on, and its hash."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zeroline.edge_app.configuration.models import Recipe

if TYPE_CHECKING:
    from zeroline.runtime.network.model import Bundle

#: Settings that name files: what is in them belongs to the version.
FILES = ("reference", "mask", "taught", "framing")


@dataclass(frozen=True)
class RecipeVersion:
    """A recipe as it ran.

    Attributes
    ----------
    hash : str
        The first 16 digits of the text's SHA-256.
    text : str
        JSON: every setting, hashes of the files that it names and of the network, and the
        program's version.
    """

    hash: str
    text: str


def version_of(recipe: Recipe, bundle: Bundle) -> RecipeVersion:
    """Return the version of a recipe whose bundle is open."""
    values: dict[str, Any] = recipe.model_dump(mode="json")
    values["network"] = bundle.manifest.network
    values["program"] = version("zeroline")
    for name in FILES:
        path = getattr(recipe, name)
        if path is not None:
            values[f"{name}_sha256"] = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    text = json.dumps(values, sort_keys=True)
    return RecipeVersion(hashlib.sha256(text.encode()).hexdigest()[:16], text)
