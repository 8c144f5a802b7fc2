"""YAML into plain values, and the line on which each stands.

The words are those of YAML 1.2: `off`, `no` and `12:30` are text, where older readers make a
truth value or a number of them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from zeroline.edge_app.errors import InputError

#: From the top of the file to a value: keys, and numbers in lists.
Place: TypeAlias = tuple[str | int, ...]

_CORE = {
    "tag:yaml.org,2002:null": (r"~|null|Null|NULL|", "~nN\0"),
    "tag:yaml.org,2002:bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "tag:yaml.org,2002:int": (r"[-+]?[0-9]+", "-+0123456789"),
    "tag:yaml.org,2002:float": (
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)"
        r"|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
}


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """PyYAML's reader with the words of YAML 1.2."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012 - as its base has it


for _tag, (_pattern, _first) in _CORE.items():
    _Loader.add_implicit_resolver(
        _tag, re.compile(f"^(?:{_pattern})$"), [c if c != "\0" else "" for c in _first]
    )


@dataclass(frozen=True)
class Document:
    """A file that was read.

    Attributes
    ----------
    values : object
        Of dict, list, str, int, float, bool and None.
    lines : dict
        Line of each place, from 1.
    files : dict
        File of each place that has one of its own.
    """

    values: Any
    lines: dict[Place, int] = field(default_factory=dict)
    files: dict[Place, str] = field(default_factory=dict)

    def file_of(self, place: Place) -> str | None:
        """Return the file of its own that a place lies in."""
        return next((f for key, f in self.files.items() if place[: len(key)] == key), None)

    def line_of(self, place: Place) -> int | None:
        """Return the line of a place, or of what it lies in; None of what is not in the file."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place)


def read_text(path: Path, *, what: str = "configuration") -> str:
    """Return the text of a file; InputError where there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f'{what} "{path}": {error.strerror}') from error
    except UnicodeDecodeError as error:
        raise InputError(f'{what} "{path}": it is no UTF-8 text') from error


def read_yaml(text: str, *, name: str) -> Document:
    """Read a document.

    Parameters
    ----------
    text : str
    name : str
        Of the file, for errors.

    Raises
    ------
    InputError
        If it is no YAML, is more than one document, or has a key twice; names the line.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        document = Document(None)
        if node is None:
            return document
        values = _plain(loader, node, (), document.lines, name, frozenset())
        return Document(values, document.lines)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f"{name}:{mark.line + 1}" if mark is not None else name
        problem = error.problem or error.context
        if isinstance(problem, str) and "'\\t'" in problem:
            problem = "a tab: YAML takes spaces alone"
        raise InputError(f"{where}: no YAML: {problem}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{name}: no YAML: {' '.join(str(error).split())}") from error
    finally:
        loader.dispose()


def _plain(
    loader: _Loader,
    node: Any,
    place: Place,
    lines: dict[Place, int],
    name: str,
    above: frozenset[int],
) -> Any:
    line = node.start_mark.line + 1
    lines.setdefault(place, line)
    if id(node) in above:
        raise InputError(f"{name}:{line}: it holds itself, by an alias")
    above = above | {id(node)}
    if isinstance(node, yaml.MappingNode):
        made: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            at = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise InputError(f"{name}:{at}: a key is a word")
            inner = (*place, key)
            if key in made:
                first = lines[inner]
                raise InputError(f'{name}:{at}: "{key}" stands here again, first on line {first}')
            lines[inner] = at
            made[key] = _plain(loader, value_node, inner, lines, name, above)
        return made
    if isinstance(node, yaml.SequenceNode):
        return [
            _plain(loader, child, (*place, number), lines, name, above)
            for number, child in enumerate(node.value)
        ]
    if node.tag == "tag:yaml.org,2002:int" and node.style is None:
        return int(node.value)  # 010 is ten
    return loader.construct_object(node)
