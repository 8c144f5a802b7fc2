"""Write the table of docs/licences.md: `python docs/make_licences.py FOLDER…` (folders of wheels).

What a wheel says of itself: its METADATA, and the names of the libraries that it has beside its
Python code.
"""

from __future__ import annotations

import re
import sys
import zipfile
from collections import defaultdict
from email.message import Message
from email.parser import Parser
from pathlib import Path


def licence(metadata: Message) -> str:
    """Return the licence that a wheel names: an expression, else classifiers, else its text."""
    if expression := metadata["License-Expression"]:
        return str(expression)
    named = [
        value.rpartition(" :: ")[2]
        for value in metadata.get_all("Classifier", [])
        if value.startswith("License :: ") and value != "License :: OSI Approved"
    ]
    if named:
        return ", ".join(named)
    text = str(metadata["License"] or "").strip()
    return text.splitlines()[0] if text else "not named"


def libraries(names: list[str]) -> list[str]:
    """Return the shared libraries of others in a wheel, without their hashes and versions."""
    inside = [name for name in names if re.search(r"\.libs/[^/]+\.so", name)]
    plain = {re.sub(r"(-[0-9a-f]{8})*[.-]?[\d.-]*\.so.*$", "", Path(name).name) for name in inside}
    return sorted(plain)


def rows(folders: list[Path]) -> list[str]:
    """Return a line of the table for each package."""
    versions: dict[str, set[str]] = defaultdict(set)
    licences: dict[str, set[str]] = defaultdict(set)
    held: dict[str, set[str]] = defaultdict(set)
    for wheel in sorted(path for folder in folders for path in folder.rglob("*.whl")):
        with zipfile.ZipFile(wheel) as file:
            names = file.namelist()
            (about,) = [n for n in names if re.fullmatch(r"[^/]+\.dist-info/METADATA", n)]
            metadata = Parser().parsestr(file.read(about).decode("utf-8"))
        name = re.sub(r"[-_.]+", "-", str(metadata["Name"])).lower()
        if name == "zeroline":
            continue
        versions[name].add(str(metadata["Version"]))
        licences[name].add(licence(metadata))
        held[name].update(libraries(names))
    return [
        f"| {name} | {', '.join(sorted(versions[name]))} | {'; '.join(sorted(licences[name]))} "
        f"| {', '.join(sorted(held[name]))} |"
        for name in sorted(versions)
    ]


if __name__ == "__main__":
    head = [
        "| package | version | licence | libraries of others in the wheel |",
        "|---|---|---|---|",
    ]
    sys.stdout.writelines(f"{line}\n" for line in head + rows([Path(f) for f in sys.argv[1:]]))
