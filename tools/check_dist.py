"""Check a wheel and an sdist before they are published.

python tools/check_dist.py dist
"""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

#: What must be in a wheel, below `zeroline/`.
NEEDED = (
    "runtime/py.typed", "export/py.typed", "edge_app/py.typed",
    "runtime/models/tiny/manifest.json", "runtime/models/tiny/model.onnx",
    "edge_app/batch/templates/report.html.j2", "edge_app/doctor/tested.txt",
)  # fmt: skip
#: What must be in an sdist.
SOURCES = (
    "LICENSE", "NOTICE", "PKG-INFO", "pyproject.toml", "README.md", "CHANGELOG.md", "SECURITY.md",
    "constraints.txt", "hashes.txt",
)  # fmt: skip
#: What must not be in a wheel: tests, pictures, training code, caches.
FORBIDDEN = re.compile(
    r"(^|/)(tests?|trials|tools|benchmarks|docs|__pycache__)(/|$)|\.(png|jpe?g|bmp|tiff?|pyc|nbi|nbc)$"
)
_FIELDS = ("Name", "Version", "Summary", "License-Expression", "License-File", "Requires-Python")
#: Texts that wheel and sdist must carry, and words that stand in them.
TEXTS = {"LICENSE": "Apache License", "NOTICE": "Copyright"}


def wheel_problems(path: Path) -> list[str]:
    """Return what is wrong with a wheel; nothing where it may be published."""
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        (folder,) = {name.split("/")[0] for name in names if ".dist-info/" in name}

        def text(name: str) -> str:
            return wheel.read(f"{folder}/{name}").decode()

        problems = [f"{name} is missing" for name in NEEDED if f"zeroline/{name}" not in names]
        problems += [f"{name} should not be in it" for name in names if FORBIDDEN.search(name)]
        roots = {name.split("/")[0] for name in names} - {folder}
        problems += [f"{root} lies beside zeroline" for root in sorted(roots - {"zeroline"})]
        about = Parser().parsestr(text("METADATA"))
        problems += [f"the metadata have no {field}" for field in _FIELDS if not about.get(field)]
        if not about.get_payload():
            problems.append("the metadata have no description")
        for name, words in TEXTS.items():
            place = f"licenses/{name}"
            if f"{folder}/{place}" not in names:
                problems.append(f"{name} is missing")
            elif words not in text(place):
                problems.append(f'{name} is without "{words}"')
        commands = text("entry_points.txt") if f"{folder}/entry_points.txt" in names else ""
        if "zeroline = zeroline.edge_app.__main__:main" not in commands:
            problems.append("the command zeroline is missing")
    return [f"{path.name}: {problem}" for problem in problems]


def sdist_problems(path: Path) -> list[str]:
    """Return what is wrong with an sdist."""
    with tarfile.open(path) as source:
        names = {name.partition("/")[2] for name in source.getnames()}
        links = [one for one in source.getmembers() if one.issym() or one.islnk()]
    problems = [f"{name} is missing" for name in SOURCES if name not in names]
    for link in links:
        folder = Path(link.name).parent
        target = Path(*_resolved((folder / link.linkname).parts)).as_posix().partition("/")[2]
        if target not in names:
            problems.append(f"{link.name} leads to {link.linkname}, which is not in it")
    return [f"{path.name}: {problem}" for problem in problems]


def _resolved(parts: tuple[str, ...]) -> list[str]:
    kept: list[str] = []
    for part in parts:
        if part == "..":
            kept.pop()
        else:
            kept.append(part)
    return kept


def main(folder: Path) -> int:
    """Check what is in a folder; tell the problems, or the sizes."""
    wheels, sdists = list(folder.glob("*.whl")), list(folder.glob("*.tar.gz"))
    if len(wheels) != 1 or len(sdists) != 1:
        sys.stderr.write(f'"{folder}": one wheel and one sdist are expected\n')
        return 1
    problems = [*wheel_problems(wheels[0]), *sdist_problems(sdists[0])]
    for problem in problems:
        sys.stderr.write(f"{problem}\n")
    for path in (*wheels, *sdists):
        sys.stdout.write(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
