"""A station's file, read and checked whole: all errors at once, each with its line."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from zeroline.edge_app.configuration.allowed import allowed, keys_at, schema_at
from zeroline.edge_app.configuration.models import Recipe, Station
from zeroline.edge_app.configuration.outputs import Output
from zeroline.edge_app.configuration.recipe_folder import with_recipes
from zeroline.edge_app.configuration.secrets import has_secret, with_secrets
from zeroline.edge_app.configuration.variables import Variables
from zeroline.edge_app.configuration.versions import FILES
from zeroline.edge_app.configuration.yaml_places import Document, Place, read_text, read_yaml
from zeroline.edge_app.errors import InputError
from zeroline.edge_app.passwords import without_password
from zeroline.edge_app.sources.watched import SCHEME as WATCHED
from zeroline.runtime.network.open import bundled_names

#: Where a value comes from that is in no file.
BY_COMMAND, BY_DEFAULT = "the command line", "default"


class ConfigurationError(InputError):
    """A station's file that is not as it must be.

    Attributes
    ----------
    problems : tuple of str
        One line for each.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        more = len(self.problems) - 1
        rest = f" (and {more} more: zeroline config check shows all)" if more else ""
        super().__init__(f"{self.problems[0]}{rest}")


@dataclass(frozen=True)
class StationFile:
    """A station's file that holds.

    Attributes
    ----------
    path : Path
    station : Station
        Secrets in their places, all paths absolute. To be shown by no one: see `written`.
    written : Station
        As it is written.
    document : Document
    commanded : frozenset of Place
        What the command line has set.
    variables : dict
        Those that the environment lacks, from NAME.env. To be shown by no one.
    """

    path: Path
    station: Station
    written: Station
    document: Document
    commanded: frozenset[Place]
    variables: dict[str, str] = field(default_factory=dict, repr=False)

    def origin(self, place: Place) -> str:
        """Return where the value of a setting comes from."""
        if any(place[: len(one)] == one for one in self.commanded):
            return BY_COMMAND
        line, file = self.document.lines.get(place), self.document.file_of(place)
        if line is None:
            return BY_DEFAULT
        return f"line {line}" if file is None else f"{Path(file).name}, line {line}"


def read_station(
    path: Path,
    *,
    changes: Sequence[str] = (),
    data: Path | None = None,
    secrets: bool = True,
) -> StationFile:
    """Read a station's file.

    Parameters
    ----------
    path : Path
    changes : sequence of str
        KEY=VALUE, such as ``recipes.default.window=32``; they go before what the file says.
    data : Path, optional
        The data folder, in place of the file's.
    secrets : bool
        Whether they are looked up; without, they may be missing, and their names stand for them.

    Raises
    ------
    ConfigurationError
        If anything is wrong with it; has all problems.
    InputError
        If it cannot be read, or is no YAML.
    """
    document = read_yaml(read_text(path), name=str(path))
    if not isinstance(document.values, dict):
        raise InputError(f'configuration "{path}": keys with values are expected, see config init')
    folder = path.absolute().parent
    document, recipes = with_recipes(document, folder)
    values = json.loads(json.dumps(document.values, default=str))
    commanded = [_change(values, change) for change in changes]
    if data is not None:
        values["data"] = str(data.absolute())
        commanded.append(("data",))
    places = frozenset(commanded)
    problems: list[str] = []
    variables = Variables(path)

    def name_of(place: Place) -> str:
        if place in places:
            return BY_COMMAND
        line, file = document.line_of(place), document.file_of(place) or path
        return f"{file}:{line}" if line is not None else str(file)

    resolved = json.loads(json.dumps(values))
    for place, source in _sources(values) if secrets else ():
        text, trouble = _with_secrets(source, folder, variables)
        group, number, key = place
        resolved[group][number][key] = text
        if trouble:
            problems.append(f"{name_of(place)}: {dotted(place)} is {source}: {trouble}")
    checked = None
    try:
        checked = Station.model_validate(resolved)
    except ValidationError as error:
        problems += [_problem(told, values, name_of) for told in _without_echoes(error.errors())]
    if checked is None or problems:
        raise ConfigurationError(sorted(problems, key=_place_in_file))
    written = Station.model_validate(values)
    found = StationFile(
        path, _placed(checked, folder, recipes or folder), written, document, places,
        variables.taken,
    )  # fmt: skip
    problems = [
        *_wrong_words(written, name_of),
        *(_missing_variables(written, name_of, variables) if secrets else ()),
        *_missing_files(found, name_of),
    ]
    if problems:
        raise ConfigurationError(sorted(problems, key=_place_in_file))
    return found


