"""What `run` leaves on the disk: lines and pictures that name their run, and each other."""

import json
import re
import subprocess
import sys
from datetime import datetime

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from support.hooks import SECRET, HookServer
from support.machine import ROOT, missing
from zeroline.edge_app.cli import main
from zeroline.edge_app.outputs.json_lines import open_to_append
from zeroline.edge_app.runs import Run, iso_time


@pytest.fixture
def line(bundle_folder, image_folder, tmp_path):
    """A run over the folder of images; gives its lines."""

    def run(*arguments):
        file = tmp_path / "lines.jsonl"
        done = CliRunner().invoke(main, [
            "run", "--source", str(image_folder), "--model", str(bundle_folder), "--min-window",
            "4", "--settle", "3", "--verdicts", str(file), *map(str, arguments),
        ])  # fmt: skip
        assert done.exit_code == 0, done.output
        return [json.loads(text) for text in file.read_text().splitlines() if text[0] == "{"]

    return run


def test_two_runs_into_one_folder_overwrite_nothing(line, tmp_path):
    first = line("--overlays", tmp_path / "o", "--draw", "all")
    pictures = {path.name: path.read_bytes() for path in (tmp_path / "o").iterdir()}
    both = line("--overlays", tmp_path / "o", "--draw", "all")
    second = both[len(first) :]
    assert both[: len(first)] == first
    names = [{entry["run_id"] for entry in lines} for lines in (first, second)]
    assert [len(name) for name in names] == [1, 1]
    assert names[0] != names[1]
    after = {path.name: path.read_bytes() for path in (tmp_path / "o").iterdir()}
    assert pictures.items() <= after.items()
    assert len(after) == 2 * len(pictures)
    drawn = {entry["overlay"] for entry in both if entry.get("overlay")}
    assert drawn == {name for name in after if "recurring" not in name}


def test_lines_name_time_address_and_pictures(line, tmp_path, image_folder):
    frames = [e for e in line("--overlays", tmp_path / "o", "--keep", "ng") if "frame" in e]
    for entry in frames:
        assert entry["address"] == str(image_folder)
        moment = datetime.fromisoformat(entry["time"].replace("Z", "+00:00"))
        assert moment.timestamp() == pytest.approx(entry["wall_time"], abs=0.001)
        wanted = entry["verdict"] != "OK" and entry["score"] is not None
        assert (entry["overlay"] is not None) == (entry["kept"] is not None) == wanted
        if wanted:
            assert entry["kept"] == entry["overlay"].replace(".png", ".raw.png")
            assert (tmp_path / "o" / entry["overlay"]).is_file()
            kept = cv2.imread(str(tmp_path / "o" / entry["kept"]))
            np.testing.assert_array_equal(kept, cv2.imread(str(image_folder / entry["source"])))
    assert sum(entry["kept"] is not None for entry in frames) >= 2


def test_frames_can_be_kept_without_overlays(line, tmp_path):
    frames = [e for e in line("--overlays", tmp_path / "o", "--draw", "none", "--keep", "all")
              if "frame" in e]  # fmt: skip
    names = {path.name for path in (tmp_path / "o").iterdir()}
    assert names == {entry["kept"] for entry in frames if entry["kept"]}
    assert len(names) == sum(entry["score"] is not None for entry in frames)


def test_what_is_kept_needs_a_folder(image_folder):
    done = CliRunner().invoke(main, ["run", "--source", str(image_folder), "--keep", "ng"])
    assert done.exit_code == 2
    assert "--keep ng has no meaning without --overlays" in done.output


@pytest.mark.parametrize("before", [b'{"frame": 1}\n', b'{"frame": 1, "ver', b"", None])
def test_after_half_a_line_a_new_one_begins(tmp_path, before):
    path = tmp_path / "new" / "lines.jsonl"
    if before is not None:
        path.parent.mkdir()
        path.write_bytes(before)
    with open_to_append(path) as file:
        file.write('{"frame": 2}\n')
    lines = path.read_bytes().splitlines()
    assert lines[-1] == b'{"frame": 2}'
    assert lines[:-1] == (before or b"").splitlines()


