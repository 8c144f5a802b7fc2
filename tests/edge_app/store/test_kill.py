"""A store that is killed: what was acknowledged is there, and no picture is half."""

import os
import signal
import sqlite3
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest

from support.machine import ROOT
from zeroline.edge_app.configuration.storage import Storage
from zeroline.edge_app.store.reading import Records, Wanted
from zeroline.edge_app.store.store import Store

KILLS = 10


def test_what_was_acknowledged_survives_a_kill(tmp_path):
    data, acknowledged = tmp_path / "data", list[int]()
    moments = np.random.default_rng(7)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"}
    with subprocess.Popen(
        [sys.executable, "-m", "support.store_process", str(data), "0"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True, bufsize=1,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(KILLS):
            process.stdin.write("go\n")
            kind, child = process.stdout.readline().split()
            assert kind == "pid"
            # by its own work: a busy machine does less in a time
            told = [process.stdout.readline().split() for _ in range(moments.integers(5, 60))]
            time.sleep(moments.uniform(0, 0.01))
            os.kill(int(child), signal.SIGKILL)
            told += [line.split() for line in iter(process.stdout.readline, "dead\n")]
            assert all(len(line) == 2 and line[0] == "a" for line in told), told
            acknowledged += [int(line[1]) for line in told]
            check(data, acknowledged)
        process.stdin.close()
    assert len(acknowledged) > 20 * KILLS  # it had work to do
    assert acknowledged == sorted(set(acknowledged))  # no number twice
    with Store(data, Storage(keep_free_gb=0), station="press-4", events=print) as store:
        assert store.next_number() > acknowledged[-1]
        with Records(data) as records:
            rows = {row[0] for row in records.connection.execute("SELECT path FROM picture")}
        files = {str(p.relative_to(data)) for p in (data / "pictures").rglob("*") if p.is_file()}
        assert files == rows
        assert len(files) > KILLS


def check(data, acknowledged):
    if not acknowledged:  # it may have been killed while it was made
        return
    with Records(data) as records:
        assert records.connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        stored = {part["number"]: part for part in records.parts(Wanted())}
        assert set(acknowledged) <= set(stored)
        assert all(len(part["frames"]) == 1 for part in stored.values())
        for path, size in records.connection.execute("SELECT path, bytes FROM picture"):
            content = (data / path).read_bytes()
            assert len(content) == size
            if path.endswith(".png"):
                assert cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) is not None


def test_a_database_that_was_killed_can_be_read_before_it_is_written(tmp_path):
    """A reader may be the first after a kill: it must not need to write."""
    code = (
        "import os, signal, sys; from pathlib import Path; "
        "from support.store_process import *; "
        "store = Store(Path(sys.argv[1]), Storage(), station='s', events=print); "
        "store.write(part_message(1)).wait(10); os.kill(os.getpid(), signal.SIGKILL)"
    )
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"}
    command = [sys.executable, "-c", code, str(tmp_path / "d")]
    done = subprocess.run(command, env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "d" / "zeroline.sqlite-wal").stat().st_size > 0
    with Records(tmp_path / "d") as records:
        assert [part["number"] for part in records.parts(Wanted())] == [1]
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            records.connection.execute("DELETE FROM part")
