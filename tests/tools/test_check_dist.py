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
    f"{INFO}/licenses/NOTICE": "zeroline\nCopyright the zeroline developers\n",
    f"{INFO}/entry_points.txt": "[console_scripts]\nzeroline = zeroline.edge_app.__main__:main\n",
}


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("", "", None),
        ("zeroline/runtime/py.typed", None, "runtime/py.typed is missing"),
        (f"{INFO}/licenses/LICENSE", None, "LICENSE is missing"),
        (f"{INFO}/licenses/NOTICE", None, "NOTICE is missing"),
        (f"{INFO}/licenses/NOTICE", "", 'NOTICE is without "Copyright"'),
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


def sdist(path, names, target="../../constraints.txt"):
    with tarfile.open(path, "w:gz") as source:
        for name in names:
            source.addfile(tarfile.TarInfo(f"zeroline-0.1.0/{name}"), io.BytesIO())
        link = tarfile.TarInfo("zeroline-0.1.0/edge_app/doctor/tested.txt")
        link.type, link.linkname = tarfile.SYMTYPE, target
        source.addfile(link)
    return check_dist.sdist_problems(path)


def test_an_sdist(tmp_path):
    path = tmp_path / "zeroline-0.1.0.tar.gz"
    needed = set(check_dist.SOURCES)
    assert sdist(path, needed) == []
    assert sdist(path, needed - {"NOTICE"}) == [f"{path.name}: NOTICE is missing"]
    assert sdist(path, needed - {"LICENSE"}) == [f"{path.name}: LICENSE is missing"]
    (nowhere,) = sdist(path, needed, "../../other.txt")
    assert "leads to ../../other.txt, which is not in it" in nowhere
