"""Installs: what pip would choose for other machines, all that it needs included.

The suite asks for the named packages alone (tests/test_installs.py). Here pip looks for a set of
versions that fit each other, down to CUDA's own libraries. Nothing is installed.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trials.resumed import Rows

#: Nothing is drawn.
SEEDS = (0,)
#: Extra, machine, Python, CUDA's major version.
SERVED = (
    ("cuda12", "x86_64", "3.10", 12),
    ("cuda12", "x86_64", "3.12", 12),
    ("cuda13", "x86_64", "3.12", 13),
    ("cuda13", "aarch64", "3.12", 13),
    ("jetpack6", "aarch64", "3.10", 12),
)
#: There onnxruntime-gpu has no wheel.
NOT_SERVED = (
    ("cuda12", "aarch64", "3.10"),
    ("cuda12", "aarch64", "3.12"),
    ("cuda13", "x86_64", "3.10"),
    ("cuda13", "aarch64", "3.10"),
)
#: The same of TensorRT's extras, beside one of the above.
ENGINES = (
    ("tensorrt-cu12", "x86_64", "3.10", 12),
    ("tensorrt-cu12", "x86_64", "3.12", 12),
    ("tensorrt-cu13", "x86_64", "3.12", 13),
    ("tensorrt-cu13", "aarch64", "3.12", 13),
)
#: glibc 2.39 is Ubuntu 24.04's and JetPack 7's, 2.35 is Ubuntu 22.04's and JetPack 6's.
_GLIBC = {"3.10": 35, "3.12": 39}


@dataclass(frozen=True)
class Wheel:
    """A wheel that pip has chosen: its name, version, and what it asks for itself."""

    name: str
    version: str
    requires: tuple[str, ...]

    def cuda_versions(self) -> set[int]:
        """Return the major versions of CUDA that its metadata speak of; none for most wheels."""
        if match := re.search(r"-cu(?:da)?(\d\d)x?(?:-bindings)?$", self.name):
            return {int(match[1])}
        if self.name in ("cuda-toolkit", "nvidia-cuda-runtime", "nvidia-cuda-nvrtc"):
            return {int(self.version.split(".")[0])}
        cuda = r"nvidia-cuda-(?:runtime|nvrtc)(?:-cu\d\d)?\s*[~=]=\s*(\d\d)\.|nvidia-\w+-cu(\d\d)\b"
        return {int(a or b) for a, b in re.findall(cuda, "\n".join(self.requires))}


@dataclass(frozen=True)
class Resolved:
    """What pip answers: wheels by name, or why there are none."""

    wheels: dict[str, Wheel]
    refused: str = ""

    def cuda_versions(self) -> dict[str, set[int]]:
        """Return the major versions of CUDA that each wheel speaks of, where it does."""
        versions = {name: wheel.cuda_versions() for name, wheel in self.wheels.items()}
        return {name: found for name, found in versions.items() if found}


def extra(name: str) -> list[str]:
    """Return the requirements of an extra, as pyproject.toml has them now."""
    text = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    match = re.search(rf"^{name} = (\[.*\])$", text, re.M)
    if match is None:
        raise KeyError(name)
    requirements: list[str] = ast.literal_eval(match[1])
    return requirements


def bindings(name: str) -> list[str]:
    """Return what pip can tell of an extra of TensorRT: the wheel of its Python bindings.

    The package itself fetches NVIDIA's libraries while it is installed. PyPI does not have them.
    """
    return [re.sub(r"^([\w-]+)", r"\1-bindings", requirement) for requirement in extra(name)]


def resolve(requirements: list[str], *, machine: str, python: str, alone: bool) -> Resolved:
    """Ask pip what it would install on another machine.

    Parameters
    ----------
    requirements : list of str
    machine : {"x86_64", "aarch64"}
    python : {"3.10", "3.12"}
    alone : bool
        Only the named packages, without what they need.
    """
    tags = [f"manylinux_2_{minor}" for minor in range(_GLIBC[python], 4, -1)]
    tags += ["manylinux2014", "manylinux2010", "manylinux1"]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(  # noqa: S603 - our own words
            [
                sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--retries=1",
                "--timeout=10", "--disable-pip-version-check", "--ignore-installed",
                "--only-binary=:all:", "--implementation=cp", f"--python-version={python}",
                *(f"--platform={tag}_{machine}" for tag in tags), f"--target={folder}",
                "--report=-", *(["--no-deps"] if alone else []), *requirements,
            ],
            check=False, capture_output=True, text=True,
        )  # fmt: skip
    if done.returncode:
        return Resolved({}, done.stderr)
    found = [item["metadata"] for item in json.loads(done.stdout)["install"]]
    wheels = [
        Wheel(
            about["name"].lower().replace("_", "-"),
            about["version"],
            tuple(about.get("requires_dist", ())),
        )
        for about in found
    ]
    return Resolved({wheel.name: wheel for wheel in wheels})


def run(tell: Callable[[str], None], *, seeds: tuple[int, ...], rows: Rows) -> None:
    """Resolve each extra for each machine, and print the table."""
    del seeds, rows  # an index changes from day to day
    tell("| extra | machine | Python | CUDA | wheels | seconds |")
    tell("|---|---|---|---|---|---|")
    for name, machine, python, cuda in SERVED:
        began = time.monotonic()
        resolved = resolve(extra(name), machine=machine, python=python, alone=False)
        versions = resolved.cuda_versions().values()
        answer = ", ".join(map(str, sorted(set().union(*versions)))) or "refused"
        verdict = answer if answer == str(cuda) else f"{answer}, {cuda} is expected"
        taken = time.monotonic() - began
        count = len(resolved.wheels)
        tell(f"| {name} | {machine} | {python} | {verdict} | {count} | {taken:.0f} |")
    for name, machine, python, cuda in ENGINES:
        resolved = resolve(bindings(name), machine=machine, python=python, alone=True)
        found = ", ".join(wheel.version for wheel in resolved.wheels.values()) or "refused"
        tell(f"| {name} | {machine} | {python} | {cuda}: TensorRT {found} | | |")
    for name, machine, python in NOT_SERVED:
        resolved = resolve(extra(name), machine=machine, python=python, alone=False)
        verdict = "resolved, but should not" if resolved.wheels else "refused"
        tell(f"| {name} | {machine} | {python} | {verdict} | | |")
