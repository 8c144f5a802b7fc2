"""What a setting allows, in words, from the schema of the models: for errors and for a new file."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from zeroline.edge_app.configuration.models import Station
from zeroline.edge_app.configuration.yaml_places import Place

Schema = Mapping[str, Any]


@lru_cache(maxsize=1)
def station_schema() -> Schema:
    """Return the JSON schema of a station's file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Station.model_json_schema(),
    }


def schema_at(place: Place) -> Schema | None:
    """Return the schema of a setting; None where there is none.

    `place` may have the kind of an output behind its number, as errors of pydantic have.
    """
    found: Schema | None = station_schema()
    for part in place:
        if found is None:
            return None
        found = _inside(_plain(found), part)
    return None if found is None else _plain(found)


def _plain(schema: Schema) -> Schema:
    """Follow a reference, and leave out that a value may be missing."""
    told = {key: schema[key] for key in ("title", "description", "default") if key in schema}
    for choices in (schema.get("anyOf"),):
        there = [choice for choice in choices or () if choice.get("type") != "null"]
        if len(there) == 1:
            return {**_plain(there[0]), **told}
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return {**_plain(station_schema()["$defs"][name]), **told}
    return schema


def _inside(schema: Schema, part: str | int) -> Schema | None:
    if isinstance(part, int):
        found: Schema | None = schema.get("items")
        return found
    if "discriminator" in schema:
        reference = schema["discriminator"]["mapping"].get(part)
        return None if reference is None else {"$ref": reference}
    known = schema.get("properties", {})
    if part in known:
        inner: Schema = known[part]
        return inner
    more = schema.get("additionalProperties")
    if not more and "patternProperties" in schema:
        more = next(iter(schema["patternProperties"].values()))
    return more if isinstance(more, Mapping) else None


def keys_at(place: Place) -> list[str]:
    """Return the keys that a group of settings knows."""
    schema = schema_at(place)
    return [] if schema is None else list(schema.get("properties", ()))


def allowed(schema: Schema) -> str:
    """Return what a setting allows, in words; empty where its description says all."""
    if "enum" in schema:
        *others, last = map(str, schema["enum"])
        return f"{', '.join(others)} or {last}" if others else last
    words = {
        "integer": _number(schema, "a whole number"),
        "number": _number(schema, "a number"),
        "boolean": "true or false",
        "array": _list(schema),
        "object": "keys with values",
        "string": _text(schema),
    }
    return str(schema["const"]) if "const" in schema else words.get(str(schema.get("type")), "")


def _list(schema: Schema) -> str:
    least, most = schema.get("minItems"), schema.get("maxItems")
    return "a list" if least is None or most is None else f"a list of {least} to {most}"


def _number(schema: Schema, word: str) -> str:
    least = schema.get("exclusiveMinimum", schema.get("minimum"))
    most = schema.get("maximum")
    if least is None or most is None:
        return word
    return f"{word} {'over' if 'exclusiveMinimum' in schema else 'from'} {least:g} to {most:g}"


def _text(schema: Schema) -> str:
    most = schema.get("maxLength")
    if "allowed" in schema:  # where a pattern would say nothing to people
        return str(schema["allowed"])
    if "pattern" in schema and most is not None:
        return f"a name of up to {most} letters, digits, -, _ and ., a letter or digit first,"
    return "a path" if schema.get("format") == "path" else "text"
