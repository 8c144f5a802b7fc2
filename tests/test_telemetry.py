"""Libraries that tell their makers what they run are told not to, before they are imported."""

import ast
import os
import subprocess
import sys

import pytest

from support.machine import ROOT

SCRIPT = 'from zeroline.runtime import load_bundle\nwith load_bundle("tiny"): pass'


def test_onnxruntime_keeps_no_name_of_the_machine(tmp_path):
    """It once made an id of the machine, and looked for its maker's server some seconds later."""
    environment = {key: v for key, v in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    environment |= {"XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.rglob("deviceid"))
    assert not (tmp_path / "Microsoft").exists()


@pytest.mark.parametrize("answer", ["0", "1"])
def test_what_the_user_has_said_stands(answer):
    script = "import os, zeroline; print(os.environ['ORT_DISABLE_TELEMETRY'])"
    environment = {
        **os.environ, "ORT_DISABLE_TELEMETRY": answer, "PYTHONPATH": str(ROOT / "src"),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [answer]


def test_our_own_programs_import_zeroline_before_onnxruntime():
    """A package's __init__ counts: it runs before its modules."""
    for folder in ("benchmarks", "tools"):
        for path in (ROOT / folder).rglob("*.py"):
            texts = [path]
            if (path.parent / "__init__.py").exists():
                texts.insert(0, path.parent / "__init__.py")
            order = [name for text in texts for name in imports(text)]
            if "onnxruntime" in order:
                assert "zeroline" in order[: order.index("onnxruntime")], path


def imports(path):
    """Return the packages that a module imports at its top, in order."""
    found = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [name.split(".")[0] for name in names]
    return found