def test_a_killed_run_leaves_the_next_one_its_own_line(tmp_path):
    """The first process dies in the middle of a line, as by a power cut."""
    path = tmp_path / "lines.jsonl"
    code = (
        "import os, sys; from pathlib import Path\n"
        "from zeroline.edge_app.outputs.json_lines import open_to_append\n"
        'file = open_to_append(Path(sys.argv[1])); file.write(\'{"frame": 0}\\n{"frame"\')\n'
        "file.flush(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    with open_to_append(path) as file:
        file.write('{"frame": 1}\n')
    assert path.read_text().splitlines() == ['{"frame": 0}', '{"frame"', '{"frame": 1}']


def test_a_file_that_cannot_be_appended_to_is_told(tmp_path):
    (tmp_path / "file").write_text("x")
    done = CliRunner().invoke(main, ["run", "--source", "sim://parts", "--verdicts",
                                     str(tmp_path / "file" / "lines.jsonl")])  # fmt: skip
    assert done.exit_code == 1
    assert re.search(r'"\S+lines.jsonl" cannot be written', done.output)


def test_names_of_runs_differ_and_sort_by_time():
    names = [Run("0").id for _ in range(5)]  # of one second: each pair is equal once in 65,536
    assert len(set(names)) == 5
    assert all(re.fullmatch(r"\d{8}T\d{6}Z-[0-9a-f]{4}", name) for name in names)
    assert iso_time(1795658321.1419) == "2026-11-26T01:58:41.141Z"


def test_a_window_that_does_not_fit_names_one_that_does(monkeypatch):
    monkeypatch.setattr("zeroline.edge_app.memory.available_memory", lambda: 2**30)
    arguments = ["run", "--source", "sim://parts?parts=3", "--degrees", "fused"]
    done = CliRunner().invoke(main, [*arguments, "--window", "4096"])
    assert done.exit_code == 1
    told = re.search(r"a window of 4096 frames .* takes \d+\.\d GiB, 1\.0 GiB are free: "
                     r"use --window (\d+) or a smaller number", done.output)  # fmt: skip
    assert told, done.output
    fits = int(told[1])
    assert 200 < fits < 1000
    done = CliRunner().invoke(main, [*arguments, "--window", str(fits)])
    assert done.exit_code == 0, done.output


def test_a_file_shows_how_far_the_line_has_come(monkeypatch, tmp_path, bundle_folder, image_folder):
    """`run` on a file was silent for minutes."""
    monkeypatch.setattr("zeroline.edge_app.progress.SHORT", 0.0)
    arguments = ["--model", str(bundle_folder), "--verdicts", str(tmp_path / "lines.jsonl")]
    done = CliRunner().invoke(main, ["run", "--source", str(image_folder), *arguments])
    lines = [text for text in done.stderr.splitlines() if text.startswith("inspecting: ")]
    assert lines == [f"inspecting: {10 * n} % ({n} of 10)" for n in range(1, 11)]
    arguments = ["run", "--source", "sim://parts", "--frames", "4", *arguments]
    done = CliRunner().invoke(main, arguments)  # nobody knows how many parts there are
    assert "inspecting" not in done.stderr


def test_a_run_by_hand_signs_with_the_secret_beside_the_stations_file(tmp_path, bundle_folder):
    """systemd gives the service NAME.env; nobody gives it to a command by hand."""
    hook = HookServer()
    file = tmp_path / "press-4.yaml"
    file.write_text(
        "cameras: [{name: top, source: 'sim://parts?parts=5'}]\n"
        f"recipes: {{default: {{model: '{bundle_folder}', window: 8, min_window: 4}}}}\n"
        f"outputs: [{{kind: webhook, url: '{hook.url}', secret_env: NO_SUCH_HOOK}}]\n"
        "page: {listen: off}\nstorage: {keep_free_gb: 0}\n"
    )
    file.with_suffix(".env").write_text(f'NO_SUCH_HOOK="{SECRET}"\n')
    done = subprocess.run(
        [sys.executable, "-m", "zeroline.edge_app", "run", file],
        capture_output=True, text=True, check=False, timeout=120,
        env={"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    hook.stop()
    assert done.returncode == 0, done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert len([body for body in hook.bodies if "frame" in body]) == 5


@pytest.mark.parametrize("made", [False, True])
def test_a_data_folder_that_the_service_may_not_write_is_named(tmp_path, made):
    """The service's log said [Errno 30] Read-only file system, and nothing else."""
    if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode:
        missing("unshare may not mount here")
    place = tmp_path / "etc"
    (place / "data" if made else place).mkdir(parents=True)
    (place / "press-4.yaml").write_text("data: data\ncameras: [{source: 'sim://parts?parts=2'}]\n")
    closed = f"mount -t tmpfs -o ro none {place}/data" if made else (
        f"mount --bind {place} {place} && mount -o remount,bind,ro {place}"
    )  # fmt: skip
    ran = f"{closed} && exec {sys.executable} -m zeroline.edge_app run {place}/press-4.yaml"
    environment = {"PYTHONPATH": str(ROOT / "src"), "PATH": "/usr/sbin:/usr/bin:/bin"}

    def told(**more):
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", ran],
            capture_output=True, text=True, check=False, env={**environment, **more}, timeout=60,
        )  # fmt: skip
        assert done.returncode == 1
        return done.stderr.splitlines()[-1]

    text = f'Error: data is "{place}/data", which cannot be written: '
    assert told().startswith(text)
    own = "/var/lib/zeroline/press-4"
    assert told(STATE_DIRECTORY=own).endswith(
        f": write data: {own}, a service may write nowhere else"
    )
