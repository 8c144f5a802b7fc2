"""The public face of the run-time: every name documented, every example true, every field told."""

from __future__ import annotations

import dataclasses
import doctest
import enum
import inspect
import re

import pytest

import zeroline.runtime
from zeroline.runtime import ZerolineError

NAMES = zeroline.runtime.__all__
VALUES = {name: getattr(zeroline.runtime, name) for name in NAMES}


def is_error(value):
    return inspect.isclass(value) and issubclass(value, ZerolineError | Warning)


EXPLAINED = [name for name, value in VALUES.items() if not is_error(value)]


def section(value, title):
    """The text of a numpydoc section of a docstring, empty where there is none."""
    text = inspect.getdoc(value) or ""
    found = re.search(rf"^{title}\n-+\n(.*?)(?=^\w[\w ]*\n-+\n|\Z)", text, re.M | re.S)
    return found[1] if found else ""


@pytest.mark.parametrize("name", EXPLAINED)
def test_every_public_name_has_an_example_that_runs(name):
    value = VALUES[name]
    assert ">>>" in section(value, "Examples"), f"{name} has no example"
    examples = doctest.DocTestFinder(recurse=False).find(
        value, name, globs={key: VALUES[key] for key in NAMES}
    )
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    output: list[str] = []
    for example in examples:
        runner.run(example, out=output.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(output)


@pytest.mark.parametrize(
    "name", [name for name in EXPLAINED if dataclasses.is_dataclass(VALUES[name])]
)
def test_every_field_is_described(name):
    attributes = section(VALUES[name], "Attributes")
    described: set[str] = set()
    for names, text in re.findall(r"^(\w[\w, ]*?) : .*\n((?: +.*\n?)*)", attributes, re.M):
        if text.strip():
            described |= {part.strip() for part in names.split(",")}
    fields = {field.name for field in dataclasses.fields(VALUES[name])}
    assert fields <= described, f"{name}: {fields - described} not described"


@pytest.mark.parametrize(
    "name", [n for n in EXPLAINED if inspect.isfunction(VALUES[n]) or n == "RollingInspector"]
)
def test_what_is_raised_is_said(name):
    value = VALUES[name]
    source = inspect.getsource(value)
    if re.search(r"^ +raise ", source, re.M):
        assert section(value, "Raises"), f"{name} raises, and does not say so"


@pytest.mark.parametrize(
    "name",
    [n for n in EXPLAINED if inspect.isclass(VALUES[n]) and issubclass(VALUES[n], enum.Enum)],
)
def test_every_member_is_described(name):
    attributes = section(VALUES[name], "Attributes")
    for member in VALUES[name]:
        assert re.search(rf"\b{member.name}\b", attributes), member


def test_public_signatures_name_their_types():
    for name in EXPLAINED:
        if inspect.isfunction(VALUES[name]):
            for parameter in inspect.signature(VALUES[name]).parameters.values():
                assert parameter.annotation not in ("Any", inspect.Parameter.empty), (
                    name,
                    parameter.name,
                )
            assert inspect.signature(VALUES[name]).return_annotation != "Any", name
