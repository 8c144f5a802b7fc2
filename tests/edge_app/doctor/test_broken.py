"""Set-ups that are broken on purpose: the right lines fail, the others stand."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from trials.station_process import free_port

from support.broken import doctor, failing, missing, module, run, stand_in
from support.machine import ROOT
from zeroline.edge_app.doctor import cameras, devices, guarded
from zeroline.edge_app.doctor.examination import examine
from zeroline.edge_app.doctor.findings import State
from zeroline.edge_app.doctor.system import clock_findings
from zeroline.edge_app.store.lock import FolderLock
from zeroline.runtime.cuda import Gpu
from zeroline.runtime.network.engines import EngineKey
from zeroline.runtime.network.manifest import read_manifest
from zeroline.runtime.network.tensorrt import BATCHES

#: Lines that every machine has.
ALWAYS = {"python", "packages", "opencv", "onnxruntime", "cuda.driver", "tensorrt", "sqlite"}


# installations: each in a process of its own


def test_this_machine_is_well():
    lines = doctor()
    assert failing(lines) == set()
    assert {*ALWAYS, "onnxruntime.cpu", "bundle tiny", "clock"} <= set(lines)


@pytest.mark.parametrize(
    ("package", "broken"),
    [
        ("cv2", {"opencv"}),
        ("onnxruntime", {"onnxruntime"}),
        ("numba", set()),
        ("fastapi", {"package fastapi"}),
        ("PIL", {"package pillow", "onnxruntime.cpu", "bundle"}),
        ("threadpoolctl", {"package threadpoolctl", "package scikit-learn", "onnxruntime.cpu"}),
    ],
)
def test_a_package_that_is_not_installed(tmp_path, package, broken):
    lines = doctor(before=missing(tmp_path / "before", package))
    assert failing(lines) == broken
    assert set(lines) >= ALWAYS


NUMPY = {
    "package numpy",
    "package scipy",
    "package scikit-learn",
    "opencv",
    "onnxruntime",
    "bundle",
}


@pytest.mark.parametrize(
    "text",
    [
        "raise ModuleNotFoundError(\"No module named 'numpy'\", name='numpy')\n",
        "raise ImportError('PLEASE READ THIS ' + 300 * 'for advice ' + 'libblas.so: not found')\n",
        "raise AttributeError('_ARRAY_API not found')\n",
    ],
)
def test_a_numpy_that_cannot_be_imported(tmp_path, text):
    """It ended the doctor in a traceback; OpenCV and onnxruntime print one of their own."""
    station = tmp_path / "station.yaml"
    station.write_text("station: press-4\ncameras: [{name: top, source: 'sim://parts'}]\n")
    archive = tmp_path / "support.tar.gz"
    before = module(tmp_path / "before", "numpy", text)
    lines = doctor(station, "--bundle", archive, before=before)
    assert failing(lines) == {*NUMPY, "station", "opencv", "onnxruntime", "bundle"}
    assert set(lines) >= ALWAYS - {"onnxruntime"}
    assert lines["package numpy"]["cure"].startswith("pip install --force-reinstall")
    why = lines["package numpy"]["text"]
    assert len(why) < 400
    assert why.endswith(
        ("No module named 'numpy'", "libblas.so: not found", "_ARRAY_API not found")
    )
    assert all(lines[name]["state"] == "ok" for name in ("tensorrt", "cuda.driver", "sqlite"))
    assert archive.is_file()


@pytest.mark.parametrize(
    ("package", "broken"),
    [
        ("pydantic", {"package pydantic", "package fastapi", "onnxruntime.cpu", "bundle"}),
        ("yaml", {"package pyyaml"}),
    ],
)
def test_a_package_that_a_stations_file_needs(tmp_path, package, broken):
    """What needs it fails, and nothing else does."""
    (tmp_path / "station.yaml").write_text("cameras: [{name: top, source: 'sim://parts'}]\n")
    before = missing(tmp_path / "before", package)
    lines = doctor(tmp_path / "station.yaml", before=before)
    assert failing(lines) == {"station", *broken}
    assert lines["opencv"]["state"] == lines["sqlite"]["state"] == "ok"
    assert lines["station.rest"]["state"] == "warning"


CRASH = "import os, signal\nos.kill(os.getpid(), signal.{})\n"


@pytest.mark.parametrize(
    ("package", "by", "failed"),
    [
        ("cv2", "SIGILL", {"opencv"}),
        ("onnxruntime", "SIGSEGV", {"onnxruntime"}),
        ("yaml", "SIGABRT", {"package pyyaml", "station"}),
    ],
)
def test_a_library_that_ends_its_process(tmp_path, package, by, failed):
    """As one does that was built for another processor: the lines of others stand, each once."""
    (tmp_path / "station.yaml").write_text("cameras: [{name: top, source: 'sim://parts'}]\n")
    before = module(tmp_path / "before", package, CRASH.format(by))
    archive = tmp_path / "help.tar.gz"
    done = run(tmp_path / "station.yaml", "--json", "--bundle", archive, before=before)
    assert done.returncode == 1
    assert "the archive has no settings" in done.stderr
    assert archive.is_file()
    lines = json.loads(done.stdout)
    names = [line["name"] for line in lines]
    assert len(names) == len(set(names))
    assert set(names) >= ALWAYS
    found = {line["name"]: line for line in lines if line["state"] == "fail"}
    assert failed <= set(found)
    for name in failed:
        assert found[name]["text"] == f"a library has ended the whole process: {by}"


def test_a_library_that_holds_the_whole_process(tmp_path, monkeypatch):
    """Its thread never lets the others run: the process cannot even tell that it hangs."""
    held = "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\n"
    monkeypatch.setenv("PYTHONPATH", f"{module(tmp_path / 'b', 'cv2', held)}:{ROOT / 'src'}")
    monkeypatch.setattr(guarded, "_MARGIN", -12.0)
    lines = {one.name: one for one in guarded.examine_guarded(None, tell=lambda _: None)}
    assert lines["opencv"].text == "its process hung, and was ended after 8 s"
    assert lines["sqlite"].state is State.OK


def test_another_command_without_numpy_is_one_line(tmp_path):
    before = missing(tmp_path / "before", "numpy")
    done = run("--help", before=before, command="score")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "Error: \"score\" cannot be loaded: No module named 'numpy'; see zeroline doctor\n"
    )


def test_without_click_the_doctor_speaks_all_the_same(tmp_path):
    before = missing(tmp_path / "before", "click")
    done = run(before=before)
    assert done.returncode == 1
    assert done.stderr == (
        "Error: click cannot be imported: No module named 'click'; install zeroline anew\n"
    )
    assert "fail    package click" in done.stdout
    assert {line.split()[1] for line in done.stdout.splitlines() if line[0] != " "} >= ALWAYS
    other = run("--help", before=before, command="score")
    assert (other.returncode, other.stdout, other.stderr) == (1, "", done.stderr)


def test_an_opencv_whose_library_is_missing(tmp_path):
    text = "raise ImportError('libGL.so.1: cannot open shared object file')\n"
    lines = doctor(before=module(tmp_path / "before", "cv2", text))
    assert failing(lines) == {"opencv"}
    assert "libGL.so.1" in lines["opencv"]["text"]


def test_an_onnxruntime_without_providers(tmp_path):
    text = "__version__ = '1.30'\ndef get_available_providers(): return []\n"
    lines = doctor(before=module(tmp_path / "before", "onnxruntime", text))
    assert failing(lines) == {"onnxruntime.cpu"}
    assert set(lines) >= ALWAYS


@pytest.mark.parametrize(
    "text",
    [
        "raise ImportError('libcudart.so.12: cannot open shared object file')\n",
        "raise AttributeError('module numpy has no attribute')\n",
    ],
)
def test_a_cupy_that_cannot_be_imported(tmp_path, text):
    lines = doctor(before=module(tmp_path / "before", "cupy", text))
    assert failing(lines) == {"cupy"}
    assert set(lines) >= ALWAYS


def test_a_cupy_that_imports_and_launches_no_kernel(tmp_path):
    text = (
        "__version__ = '13.6'\nclass runtime:\n    getDeviceCount = staticmethod(lambda: 1)\n"
        "class cuda:\n    runtime = runtime\n"
        "def arange(count): raise RuntimeError('no kernel image is available for sm_87')\n"
    )
    lines = doctor(before=module(tmp_path / "before", "cupy", text))
    assert failing(lines) == {"cupy"}
    assert "sm_87" in lines["cupy"]["text"]


def distribution(folder: Path, name: str, version: str) -> Path:
    about = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    about.mkdir(parents=True)
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (about / "METADATA").write_text(text, encoding="utf-8")
    return folder


def test_a_package_of_a_wrong_version(tmp_path):
    lines = doctor(before=distribution(tmp_path / "before", "pydantic", "1.10.2"))
    assert failing(lines) == {"package pydantic"}
    assert lines["package pydantic"]["text"] == "1.10.2: >=2.5 is needed"


def test_a_package_that_is_newer_than_any_that_was_tested(tmp_path):
    lines = doctor(before=distribution(tmp_path / "before", "pydantic", "9.0"))
    assert failing(lines) == set()
    assert lines["package pydantic"]["state"] == "warning"


def test_two_wheels_of_opencv_in_one_place(tmp_path):
    lines = doctor(before=distribution(tmp_path / "before", "opencv-python", "4.9.0.80"))
    assert failing(lines) == {"opencv"}
    assert "opencv-python 4.9.0.80" in lines["opencv"]["text"]


def test_a_tensorrt_that_is_known_for_wrong_results(tmp_path):
    before = stand_in(tmp_path / "before", "tensorrt", more="\n__version__ = '10.2.0'\n")
    lines = doctor(before=before)
    assert failing(lines) == {"tensorrt"}


def engine_of(bundle: Path, version: str) -> None:
    key = EngineKey.of(read_manifest(bundle), version, Gpu("Orin", "87"), BATCHES)
    (bundle / "engines").mkdir()
    notes = {"key": {"network": key.network, "tensorrt": version, "gpu": {"name": "Orin"}}}
    (bundle / "engines" / "a.json").write_text(json.dumps(notes))
    (bundle / "engines" / "a.engine").write_bytes(b"an engine")


@pytest.mark.parametrize(
    ("kept", "states"), [("10.3.0", ("ok", "ok")), ("10.0.1", ("warning", "fail"))]
)
def test_an_engine_of_another_version(own_bundle, monkeypatch, tmp_path, kept, states):
    monkeypatch.syspath_prepend(stand_in(tmp_path / "before", "tensorrt"))
    engine_of(own_bundle, kept)
    for device, state in zip(("auto", "tensorrt"), states, strict=True):
        first, engine = devices.tensorrt_findings([str(own_bundle)], device)
        assert first.state.value == "ok"
        assert engine.state.value == state
        assert kept in engine.text
    monkeypatch.delitem(sys.modules, "tensorrt")


# stations


@pytest.fixture
def root(tmp_path):
    """A system whose clock is held by another one."""
    there = tmp_path / "root" / "run/systemd/timesync/synchronized"
    there.parent.mkdir(parents=True)
    there.touch()
    return tmp_path / "root"


@pytest.fixture
def station(tmp_path, bundle_folder):
    """Write a station's file."""

    def write(*, source="sim://parts?parts=60", data=None, more="", bundle=None, port=None):
        file = tmp_path / "station.yaml"
        file.write_text(
            f"station: press-4\ndata: {data or tmp_path / 'data'}\n"
            f"cameras: [{{name: top, source: '{source}'}}]\n"
            f"recipes: {{default: {{model: '{bundle or bundle_folder}', window: 8, "
            "min_window: 4, codegraph: false}}\nstorage: {keep_free_gb: 0}\nthreads: 1\n"
            f"page: {{listen: '127.0.0.1:{port or free_port()}'}}\n{more}"
        )
        return file

    return write