def _place_in_file(problem: str) -> tuple[str, int]:
    """Return file and line that a problem begins with; those without a line come first."""
    found = re.match(r"(.*?):(\d+): ", problem)
    return (found[1], int(found[2])) if found else ("", 0)


def dotted(place: Place) -> str:
    """Return a place as people write it: cameras[0].source."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in place]
    return "".join(parts).removeprefix(".") or "the file"


#: Addresses in which a secret may stand.
_ADDRESSES = {"cameras": "source", "outputs": "url"}


def _sources(values: Mapping[str, Any]) -> list[tuple[Place, str]]:
    """Return the addresses that name a secret, each with its place."""
    found: list[tuple[Place, str]] = []
    for group, key in _ADDRESSES.items():
        entries = values.get(group)
        for number, entry in enumerate(entries if isinstance(entries, list) else ()):
            address = entry.get(key) if isinstance(entry, dict) else None
            if isinstance(address, str) and has_secret(address):
                found.append(((group, number, key), address))
    return found


def _with_secrets(written: str, folder: Path, variables: Variables) -> tuple[str, str]:
    """Return a text with its secrets, and what is wrong with one."""
    if has_secret(without_password(written)):
        return written, "a secret stands where it would be shown: only as a password or a key"
    try:
        return with_secrets(written, folder=folder, variables=variables), ""
    except ValueError as error:
        return written, str(error)


def _change(values: dict[str, Any], change: str) -> Place:
    """Set KEY=VALUE in the values of a file; return its place."""
    key, equals, text = change.partition("=")
    if not equals or not key:
        raise InputError(
            f'--set "{change}": KEY=VALUE is expected, such as recipes.default.window=32'
        )
    place = tuple(int(part) if part.isdigit() else part for part in key.split("."))
    value = read_yaml(text, name=f"--set {key}").values
    inside: Any = values
    for part, following in pairwise(place):
        if isinstance(part, int):
            if not isinstance(inside, list) or part >= len(inside):
                raise InputError(f'--set "{change}": there is no {part} in the list')
        elif isinstance(inside, dict):
            inside.setdefault(part, [] if isinstance(following, int) else {})
        else:
            raise InputError(f'--set "{change}": "{part}" has no keys')
        inside = inside[part]
    last = place[-1]
    in_list = isinstance(last, int) and isinstance(inside, list) and last < len(inside)
    if not in_list and not (isinstance(last, str) and isinstance(inside, dict)):
        raise InputError(f'--set "{change}": there is no such key')
    inside[last] = value
    return place


def _without_echoes(errors: Sequence[Any]) -> list[Any]:
    """Leave out errors that follow from others.

    A list is too short where its entries are wrong, since they were not counted. A setting is
    missing where its name is misspelt.
    """
    meant = {
        (*one["loc"][:-1], near)
        for one in errors
        if one["type"] == "extra_forbidden"
        for near in _near(one["loc"])
    }

    def follows(told: Any) -> bool:
        place = told["loc"]
        if told["type"] == "missing":
            return place in meant
        inner = (one["loc"] for one in errors if one["loc"] != place)
        return told["type"] == "too_short" and any(p[: len(place)] == place for p in inner)

    return [told for told in errors if not follows(told)]


def _near(place: Place) -> list[str]:
    """Return the known key that an unknown one is most like; none where it is like none."""
    return difflib.get_close_matches(str(place[-1]), keys_at(place[:-1]), n=1)


def _problem(told: Mapping[str, Any], values: Any, name_of: Any) -> str:
    """Return one error of pydantic's as a line: place, value, what is allowed."""
    kinds = ("json_lines", "pictures", "webhook")
    whole: Place = tuple(told["loc"])
    place = tuple(part for part in whole if part not in kinds or whole[:1] != ("outputs",))
    place = tuple(part for part in place if part != "[key]")
    place += getattr(told.get("ctx", {}).get("error"), "place", ())
    shown, kind = dotted(place), told["type"]
    where = name_of(place)
    schema = schema_at(whole) or {}
    if kind == "extra_forbidden":
        near = _near(whole)
        known = ", ".join(keys_at(whole[:-1]))
        hint = f'did you mean "{near[0]}"?' if near else f"known are {known}"
        return f"{where}: {shown} is no setting: {hint}"
    if kind == "missing":
        what = str(schema.get("description", "it is needed")).partition(". ")[0].rstrip(".")
        return f"{where}: {shown} is missing: {what}"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        place = (*place, "kind")
        given = "missing" if kind == "union_tag_not_found" else f"{_value_at(values, place)}"
        limit = f"{', '.join(kinds[:-1])} or {kinds[-1]} is allowed"
        return f"{name_of(place)}: {dotted(place)} is {given}: {limit}"
    value = _value_at(values, place)
    text = without_password(value) if isinstance(value, str) else json.dumps(value)
    if isinstance(value, str) and re.fullmatch(r"[-+]?[0-9.]+", value):
        text = f'"{value}"'  # text that looks like a number
    if kind == "value_error":
        reason = str(told["msg"]).removeprefix("Value error, ")
        return f"{where}: {shown}: {reason}"  # it names the value
    limit = f"{allowed(schema)} is allowed" if allowed(schema) else str(told["msg"])
    return f"{where}: {shown} is {text}: {limit}"


