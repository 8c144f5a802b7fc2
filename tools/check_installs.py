"""Install a wheel into bare environments, and run it in a folder without the repository.

python tools/check_installs.py [--hashes] dist [3.10 3.12 3.13]

A Python is looked for by its name (``python3.12``). One that is not there is skipped, in one line.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.10", "3.12", "3.13")
EXTRAS = "cpu,app"
#: What is run, in order: the second scores the pictures of the first.
COMMANDS = {
    "demo": ("demo", "--parts", "60"),
    "score": ("score", "results/demo/frames", "--output", "scored"),
}
#: Seconds that a step may take.
_LIMIT = 1800


@dataclass(frozen=True)
class Step:
    """A step: its seconds, its exit code, and what it wrote."""

    seconds: float
    code: int
    output: str


def found(python: str) -> str | None:
    """Return the program of a Python; None where none answers (a shim of pyenv may not)."""
    program = shutil.which(f"python{python}")
    if program is None:
        return None
    asked = [program, "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"]
    done = subprocess.run(asked, check=False, capture_output=True, text=True)  # noqa: S603
    return program if done.stdout.strip() == python else None


def clean_environment() -> dict[str, str]:
    """Return the environment without what leads Python to other packages."""
    leads = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if name not in leads}


def step(*command: str | Path, folder: Path) -> Step:
    """Run a command in a folder."""
    began = time.monotonic()
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            list(map(str, command)), cwd=folder, env=clean_environment(), timeout=_LIMIT,
            check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Step(time.monotonic() - began, 124, f"no end within {_LIMIT} s")
    return Step(time.monotonic() - began, done.returncode, done.stdout)


def install_commands(pip: Path, wheel: Path, *, hashes: bool) -> list[list[str | Path]]:
    """Return how a wheel comes in with its extras: by constraints.txt, or by hashes.txt.

    pip has no hash of the wheel itself, so with hashes it comes second, and alone.
    """
    install: list[str | Path] = [pip, "install", "--quiet", "--disable-pip-version-check"]
    commands: list[list[str | Path]]
    if hashes:
        listed: list[str | Path] = [
            "--require-hashes",
            "--only-binary",
            ":all:",
            "-r",
            ROOT / "hashes.txt",
        ]
        commands = [[*install, *listed], [*install, "--no-deps", wheel]]
    else:
        commands = [[*install, "--constraint", ROOT / "constraints.txt", f"{wheel}[{EXTRAS}]"]]
    return [*commands, [pip, "check"]]


def megabytes(folder: Path) -> float:
    """Return what a folder takes on the disk, in MB."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*")) / 1e6


def check(program: str, wheel: Path, *, hashes: bool) -> tuple[list[str], Step]:
    """Install a wheel for a Python, and run it.

    Returns
    -------
    list of str
        Cells of the table's row, after the Python.
    Step
        The last one: the one that failed, where one did.
    """
    with tempfile.TemporaryDirectory() as made:
        folder, bare = Path(made) / "elsewhere", Path(made) / "bare"
        folder.mkdir()
        began = time.monotonic()
        installs = install_commands(bare / "bin" / "pip", wheel, hashes=hashes)
        last = step(program, "-m", "venv", bare, folder=folder)
        for command in installs:
            if last.code:
                break
            last = step(*command, folder=folder)
        cells = [f"{time.monotonic() - began:.0f} s", f"{megabytes(bare):.0f} MB", f"{last.code}"]
        for run in COMMANDS.values():
            if last.code:
                cells += ["-", "-"]
                continue
            last = step(bare / "bin" / "zeroline", *run, folder=folder)
            cells += [f"{last.seconds:.0f} s", f"{last.code}"]
        return cells, last


def main(arguments: list[str] | None = None) -> int:
    """Check each Python that is found; tell it as one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where the wheel is")
    parser.add_argument("pythons", nargs="*", default=PYTHONS)
    parser.add_argument("--hashes", action="store_true", help="by hashes.txt, not constraints.txt")
    given = parser.parse_args(arguments)
    wheels = list(given.folder.resolve().glob("zeroline-*.whl"))
    if len(wheels) != 1:
        sys.stderr.write(f'"{given.folder}": one wheel of zeroline is expected\n')
        return 1
    rows, failed = [], False
    for python in given.pythons:
        program = found(python)
        if program is None:
            sys.stderr.write(f"Python {python}: not found, skipped\n")
            continue
        cells, last = check(program, wheels[0], hashes=given.hashes)
        rows.append(f"| {' | '.join([python, *cells])} |")
        if last.code:
            failed = True
            sys.stderr.write(f"Python {python} failed:\n{last.output}\n")
    if not rows:
        sys.stderr.write(
            f"nothing was checked: none of Python {', '.join(given.pythons)} is here\n"
        )
        return 1
    heads = ["Python", "install", "disk", "exit", *(h for name in COMMANDS for h in (name, "exit"))]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}", *rows]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