def lines_of(file, root):
    found = examine(file, root=root)
    assert all(bool(one.cure) == (one.state.value != "ok") for one in found)
    return {one.name: one.as_dict() for one in found}


STATION = {"station", "port", "lock", "data", "data.days", "camera top", "speed top"}


def test_a_station_that_is_well(station, root):
    lines = lines_of(station(), root)
    assert failing(lines) == set()
    assert {*ALWAYS, *STATION, "data.space", "data.speed", "data.sync", "clock"} <= set(lines)
    assert "ms a frame" in lines["speed top"]["text"]


def test_a_damaged_bundle(station, root, own_bundle):
    content = (own_bundle / "model.onnx").read_bytes()
    (own_bundle / "model.onnx").write_bytes(content[:-9] + bytes(9))
    lines = lines_of(station(bundle=own_bundle), root)
    assert failing(lines) == {"bundle bundle", "speed top"}
    assert "model.onnx" in lines["bundle bundle"]["text"]
    assert set(lines) >= {*ALWAYS, *STATION}


@pytest.fixture
def disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", folder],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("no tmpfs may be mounted here")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_little_room(station, root, disk):
    lines = lines_of(station(data=disk / "data"), root)
    assert failing(lines) == {"data.space"}
    assert lines["data.space"]["text"].startswith("16.8 MB free")
    assert not (disk / "data").exists()


