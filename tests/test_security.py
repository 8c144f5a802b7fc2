"""No connection goes out that nobody has configured: the system calls tell."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from trials.station_process import Receiver, free_port

from support.machine import ROOT, missing

#: Addresses of other programs: those of files (AF_UNIX) and of the kernel (AF_NETLINK) stay here.
OUTSIDE = re.compile(r"sa_family=(AF_INET6?), sin6?_port=htons\((\d+)\).*?\"([^\"]+)\"")


@pytest.fixture
def traced(tmp_path, monkeypatch):
    """Run zeroline; return the addresses that it connects to, or sends to."""
    if shutil.which("strace") is None:
        missing("no strace is here")
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY", raising=False)

    def trace(*arguments: str | Path) -> set[tuple[str, int]]:
        calls = tmp_path / "calls"
        command = [sys.executable, "-m", "zeroline.edge_app", *map(str, arguments)]
        done = subprocess.run(
            ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg", "-o", calls, *command],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        # onnxruntime writes here what it will send
        assert not (tmp_path / "cache" / "Microsoft").exists()
        text = calls.read_text(encoding="utf-8", errors="replace")
        return {(host, int(port)) for _, port, host in OUTSIDE.findall(text)}

    return trace


def test_score_connects_to_nobody(traced, image_folder, bundle_folder, tmp_path):
    options = ("--model", bundle_folder, "--output", tmp_path / "out", "--threads", "1")
    assert traced("score", image_folder, *options) == set()
    assert (tmp_path / "out" / "report.html").is_file()


def test_a_station_connects_to_what_is_configured_alone(traced, tmp_path, bundle_folder):
    receiver = Receiver()
    file = tmp_path / "station.yaml"
    file.write_text(
        f"data: {tmp_path / 'data'}\ncameras: [{{name: top, source: 'sim://parts?parts=6'}}]\n"
        f"recipes: {{default: {{model: '{bundle_folder}', window: 8, min_window: 4}}}}\n"
        f"page: {{listen: '127.0.0.1:{free_port()}'}}\nthreads: 1\n"
        f"outputs: [{{kind: webhook, url: '{receiver.url}'}}]\nstorage: {{keep_free_gb: 0}}\n"
    )
    port = int(receiver.url.rpartition(":")[2].partition("/")[0])
    try:
        assert traced("run", file) == {("127.0.0.1", port)}
    finally:
        receiver.close()
    assert len(receiver.parts) == 6
