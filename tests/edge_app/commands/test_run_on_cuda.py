"""``zeroline run`` on CUDA, by stand-ins on the host."""

import json
import re

import pytest
from click.testing import CliRunner

from zeroline.edge_app.cli import main
from zeroline.runtime import RollingInspector


@pytest.fixture
def cupy(hosted_cuda):
    return hosted_cuda[1]


def test_a_line_is_the_same_and_tells_its_start(cupy, own_bundle, image_folder):
    command = ["run", "--source", str(image_folder), "--model", str(own_bundle), "--min-window"]
    command += ["4", "--matching", "exact", "--degrees", "1", "--device"]
    verdicts = {}
    for device in ("cuda", "cpu"):
        done = CliRunner().invoke(main, [*command, device])
        assert done.exit_code == 0, done.output
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        verdicts[device] = [(line["source"], line["verdict"]) for line in lines if "frame" in line]
        assert ("started on " in done.stderr) == (device == "cuda")
    assert len(verdicts["cuda"]) == 10
    assert verdicts["cuda"] == verdicts["cpu"]


ILLEGAL = "cudaErrorIllegalAddress: an illegal memory access was encountered"


def test_a_line_ends_with_its_device(cupy, own_bundle, image_folder, tmp_path, monkeypatch):
    """One FAULT is written, one event told; whoever watches the process sees exit code 1."""
    usual, pushed = RollingInspector.push, []

    def push(line, *arguments, **options):
        pushed.append(arguments)
        if len(pushed) == 4:
            monkeypatch.setattr(cupy, "broken", cupy.CUDARuntimeError(ILLEGAL))
        return usual(line, *arguments, **options)

    monkeypatch.setattr(RollingInspector, "push", push)
    command = ["run", "--source", str(image_folder), "--model", str(own_bundle), "--degrees", "1"]
    command += ["--matching", "exact", "--device", "cuda"]
    done = CliRunner().invoke(main, [*command, "--save-reference", str(tmp_path / "set.npz")])
    assert done.exit_code == 1
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    verdicts = [(line["verdict"], line["reason"]) for line in lines if "verdict" in line]
    assert verdicts == [("UNCERTAIN", "warming_up")] * 3 + [("FAULT", "station")]
    (event,) = [line for line in lines if "event" in line]
    assert (event["event"], event["reason"][-22:]) == ("station.fault", ": start zeroline again")
    told = [line for line in done.stderr.splitlines() if ILLEGAL in line or "Error" in line]
    assert told == [
        f"frame 3 is FAULT: the CUDA device failed: {ILLEGAL}; this process can use it no more: "
        "start zeroline again",
        f'Error: the line has ended with its CUDA device, and "{tmp_path / "set.npz"}" was not '
        "written",
    ]


def test_a_set_that_a_device_fails_on_is_one_line(cupy, own_bundle, image_folder, tmp_path):
    command = ["score", str(image_folder), "--model", str(own_bundle), "--device", "cuda"]
    command += ["--output", str(tmp_path / "out"), "--threads", "1"]

    def scored(*more):
        cupy.broken = None
        usual = cupy._handed_on("concatenate")

        def concatenate(*_, **__):
            cupy.broken = cupy.CUDARuntimeError(ILLEGAL)
            return usual([])

        cupy._given["concatenate"], before = concatenate, cupy._given["concatenate"]
        try:
            return CliRunner().invoke(main, [*command, *more])
        finally:
            cupy._given["concatenate"], cupy.broken = before, None

    done = scored()
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1] == f"Error: the CUDA device failed: {ILLEGAL}"
    assert "Traceback" not in done.stderr
    assert isinstance(scored("--debug").exception, cupy.CUDARuntimeError)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_memory_is_told_before_it_is_taken(cupy, device, own_bundle, image_folder):
    command = ["run", "--source", str(image_folder), "--model", str(own_bundle), "--degrees", "1"]
    done = CliRunner().invoke(main, [*command, "--matching", "exact", "--device", device])
    lines = done.stderr.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("memory"))
    where = "memory on the device" if device == "cuda" else "memory"
    free = "6144 MiB" if device == "cuda" else r"[\d.]+ [GM]iB"
    parts = r"features \d+ MiB, distances \d+ MiB, a frame on its way \d+ MiB, a search for .* MiB"
    assert re.match(rf"{where}: up to \d+ MiB of {free} that are free: {parts}", lines[first])
    if device == "cuda":
        first += 1
        assert re.fullmatch(r"memory of the host: tokens of 64 held frames \d+ MiB \(float16\)",
                            lines[first])  # fmt: skip
    assert re.match(r"beside it: the network, loaded, from files of \d+ MiB; ", lines[first + 1])
    assert lines[first + 2].startswith("window of 64 frames, ")
