"""The compiled loops where nothing can be kept."""

from __future__ import annotations

import shutil
import subprocess
import sys

from support.machine import ROOT
from zeroline.runtime.files import cache_folder


def test_loops_are_compiled_where_no_folder_can_be_written(tmp_path, image_folder, bundle_folder):
    """A command by hand as the service's user, who has no home: no locator available for file."""
    package = tmp_path / "site/zeroline"
    for part in ("__init__.py", "edge_app"):
        package.mkdir(parents=True, exist_ok=True)
        (package / part).symlink_to(ROOT / "src/zeroline" / part)
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "runtime", package / "runtime", ignore=without)
    (package / "runtime/__pycache__").touch()  # a file: not even root can write into it
    done = subprocess.run(
        [sys.executable, "-m", "zeroline.edge_app", "score", image_folder,
         "--model", bundle_folder, "--output", tmp_path / "out"],
        capture_output=True, text=True, check=False, timeout=240,
        env={"PYTHONPATH": str(package.parent), "HOME": "/dev/null", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/scores.csv").is_file()


def test_a_user_without_a_home_has_a_cache_folder_all_the_same(monkeypatch):
    """Python's own answer is a RuntimeError."""
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("os.getuid", lambda: 2**31 - 7)  # in no list of users
    assert not cache_folder().exists()
