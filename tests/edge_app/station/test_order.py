"""A whole station's system calls: nothing of a part leaves before it is on the disk."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from trials.station_process import Receiver

from support.machine import ROOT, missing
from support.syscalls import calls_of

_CALLS = "trace=fdatasync,fsync,pwrite64,write,sendto,sendmsg"


@pytest.fixture
def traced(tmp_path, bundle_folder):
    """The calls of a station that has run to its end, its lines, and what a server has had."""
    if shutil.which("strace") is None:
        missing("strace is not here")
    receiver = Receiver()
    (tmp_path / "station.yaml").write_text(
        "cameras: [{name: top, source: 'sim://parts?parts=16&size=128'}]\n"
        f"recipes: {{default: {{model: '{bundle_folder}', window: 8, min_window: 4, "
        "codegraph: false}}\n"
        "outputs:\n  - {kind: json_lines, path: verdicts.jsonl}\n"
        f"  - {{kind: webhook, url: '{receiver.url}'}}\n"
        "storage: {keep_free_gb: 0}\npage: {listen: 'off'}\nstore_wait_ms: 10000\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["strace", "-f", "-y", "-s", "100000", "-e", _CALLS, "-o", tmp_path / "trace",
         sys.executable, "-m", "zeroline.edge_app", "run", tmp_path / "station.yaml"],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    receiver.close()
    if "ptrace" in done.stderr and done.returncode:
        pytest.skip(f"strace may not trace here: {done.stderr.splitlines()[0]}")
    assert done.returncode == 0, done.stderr
    lines = (tmp_path / "data" / "verdicts.jsonl").read_text().splitlines()
    parts = [line for line in map(json.loads, lines) if "late" in line]
    return calls_of(tmp_path / "trace"), parts, receiver


def test_the_log_is_synced_before_the_first_byte_of_a_part_leaves(traced):
    calls, parts, receiver = traced
    assert len(parts) == len(receiver.parts) == 16
    assert not any(part["unstored"] for part in parts)
    for part in (part["part"] for part in parts):
        about = [call for call in calls if part in call.text]
        written = next(
            c for c in about if c.name == "pwrite64" and "zeroline.sqlite-wal>" in c.text
        )
        synced = next(
            call
            for call in calls
            if call.name in ("fdatasync", "fsync")
            and "zeroline.sqlite-wal>" in call.text
            and call.began > written.ended
        )
        left = [
            call
            for call in about
            if call.name in ("sendto", "sendmsg")
            or (call.name == "write" and "verdicts.jsonl>" in call.text)
            or (call.name == "write" and "socket:" in call.text)
        ]
        assert len(left) >= 2, part  # the line and the webhook
        assert all(synced.ended < call.began for call in left), part