def fill(path):
    with path.open("wb") as file:
        while True:
            file.write(bytes(1 << 16))
            file.flush()


def test_a_full_disk(station, root, disk):
    with pytest.raises(OSError, match="No space"):
        fill(disk / "filler")
    lines = lines_of(station(data=disk / "data"), root)
    assert failing(lines) == {"data", "data.space"}
    assert lines["data"]["cure"] == "make room on the disk"
    assert set(lines) >= {*ALWAYS, *STATION}


def test_a_folder_that_can_only_be_read(station, root, disk):
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    lines = lines_of(station(data=disk), root)
    assert failing(lines) - {"data.space"} == {"data"}
    assert "Read-only" in lines["data"]["text"]


def test_a_port_that_another_program_has(station, root):
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.listen()
        lines = lines_of(station(port=other.getsockname()[1]), root)
    assert failing(lines) == {"port"}
    assert "another program" in lines["port"]["text"]


@pytest.fixture
def answering():
    """A server that answers as a station does."""
    servers = []

    def answer(state):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                content = json.dumps(state).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_):
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return servers[-1].server_address[1]

    yield answer
    for one in servers:
        one.shutdown()
        one.server_close()


def test_a_port_that_another_station_has(station, root, answering):
    lines = lines_of(station(port=answering({"station": "press-5"})), root)
    assert failing(lines) == {"port"}
    assert '"press-5"' in lines["port"]["text"]


