"""The images: the Dockerfile and the compose file fit each other, the program and the pages."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest
import yaml

from support.machine import ROOT
from zeroline.edge_app.cli import main
from zeroline.edge_app.commands.run import run
from zeroline.edge_app.configuration.models import Page

DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "Dockerfile").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def compose() -> Any:
    return yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))


def stages() -> list[str]:
    return re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.M)


def test_hadolint_finds_nothing():
    """Not in the extra dev: its wheel is under the GPL-3. `make docker-lint` brings it."""
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not here: make docker-lint")
    done = subprocess.run(
        [hadolint, DOCKER / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_a_stage_is_made_of_stages_that_come_before_it():
    known: set[str] = set()
    for line in DOCKERFILE.splitlines():
        for source in re.findall(r"(?:--from=|from=)([\w-]+)", line):
            assert source in known, line
        if match := re.match(r"FROM (\S+) AS (\S+)", line):
            assert match[1].startswith("${") or match[1] in known, line
            known.add(match[2])


def test_no_layer_is_made_of_what_is_only_mounted():
    """buildah 1.28 kept the layer of a mounted wheel: a second build had the code of the first."""
    assert "--mount" not in re.sub(r"^#.*$", "", DOCKERFILE, flags=re.M)


def test_extras_of_the_images_exist():
    declared = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    named = re.findall(r'"\.\[([\w,-]+)\]"', DOCKERFILE) + re.findall(r"EXTRAS=(\S+)", DOCKERFILE)
    assert len(named) == 3
    for extra in {extra for names in named for extra in names.split(",")}:
        assert re.search(rf"^{extra} = \[", declared, re.M), extra


def test_no_image_brings_pytorch_and_the_jetson_keeps_its_opencv():
    declared = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for extra in ("cpu", "cuda13", "jetpack6", "app", "app-no-opencv"):
        match = re.search(rf"^{re.escape(extra)} = (\[.*?\])$", declared, re.M | re.S)
        assert match, extra
        assert "torch" not in match[1]
        assert ("opencv-python" in match[1]) == (extra == "app")
    (jetson,) = re.findall(r"EXTRAS=(\S+)", DOCKERFILE)
    assert "app" not in jetson.split(",")


def test_images_run_a_command_that_exists_without_rights():
    targets = {"cpu", "cuda", "jetson"}
    assert targets < set(stages())
    for target in targets:
        body = re.search(rf"^FROM \S+ AS {target}\n(.*?)(?=^FROM|\Z)", DOCKERFILE, re.M | re.S)
        assert body
        lines = [line for line in body[1].splitlines() if line and not line.startswith("#")]
        assert lines[-1] == "USER 10001:10001"
        head = re.search(rf"^# === {target}: .*\n((?:#.*\n)+)FROM", DOCKERFILE, re.M)
        assert head
        assert re.search(r"^# (Proven on|Not proven)", head[1], re.M)
    (entry,) = set(re.findall(r"^ENTRYPOINT (.*)$", DOCKERFILE, re.M))
    (words,) = set(re.findall(r"^CMD (\[.*\])$", DOCKERFILE, re.M))
    assert yaml.safe_load(entry) == ["tini", "--", "zeroline"]
    command, _file, *options = yaml.safe_load(words)
    assert command in main.list_commands(None)  # type: ignore[arg-type]
    known = {option for parameter in run.params for option in parameter.opts}
    assert {word for word in options if word.startswith("--")} <= known


def test_the_health_check_asks_where_a_station_listens():
    checks = re.findall(r"urlopen\('(http://[^']*)'", DOCKERFILE)
    assert set(checks) == {f"http://{Page().listen}/healthz"}
    assert len(checks) == 2


def test_the_compose_file_names_what_the_images_have(compose: Any) -> None:
    assert set(compose["services"]) == {"cpu", "cuda", "jetson"}
    made = re.search(r"install --directory .* (/station /data /cache)$", DOCKERFILE, re.M)
    assert made
    for name, service in compose["services"].items():
        assert service["build"] == {
            "context": "..", "dockerfile": "docker/Dockerfile", "target": name,
        }  # fmt: skip
        assert service["image"] == f"zeroline:{name}"
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["network_mode"] == "host"
        inside = {volume.split(":")[1] for volume in service["volumes"]}
        assert inside == {*made[1].split(), "/bundles"}
        named = {v.split(":")[0] for v in service["volumes"] if not v.startswith(".")}
        assert named == set(compose["volumes"])


def test_the_compose_files_variables_are_on_the_page(compose: Any) -> None:
    page = (DOCKER / "README.md").read_text(encoding="utf-8")
    text = (DOCKER / "compose.yaml").read_text(encoding="utf-8")
    variables = set(re.findall(r"\$\{(\w+)", text))
    assert variables
    assert all(f"`{name}" in page for name in variables)
    assert all(f"`{argument}`" in page for argument in re.findall(r"^ARG (\w+)", DOCKERFILE, re.M))


def test_what_is_copied_is_in_the_context():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = {line[1:] for line in ignored if line.startswith("!")}
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.M):
        for source in sources.split():
            assert source == "." or source in let_in, source
    assert all((ROOT / name).exists() for name in let_in)
