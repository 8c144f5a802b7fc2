"""Which room may know which: the arrows of CONTRIBUTING.md, read from the imports."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

import pytest

from support.machine import ROOT

#: A room, and the rooms that it may import; "ground" is what lies flat and knows no room.
ARROWS = {
    "runtime": {
        "ground": set(),
        "stages": {"ground"},
        "matching": {"ground", "stages"},
        "recurring": {"ground", "stages", "matching"},
        "network": {"ground"},
        "framing": {"ground", "stages", "network.manifest", "network.preprocess"},
        "results": {"ground", "stages", "recurring", "framing"},
        "judgement": {"ground", "stages", "results"},
        "batch": {
            "ground", "stages", "matching", "recurring", "results", "framing", "network.model",
        },
        "reference": {
            "ground", "stages", "results", "judgement", "batch", "framing", "network.manifest",
        },
        "line": {
            "ground", "stages", "matching", "recurring", "results", "judgement", "reference",
            "framing", "network.manifest", "network.model",
        },
        "copies": {"ground", "matching", "stages"},
        "loading": {"batch", "network"},
    },
    "edge_app": {
        "ground": set(),
        "decoding": {"ground"},
        "images": {"ground", "decoding", "masks"},
        "masks": {"ground", "decoding"},
        "sim": {"ground"},
        "settings": {"ground", "masks", "images"},
        "draw": {"ground"},
        "configuration": {"ground", "settings", "sources"},
        "sources": {"ground", "decoding", "images", "sim"},
        "outputs": {"ground", "draw", "images"},
        "station": {"ground", "configuration", "sources", "settings"},
        "store": {"ground", "draw", "configuration"},
        "interface": {"ground", "draw"},
        "batch": {"ground", "draw", "settings", "images", "masks"},
        "bench": {"ground"},
        "doctor": {"ground", "configuration", "sources", "store"},
        "service": {"ground"},
        "commands": {
            "ground", "batch", "station", "settings", "sources", "outputs", "images", "sim",
            "bench", "cli", "draw", "configuration", "store", "interface", "doctor", "service",
        },
        "cli": {"ground"},
        "__main__": {"cli", "doctor"},
    },
}  # fmt: skip
GROUND = {
    "runtime": {
        "archives", "arrays", "compiled", "cuda", "errors", "files", "frames", "grid", "loops",
        "tokens", "workers",
    },
    "edge_app": {
        "bodies", "captured", "control", "errors", "events", "memory", "messages", "opencv",
        "notify", "parts", "passwords", "progress", "runs", "tiles", "writing",
    },
}  # fmt: skip
#: Who may use which part of the product.
PARTS = {
    "runtime": {"runtime"},
    "export": {"runtime", "export"},
    "edge_app": {"runtime", "export", "edge_app"},
}


def modules() -> dict[str, Path]:
    found = {}
    for part in PARTS:
        for path in (ROOT / part).rglob("*.py"):
            name = ".".join(("zeroline", *path.relative_to(ROOT).with_suffix("").parts))
            found[name.removesuffix(".__init__")] = path
    return found


def imported(path: Path, known: dict[str, Path]) -> set[str]:
    """Every module of ours that a file names, for its types too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("zeroline"):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                names.add(whole if whole in known else str(node.module))
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.startswith("zeroline")}
    return names


def edges() -> dict[str, set[str]]:
    known = modules()
    return {name: imported(path, known) - {name} for name, path in known.items()}


def room_of(module: str, part: str) -> str:
    first = module.split(".")[2]
    return "ground" if first in GROUND[part] else first


def test_imports_run_in_no_circle():
    graph = edges()
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " → ".join((*way[way.index(module) :], module))
        if module not in done:
            for other in graph.get(module, ()):
                visit(other, (*way, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def test_parts_import_downwards_only():
    for module, others in edges().items():
        if module.count("."):
            allowed = PARTS.get(module.split(".")[1], set())
            used = {other.split(".")[1] for other in others if other.count(".")}
            assert used <= allowed, module


@pytest.mark.parametrize("part", ARROWS)
def test_rooms_import_along_the_arrows(part):
    used: dict[str, set[str]] = defaultdict(set)
    for module, others in edges().items():
        if not module.startswith(f"zeroline.{part}.") or module == f"zeroline.{part}":
            continue
        room = room_of(module, part)
        allowed = ARROWS[part][room] | {room}
        for other in others:
            if not other.startswith(f"zeroline.{part}."):
                continue
            short = other.removeprefix(f"zeroline.{part}.")
            assert room_of(other, part) in allowed or short in allowed, f"{module} → {other}"
            used[room].add(room_of(other, part))
    assert used, "no import was found, so nothing was tested"


def test_frameworks_stay_in_the_export():
    for module, path in modules().items():
        if not module.startswith("zeroline.export"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
                names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
                roots = {name.split(".")[0] for name in names}
                assert not roots & {"torch", "open_clip", "timm"}, module


def test_flat_modules_are_few_and_modules_are_short():
    flat = [path for path in (ROOT / "runtime").glob("*.py") if path.name != "__init__.py"]
    assert len(flat) <= 16
    for module, path in modules().items():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        assert lines <= 400, f"{module}: {lines} lines"
