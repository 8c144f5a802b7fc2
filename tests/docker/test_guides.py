"""The pages on installing: what they tell to type is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from support.machine import ROOT
from zeroline.edge_app.cli import main

PAGES = [ROOT / "docs" / "install.md", ROOT / "docs" / "gpu.md", ROOT / "docker" / "README.md"]
PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")


def typed(page: Path) -> Iterator[str]:
    """Yield each line of a page's code blocks, put together where it goes on."""
    for block in re.findall(r"^ *```\n(.*?)^ *```", page.read_text("utf-8"), re.M | re.S):
        yield from block.replace("\\\n", " ").splitlines()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_extras_exist(page):
    named = {
        extra
        for line in typed(page)
        for group in re.findall(r"\[([a-z\d,-]+)\]\"?", line)
        for extra in group.split(",")
    }
    assert named or page.parent.name == "docker"
    assert all(re.search(rf"^{extra} = \[", PYPROJECT, re.M) for extra in named), named


def test_files_that_are_named_exist():
    for page in PAGES:
        for line in typed(page):
            for name in re.findall(r"\b(constraints\.txt|docker/Dockerfile)\b", line):
                assert (ROOT / name).exists(), line


def test_calls_of_compose_name_a_service_and_a_command():
    services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text("utf-8"))["services"]
    commands = main.list_commands(None)  # type: ignore[arg-type]
    page = (ROOT / "docker" / "README.md").read_text("utf-8")
    run = re.findall(r"docker compose run --rm (\S+) (\S+)", page)
    run += re.findall(r"docker compose exec (\S+) zeroline (\S+?)`", page)
    assert len(run) >= 2
    for service, command in run:
        assert service in services
        assert command in commands
    for service in re.findall(r"--profile (\S+) up", page):
        assert services[service]["profiles"] == [service]


def test_arguments_of_a_build_are_the_dockerfiles():
    text = (ROOT / "docker" / "Dockerfile").read_text("utf-8")
    known = set(re.findall(r"^ARG (\w+)", text, re.M))
    targets = set(re.findall(r"^FROM \S+ AS (\S+)", text, re.M))
    lines = [line for line in typed(ROOT / "docker" / "README.md") if "docker build" in line]
    assert len(lines) >= 2
    for line in lines:
        assert set(re.findall(r"--build-arg (\w+)=", line)) <= known
        assert set(re.findall(r"--target (\S+)", line)) <= targets


def test_licences_are_those_of_the_versions_that_ci_installs():
    """The table is made by docs/make_licences.py; a new pin without it fails here."""
    pinned: dict[str, set[str]] = {}
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
        if match := re.match(r"([\w.-]+)==([^;\s]+)", line):
            pinned.setdefault(match[1], set()).add(match[2])
    page = (ROOT / "docs" / "licences.md").read_text("utf-8")
    rows = re.findall(r"^\| ([\w-]+) \| ([\d., ]+) \| (.+?) \|", page, re.M)
    table = {name: set(versions.split(", ")) for name, versions, _ in rows}
    assert len(table) > 30
    assert {name: pinned.get(name) for name in table} == table
    direct = re.search(r"^dependencies = \[(.*?)^\]", PYPROJECT, re.M | re.S)
    assert direct
    assert set(re.findall(r'"([\w-]+)>=', direct[1])) <= set(table)
    assert all(licence.strip() != "not named" for *_, licence in rows)