def test_a_folder_that_another_station_has(station, root, tmp_path):
    (tmp_path / "data").mkdir()
    lock = FolderLock(tmp_path / "data")
    lines = lines_of(station(), root)
    lock.release()
    assert failing(lines) == {"lock"}


def test_the_data_folder_that_the_station_runs_with(station, tmp_path):
    """A container runs with --data /data; the doctor looked at the file's folder."""
    volume = tmp_path / "volume"
    volume.mkdir()
    lock = FolderLock(volume)
    lines = doctor(station(), "--data", volume)
    lock.release()
    assert failing(lines) == {"lock"}
    assert lines["data"]["text"] == f'"{volume}" can be written'
    assert not (tmp_path / "data").exists()


def test_a_station_that_runs_is_not_disturbed(station, root, tmp_path, answering):
    (tmp_path / "data").mkdir()
    lock = FolderLock(tmp_path / "data")
    port = answering({"station": "press-4", "cameras": {"top": {"frames": 17}}})
    lines = lines_of(station(port=port), root)
    lock.release()
    assert failing(lines) == set()
    assert "has had 17 frames" in lines["camera top"]["text"]
    assert "not measured" in lines["speed top"]["text"]
    assert "data.speed" not in lines


def test_a_camera_that_never_answers(station, root, monkeypatch):
    monkeypatch.setattr(cameras, "FIRST", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as hole:
        address = f"rtsp://127.0.0.1:{hole.getsockname()[1]}/stream"
        began = time.monotonic()
        lines = lines_of(station(source=address), root)
        assert time.monotonic() - began < 20
    assert failing(lines) == {"camera top"}
    assert set(lines) >= {*ALWAYS, *STATION}


def test_a_camera_that_is_not_there(station, root):
    lines = lines_of(station(source="/dev/video99"), root)
    assert failing(lines) == {"camera top"}


def test_a_pipeline_where_opencv_has_no_gstreamer(station, root):
    import cv2

    if "GStreamer:                   YES" in cv2.getBuildInformation():
        pytest.skip("this OpenCV has GStreamer")
    lines = lines_of(station(source="videotestsrc ! appsink"), root)
    assert failing(lines) == {"opencv.gstreamer", "camera top"}


def test_a_configuration_with_errors(tmp_path, root):
    file = tmp_path / "station.yaml"
    file.write_text(
        "station: a\ncameras:\n  - {name: top, sorce: x}\nrecipes: {default: {window: 1}}\n"
    )
    found = [one for one in examine(file, root=root) if one.name == "station"]
    assert [one.state.value for one in found] == ["fail", "fail"]
    assert 'did you mean "source"?' in found[0].text
    lines = lines_of(file, root)
    assert failing(lines) == {"station"}
    assert {*ALWAYS, "station.rest"} <= set(lines)


def test_a_configuration_that_is_no_yaml(tmp_path, root):
    file = tmp_path / "station.yaml"
    file.write_text("a: [")
    assert failing(lines_of(file, root)) == {"station"}
    assert failing(lines_of(tmp_path / "none.yaml", root)) == {"station"}


def test_a_store_that_is_damaged(station, root, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "zeroline.sqlite").write_bytes(b"no database at all" * 500)
    lines = lines_of(station(), root)
    assert failing(lines) == {"store"}
    assert "damaged" in lines["store"]["text"]


def test_a_window_that_does_not_fit_into_memory(station, root, tmp_path):
    file = station()
    file.write_text(file.read_text().replace("window: 8,", "window: 4096, tiles: 16x16,"))
    lines = lines_of(file, root)
    assert failing(lines) == {"speed top"}


# the clock


def test_a_clock_by_the_file_the_kernel_or_nobody(root, tmp_path):
    def state(place, kernel, now=time.time):
        (one,) = clock_findings(place, kernel=lambda: kernel, now=now)
        return one.state.value

    assert state(root, False) == "ok"  # the file is there
    assert state(tmp_path, True) == "ok"
    assert state(tmp_path, False) == "fail"
    assert state(tmp_path, None) == "warning"
    assert state(root, True, now=lambda: 1e9) == "fail"  # 2001: a clock without a battery
