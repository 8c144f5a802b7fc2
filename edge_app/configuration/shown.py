"""A station's file as text: a new one with all that can be set, and one's effective values."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from zeroline.edge_app.configuration.allowed import Schema, allowed, schema_at
from zeroline.edge_app.configuration.models import Station
from zeroline.edge_app.configuration.reading import BY_COMMAND, StationFile
from zeroline.edge_app.configuration.yaml_places import Place
from zeroline.edge_app.passwords import without_password

_HEAD = """\
# A station of zeroline: from the frames of its cameras to verdicts.
#   zeroline config check FILE   looks for errors
#   zeroline run FILE            starts it
# What stands behind # is the default. Paths are relative to this file, those of outputs to the
# data folder.
"""
_EXAMPLES = {("station",): "press-4", ("cameras", 0, "source"): "sim://parts?parts=60"}
_WIDTH = 96
#: Settings of a station that have one value, and those that are groups.
_GROUPS = ("storage", "page")
_OF_STATION = tuple(
    key for key in Station.model_fields if key not in (*_GROUPS, "cameras", "recipes", "outputs")
)


def new_file() -> str:
    """Return a commented file to begin with; it can be run."""
    lines = [_HEAD.rstrip()]
    for key in _OF_STATION:
        lines += ["", *_setting((key,), "")]
    lines += ["", "cameras:", "  -"]
    for key in ("name", "source", "recipe"):
        lines += _setting(("cameras", 0, key), "    ")
    lines += _group(("cameras", 0, "trigger"), "    ")
    lines += ["", "recipes:", "  default:", "    model: tiny"]
    for key in (schema_at(("recipes", "default")) or {})["properties"]:
        if key != "model":
            lines += _setting(("recipes", "default", key), "    ")
    lines += [
        "", "outputs:", "  # One JSON line for each frame, revision, alarm and event.",
        "  - kind: json_lines", "    path: verdicts.jsonl",
        "  # Overlays, and pictures of recurring defects.", "  - kind: pictures",
        "    folder: overlays",
    ]  # fmt: skip
    for key in ("draw", "keep"):
        lines += _setting(("outputs", 0, "pictures", key), "    ")
    lines += ["  # One HTTP POST for each message:", "  # - kind: webhook"]
    for key in (schema_at(("outputs", 0, "webhook")) or {})["properties"]:
        if key != "kind":
            lines += _setting(("outputs", 0, "webhook", key), "  #   ")
    for key in _GROUPS:
        lines += ["", *_group((key,), "")]
    return "\n".join(lines) + "\n"


def _group(place: Place, indent: str) -> list[str]:
    """Return the lines of settings that belong together; one of them has its default."""
    keys = list((schema_at(place) or {})["properties"])
    lines = [f"{indent}{place[-1]}:"]
    for number, key in enumerate(keys):
        inner = _setting((*place, key), f"{indent}  ")
        if not number:  # a group without a value would be none
            inner[-1] = inner[-1].replace("# ", "", 1)
        lines += inner
    return lines


def _setting(place: Place, indent: str) -> list[str]:
    """Return the lines of one setting: what it is, what is allowed, its default or an example."""
    schema = schema_at(place) or {}
    text = str(schema.get("description", ""))
    bound = allowed(schema)
    if "maximum" in schema or "enum" in schema or schema.get("type") == "boolean":
        text = f"{text} Allowed: {bound}."
    room = _WIDTH - len(indent) - 2
    comments = [f"{indent}# {line}" for line in textwrap.wrap(text, room)]
    if place in _EXAMPLES:
        return [*comments, f"{indent}{place[-1]}: {_EXAMPLES[place]}"]
    return [*comments, f"{indent}# {place[-1]}: {_default(str(place[-1]), schema)}".rstrip()]


#: Settings whose empty value has a word.
_WORDS = {"threshold": "auto"}


def _default(key: str, schema: Schema) -> str:
    value = schema.get("default")
    return _WORDS.get(key, "") if value is None else _written(value)


def effective(file: StationFile) -> Iterator[str]:
    """Yield the lines of the effective values, each with where it comes from.

    Secrets and passwords are not shown.
    """
    station = file.written
    recipes = {camera.recipe: station.recipe_of(camera) for camera in station.cameras}
    for key in _OF_STATION:
        yield _line(key, getattr(station, key), "", file.origin((key,)))
    yield "cameras:"
    for number, camera in enumerate(station.cameras):
        for first, key in enumerate(("name", "source", "recipe")):
            value = getattr(camera, key)
            value = without_password(value) if key == "source" else value
            indent = "    " if first else "  - "
            yield _line(key, value, indent, file.origin(("cameras", number, key)))
        yield from _group_lines(file, ("cameras", number, "trigger"), camera.trigger, "    ")
    yield "recipes:"
    for name, recipe in recipes.items():
        yield f"  {name}:"
        for key in type(recipe).model_fields:
            own = file.origin(("recipes", name, key))
            inherited = file.origin(("recipes", "default", key))
            origin = own if key in _given(station, name) else inherited
            yield _line(key, _as_written(file, name, key, getattr(recipe, key)), "    ", origin)
    yield "outputs:"
    for number, output in enumerate(station.outputs):
        for first, key in enumerate(type(output).model_fields):
            indent = "    " if first else "  - "
            value = getattr(output, key)
            value = without_password(value) if key == "url" else value
            yield _line(key, value, indent, file.origin(("outputs", number, key)))
    for key in _GROUPS:
        yield from _group_lines(file, (key,), getattr(station, key), "")


def _group_lines(file: StationFile, place: Place, group: BaseModel, indent: str) -> Iterator[str]:
    yield f"{indent}{place[-1]}:"
    for key in type(group).model_fields:
        yield _line(key, getattr(group, key), f"{indent}  ", file.origin((*place, key)))


def _given(station: Station, name: str) -> set[str]:
    return station.recipes[name].model_fields_set if name in station.recipes else set()


def _as_written(file: StationFile, name: str, key: str, value: Any) -> Any:
    """Return a value of a recipe as it is written in the file, where it is."""
    recipes = file.document.values.get("recipes") or {}
    for holder in (name, "default"):
        written = recipes.get(holder) or {}
        if isinstance(written, dict) and key in written:
            if file.origin(("recipes", holder, key)) != BY_COMMAND:
                return written[key]
            return value
    return _WORDS.get(key) if value is None else value


def _line(key: str, value: Any, indent: str, origin: str) -> str:
    return f"{f'{indent}{key}: {_written(value)}':<48} # {origin}"


def _written(value: Any) -> str:
    """Return a value as YAML that reads back as the same."""
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if value is None:
        return "null"
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, list | tuple):
        return json.dumps(value)
    text = str(value)
    plain = text.replace("-", "").replace("_", "").replace(".", "").replace("/", "")
    return (
        text if plain.isalnum() and not plain[0].isdigit() else json.dumps(text, ensure_ascii=False)
    )
