"""What to install for a package that is missing depends on the kind of machine."""

from __future__ import annotations

import sys

import pytest

from zeroline.edge_app.opencv import opencv
from zeroline.runtime import errors
from zeroline.runtime.errors import MissingExtraError, extra_hint, is_jetson


@pytest.mark.parametrize(
    ("file", "text", "jetson"),
    [
        ("etc/nv_tegra_release", "# R36 (release), REVISION: 4.0\n", True),
        ("proc/device-tree/model", "NVIDIA Jetson Orin Nano\0", True),
        ("proc/device-tree/model", "Raspberry Pi 5 Model B\0", False),
        ("etc/os-release", "ID=debian\n", False),
    ],
)
def test_a_jetson_is_told_by_its_files(tmp_path, file, text, jetson):
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(text)
    assert is_jetson(tmp_path) is jetson


@pytest.fixture
def on_a_jetson(monkeypatch):
    monkeypatch.setattr(errors, "is_jetson", lambda: True)


@pytest.mark.usefixtures("on_a_jetson")
def test_on_a_jetson_no_wheel_is_named_that_hides_the_systems(monkeypatch):
    """The message once said ``.[app]``, whose OpenCV has no GStreamer."""
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError) as caught:
        opencv("to read cameras")
    assert str(caught.value).startswith(
        "OpenCV is not installed and is needed to read cameras; in a clone of zeroline: "
        'pip install ".[app-no-opencv]", in an environment that sees the system\'s OpenCV'
    )
    assert "onnxruntime-gpu on JetPack 6" in extra_hint("cpu")
    assert extra_hint("export") == 'pip install ".[export]"'


def test_on_a_pc_the_extra_itself_is_named():
    assert extra_hint("app") == 'pip install ".[app]"'
    assert str(MissingExtraError("rich", extra="app", purpose="to show progress")) == (
        "rich is not installed and is needed to show progress; "
        'in a clone of zeroline: pip install ".[app]"'
    )
