"""systemd's socket, as systemd opens it: a real datagram socket, by path and abstract."""

import contextlib
import os
import socket
import subprocess
import sys
import time

import pytest

from support.machine import ROOT
from zeroline.edge_app.notify import Watchdog, notify


@pytest.fixture(params=["path", "abstract"])
def manager(request, tmp_path):
    address = str(tmp_path / "notify")
    if request.param == "abstract":
        address = f"@zeroline-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        made.setblocking(False)
        yield made, {"NOTIFY_SOCKET": address}


def told(made):
    messages = []
    with contextlib.suppress(BlockingIOError):
        while True:
            messages.append(made.recv(4096).decode())
    return messages


def test_what_is_told_arrives_as_one_datagram(manager):
    made, environment = manager
    assert notify("READY=1", "STATUS=a line\nof text", environment=environment)
    assert notify("STOPPING=1", environment=environment)
    assert told(made) == ["READY=1\nSTATUS=a line of text", "STOPPING=1"]


@pytest.mark.parametrize("address", [None, "", "vsock:2:1", "/nothing/there"])
def test_without_systemd_nothing_is_told_and_nothing_fails(address):
    assert not notify("READY=1", environment={} if address is None else {"NOTIFY_SOCKET": address})


def test_a_manager_that_does_not_read_does_not_stop_the_line(manager):
    _, environment = manager
    began = time.monotonic()
    while notify("WATCHDOG=1", environment=environment):
        assert time.monotonic() - began < 2
    assert time.monotonic() - began < 2


def test_the_watchdog_is_fed_each_quarter_of_its_time(manager):
    made, environment = manager
    watchdog = Watchdog({**environment, "WATCHDOG_USEC": "400000"})
    assert watchdog.period == 0.4
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        watchdog.beat()
        time.sleep(0.002)
    beats = told(made)
    assert set(beats) == {"WATCHDOG=1"}
    assert 8 <= len(beats) <= 11
    time.sleep(0.2)
    assert told(made) == []  # who does not beat is not said to live


@pytest.mark.parametrize(
    ("more", "watched"),
    [
        ({}, False),
        ({"WATCHDOG_USEC": "0"}, False),
        ({"WATCHDOG_USEC": "soon"}, False),
        ({"WATCHDOG_USEC": "1000000"}, True),
        ({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": str(os.getpid())}, True),
        ({"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "1"}, False),
    ],
)
def test_who_is_watched(manager, more, watched):
    made, environment = manager
    Watchdog({**environment, **more}).beat()
    assert told(made) == (["WATCHDOG=1"] if watched else [])


def test_a_process_reads_its_own_environment(manager):
    made, environment = manager
    subprocess.run(
        [sys.executable, "-c",
         "from zeroline.edge_app.notify import Watchdog, notify; notify('READY=1');"
         "Watchdog().beat()"],
        check=True,
        env={**os.environ, **environment, "WATCHDOG_USEC": "9000000",
             "PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip
    assert told(made) == ["READY=1", "WATCHDOG=1"]
