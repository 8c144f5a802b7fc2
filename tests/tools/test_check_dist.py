"""The check of wheels and sdists finds what is missing and what is too much."""

from __future__ import annotations

import importlib.util
import io
import tarfile
import zipfile

import pytest

from support.machine import ROOT

_SPEC = importlib.util.spec_from_file_location("check_dist", ROOT / "tools" / "check_dist.py")
assert _SPEC is not None
assert _SPEC.loader is not None
check_dist = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(check_dist)

INFO = "zeroline-0.1.0.dist-info"
METADATA = (
    "Name: zeroline\nVersion: 0.1.0\nSummary: a\nLicense-Expression: Apache-2.0\n"
    "License-File: LICENSE\nRequires-Python: >=3.10\n\n# zeroline\n"
)
GOOD = {
    **{f"zeroline/{name}": "" for name in check_dist.NEEDED},
    f"{INFO}/METADATA": METADATA,
    f"{INFO}/licenses/LICENSE": "Apache License",
    f"{INFO}/entry_points.txt": "[console_scripts]\nzeroline = zeroline.edge_app.cli:main\n",
}


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("", "", None),
        ("zeroline/runtime/py.typed", None, "runtime/py.typed is missing"),
        (f"{INFO}/licenses/LICENSE", None, "the licence is missing"),
        (f"{INFO}/entry_points.txt", None, "the command zeroline is missing"),
        (f"{INFO}/METADATA", METADATA.replace("Summary: a\n", ""), "have no Summary"),
        ("zeroline/tests/test_a.py", "", "should not be in it"),
        ("zeroline/edge_app/a.png", "", "should not be in it"),
        ("tiny/train.py", "", "tiny lies beside zeroline"),
    ],
)
def test_a_wheel(tmp_path, name, content, problem):
    files = {**GOOD, name: content}
    path = tmp_path / "zeroline-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for one, text in files.items():
            if one and text is not None:
                wheel.writestr(one, text)
    problems = check_dist.wheel_problems(path)
    assert len(problems) == (problem is not None)
    assert problem is None or problem in problems[0]


def test_an_sdist_with_a_link_that_leads_nowhere(tmp_path):
    path = tmp_path / "zeroline-0.1.0.tar.gz"
    needed = ("LICENSE", "PKG-INFO", "pyproject.toml", "README.md", "CHANGELOG.md", "SECURITY.md")
    for last in ("constraints.txt", "other.txt"):
        with tarfile.open(path, "w:gz") as source:
            for name in (*needed, last):
                source.addfile(tarfile.TarInfo(f"zeroline-0.1.0/{name}"), io.BytesIO())
            link = tarfile.TarInfo("zeroline-0.1.0/edge_app/doctor/tested.txt")
            link.type, link.linkname = tarfile.SYMTYPE, "../../constraints.txt"
            source.addfile(link)
        assert len(check_dist.sdist_problems(path)) == (last == "other.txt")