def _value_at(values: Any, place: Place) -> Any:
    try:
        for part in place:
            values = values[part]
    except (KeyError, IndexError, TypeError):
        return None
    return values


def _placed(station: Station, folder: Path, of_recipes: Path) -> Station:
    """Return a station whose paths are absolute; those of recipes are relative to `of_recipes`."""
    data = folder / station.data
    recipes = {name: _placed_recipe(one, of_recipes) for name, one in station.recipes.items()}
    cameras = tuple(
        camera.model_copy(update={"source": _placed_source(camera.source, folder)})
        for camera in station.cameras
    )
    outputs = tuple(_placed_output(output, folder, data) for output in station.outputs)
    return station.model_copy(
        update={
            "data": data,
            "recipes": recipes,
            "cameras": cameras,
            "outputs": outputs,
        }
    )


def _placed_output(output: Output, folder: Path, data: Path) -> Output:
    """Return an output whose paths are absolute; what it writes lies in the data folder."""
    update = {}
    for name, below in (("path", data), ("folder", data), ("secret_file", folder)):
        given = getattr(output, name, None)
        if given is not None:
            update[name] = below / given
    return output.model_copy(update=update)


def _placed_source(source: str, folder: Path) -> str:
    """Return an address whose path, where it is one, is absolute."""
    if source.startswith(WATCHED):
        return f"{WATCHED}{folder / source.removeprefix(WATCHED)}"
    near = folder / source
    there = len(source) < 4096 and "\0" not in source and near.exists()
    return str(near) if there else source


def _placed_recipe(recipe: Recipe, folder: Path) -> Recipe:
    update: dict[str, Any] = {
        name: folder / getattr(recipe, name) for name in FILES if getattr(recipe, name) is not None
    }
    if "model" in recipe.model_fields_set and recipe.model not in bundled_names():
        update["model"] = str(folder / recipe.model)
    return recipe.model_copy(update=update)


def _wrong_words(written: Station, name_of: Any) -> list[str]:
    """Return a line for each source whose address has a word that is no setting of it."""
    problems = []
    for number, camera in enumerate(written.cameras):
        trouble = _trouble(camera.source)
        if trouble:
            place: Place = ("cameras", number, "source")
            problems.append(f"{name_of(place)}: {dotted(place)}: {trouble}")
    return problems


def _trouble(address: str) -> str:
    from zeroline.edge_app.sources.address import check_words

    try:
        check_words(address)
    except InputError as error:
        return str(error)
    return ""


def _missing_variables(written: Station, name_of: Any, variables: Variables) -> list[str]:
    """Return a line for each variable with a webhook's secret that is not there."""
    problems = []
    for number, output in enumerate(written.outputs):
        name = output.secret_env if output.kind == "webhook" else None
        try:
            _ = name is None or variables[name]
        except KeyError:
            place: Place = ("outputs", number, "secret_env")
            text = f"{dotted(place)} is {name}: the environment has no such variable"
            problems.append(f"{name_of(place)}: {text}{variables.why}")
    return problems


def _missing_files(found: StationFile, name_of: Any) -> list[str]:
    """Return a line for each file that a recipe names and that is not there."""
    problems = []
    for name, recipe in found.station.recipes.items():
        for key in (*FILES, "model"):
            place = ("recipes", name, key)
            value = getattr(recipe, key)
            if value is None or (key == "model" and value in bundled_names()):
                continue
            there = Path(value).is_dir() if key == "model" else Path(value).is_file()
            if not there:
                what = (
                    "no folder of a bundle, and no bundled model" if key == "model" else "no file"
                )
                text = f"{name_of(place)}: {dotted(place)} is {value}: there is {what}"
                problems.append(text)
    return problems
