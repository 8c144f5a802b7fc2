"""The package as users get it: names, import time, a wheel on run-time dependencies only."""

import re
import subprocess
import sys
import zipfile

import click
import pytest
from packaging.requirements import Requirement

import zeroline.runtime
from support.machine import ROOT
from zeroline.edge_app.cli import main


def run(*command, **options):
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False, **options
    )


def test_every_public_name_exists_and_is_documented():
    for name in zeroline.runtime.__all__:
        value = getattr(zeroline.runtime, name)
        assert callable(value), name  # never a module of the same name
        assert value.__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        zeroline.runtime.nothing  # noqa: B018


def test_importing_the_runtime_is_light():
    """It once took seconds, when numba came with it."""
    script = (
        "import zeroline.runtime, sys;"
        "heavy = {'torch', 'cupy', 'onnxruntime', 'numba', 'cv2', 'pydantic', 'PIL'};"
        "print(*heavy & set(sys.modules))"
    )
    heavy = run(sys.executable, "-c", script).stdout.split()
    assert heavy == []


def test_layers_import_downwards_only():
    allowed = {
        "runtime": {"runtime"},
        "export": {"runtime", "export"},
        "edge_app": {"runtime", "export", "edge_app"},
    }
    for folder, below in allowed.items():
        for path in (ROOT / folder).rglob("*.py"):
            used = set(re.findall(r"(?:from|import) zeroline\.(\w+)", path.read_text()))
            assert used <= below, path
            if folder != "export":
                assert not re.search(r"^\s*(import|from) torch", path.read_text(), re.M), path


def commands_of(group, *names):
    """Yield the names and the command of everything that a group holds, groups included."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        yield (*names, name), command
        if isinstance(command, click.Group):
            yield from commands_of(command, *names, name)


def test_every_command_has_help_and_names_its_options():
    commands = dict(commands_of(main))
    assert ("export", "onnx") in commands
    for names, command in commands.items():
        assert command is not None
        assert command.help
        for parameter in command.params:
            if isinstance(parameter, click.Option):
                assert parameter.help, f"{names} {parameter.name}"


def documented_commands():
    pages = [ROOT / "README.md", *ROOT.glob("*/README.md"), *ROOT.glob("docs/*.md")]
    for page in pages:
        for block in re.findall(r"```\w*\n(.*?)```", page.read_text(), re.S):
            for line in block.replace("\\\n", " ").splitlines():
                if match := re.match(
                    r"(?:\$ )?(?:\.venv/bin/)?zeroline (\w.*?)(?:#.*)?$", line.strip()
                ):
                    yield page.name, match[1].split()


def test_commands_in_the_documentation_exist():
    commands = dict(commands_of(main))
    documented = list(documented_commands())
    assert len(documented) >= 3
    for page, words in documented:
        names = tuple(words[:1])
        while isinstance(commands.get(names), click.Group):
            names = tuple(words[: len(names) + 1])
        assert names in commands, (page, words)
        known = {option for parameter in commands[names].params for option in parameter.opts}
        options = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert options <= known, (page, words)


def test_links_in_the_documentation_lead_somewhere():
    pages = [ROOT / "README.md", *ROOT.glob("*/README.md"), *ROOT.glob("docs/*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text()):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), (page, target)


@pytest.mark.parametrize("page", ["README.md", "docs/quickstart.md", "docs/doctor.md"])
def test_pages_name_the_version_of_the_package(page):
    text = (ROOT / page).read_text("utf-8")
    told = re.findall(r"\b(?:[Vv]ersion|zeroline) (\d+\.\d+\.\d+)", text)
    assert told == [zeroline.__version__]


def test_the_changelog_has_the_version_below_an_unreleased_part():
    heads = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.M)
    assert heads[0] == "Unreleased"
    assert heads[1].split(" – ")[0] == zeroline.__version__


def pins(name, python):
    """Return the version of each package that a file of pins has for a Python."""
    text = re.sub(r" *\\\n.*", "", (ROOT / name).read_text("utf-8"))
    lines = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
    here = {"python_version": python, "python_full_version": f"{python}.1"}
    found = [one for one in map(Requirement, lines) if not one.marker or one.marker.evaluate(here)]
    assert len({one.name for one in found}) == len(found)
    return {one.name: str(one.specifier) for one in found}


@pytest.mark.parametrize("python", ["3.10", "3.12", "3.13"])
def test_pins_with_hashes_are_those_of_the_constraints(python):
    """`make hashes` makes the file; a new pin or a new dependency without it fails here."""
    hashed, pinned = pins("hashes.txt", python), pins("constraints.txt", python)
    assert {name: pinned.get(name) for name in hashed} == hashed
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    heads = ("dependencies", "cpu", "app", "app-no-opencv")
    lists = re.findall(rf"^(?:{'|'.join(heads)}) = \[(.*?)\]$", text, re.M | re.S)
    assert len(lists) == len(heads)
    needed = set(re.findall(r'"([\w-]+)>=', "".join(lists)))
    assert len(needed) > 15
    assert needed <= set(hashed)


def test_pins_with_hashes_have_them_and_name_no_index():
    text = (ROOT / "hashes.txt").read_text("utf-8")
    for one in re.split(r"^(?=\w)", text, flags=re.M)[1:]:
        assert re.search(r"==\S+.* \\(\n    --hash=sha256:[0-9a-f]{64}( \\)?)+\n$", one), one[:60]
    assert "/" not in text


def test_wheel_has_all_and_runs_on_its_own(tmp_path):
    """In an environment with the run-time dependencies only, as on a fresh machine."""
    built = run(sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path, ROOT)
    assert built.returncode == 0, built.stderr
    wheel = next(tmp_path.glob("zeroline-*.whl"))
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in names} == {"zeroline"}
    for name in (
        "runtime/loops.py",
        "runtime/py.typed",
        "export/wrap.py",
        "runtime/models/tiny/manifest.json",
        "runtime/models/tiny/model.onnx",
        "edge_app/batch/templates/report.html.j2",
    ):
        assert f"zeroline/{name}" in names
    assert {"LICENSE", "NOTICE"} <= {name.rpartition("licenses/")[2] for name in names}
    run(sys.executable, "-m", "venv", tmp_path / "env")
    python = tmp_path / "env" / "bin" / "python"
    installed = run(
        python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wheel
    )
    assert installed.returncode == 0, installed.stderr
    command = tmp_path / "env" / "bin" / "zeroline"
    assert "evaluate" in run(command, "--help", cwd=tmp_path).stdout
    script = (
        "import numpy as np; from zeroline.runtime import lnamd, match_distances, interval_average;"
        "t = np.random.default_rng(0).normal(size=(5, 9, 4)).astype('float32');"
        "print(interval_average(match_distances(lnamd(t, degree=3))).shape)"
    )
    assert run(python, "-c", script, cwd=tmp_path).stdout.strip() == "(5, 9)"
    (tmp_path / "a.png").write_bytes(b"x")
    missing = run(command, "score", "a.png", "--model", ".", cwd=tmp_path)
    assert missing.returncode == 1
    assert "is not a model bundle" in missing.stderr
