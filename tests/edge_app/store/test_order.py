"""The order of system calls: on the disk first, then told; a picture first, then its row."""

import os
import shutil
import subprocess
import sys

import pytest

from support.machine import ROOT, missing
from support.syscalls import calls_of
from zeroline.edge_app.store.reading import Records

PARTS = 12
_CALLS = "trace=fsync,fdatasync,pwrite64,write,rename,renameat,renameat2"


@pytest.fixture(scope="module")
def traced(tmp_path_factory):
    """A data folder that a process has written, and its calls."""
    if shutil.which("strace") is None:
        missing("strace is not here")
    folder = tmp_path_factory.mktemp("traced")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"}
    done = subprocess.run(
        ["strace", "-f", "-y", "-s", "100000", "-e", _CALLS, "-o", folder / "trace",
         sys.executable, "-m", "support.store_process", folder / "data", str(PARTS)],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if "ptrace" in done.stderr and done.returncode:
        pytest.skip(f"strace may not trace here: {done.stderr.splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"a {n}" for n in range(1, PARTS + 1)]
    return folder / "data", calls_of(folder / "trace")


def first(calls, name, *texts, after=-1):
    """The first call that began after a line and has all of these in it."""
    for call in calls:
        if call.began > after and call.name in name and all(text in call.text for text in texts):
            assert call.worked, call.text
            return call
    raise AssertionError(f"no {name} of {texts} after line {after}")


def test_the_log_is_synced_before_a_part_is_told(traced):
    _, calls = traced
    for number in range(1, PARTS + 1):
        part = f"top-20261201-{number:06d}"
        written = first(calls, "pwrite64", "zeroline.sqlite-wal>", part)
        synced = first(calls, "fdatasync fsync", "zeroline.sqlite-wal>", after=written.ended)
        told = first(calls, "write", f'"a {number}\\n"')
        assert synced.ended < told.began, part


def test_a_picture_is_on_the_disk_before_its_row(traced):
    data, calls = traced
    with Records(data) as records:
        paths = [row[0] for row in records.connection.execute("SELECT path FROM picture")]
    assert len(paths) == 3 * len(range(1, PARTS + 1, 3))  # raw, overlay, map of each NG part
    for path in paths:
        folder, _, name = path.rpartition("/")
        renamed = first(calls, "rename renameat renameat2", f"/{folder}/{name}")
        temporary = renamed.text.partition('"')[2].partition('"')[0]
        assert temporary.endswith(".part")
        same = [c for c in calls if f"<{temporary}>" in c.text and c.began < renamed.began]
        last_written = [c for c in same if c.name == "write"][-1]
        synced = [c for c in same if c.name in ("fsync", "fdatasync")][-1]
        assert last_written.ended < synced.began
        assert synced.ended < renamed.began
        in_folder = first(calls, "fsync", f"/{folder}>", after=renamed.ended)
        row = first(calls, "pwrite64", "zeroline.sqlite-wal>", path)
        assert in_folder.ended < row.began
    day = paths[0].split("/")[1]
    made = [c for c in calls if c.name == "fsync" and c.text.rstrip().endswith("= 0")]
    for above in (f"/pictures/{day}>", "/data/pictures>", "/data>"):  # new folders' own names
        assert any(above in call.text for call in made), above
