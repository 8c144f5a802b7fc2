"""The end of a program whose camera gives fewer than two pictures a second."""

import os
import subprocess
import sys

import pytest

from support.machine import ROOT
from support.mjpeg_server import MjpegCamera


@pytest.mark.parametrize("seconds", [0.52, 0.54])
def test_a_slow_camera_does_not_abort_the_end(seconds):
    """Its thread came out of OpenCV while Python ended: exit code 134, FATAL on stderr."""
    camera = MjpegCamera(rate=1 / seconds)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT / 'tests'}"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "support.slow_end", camera.address],
            env=environment, capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
    finally:
        camera.close()
    assert (done.returncode, done.stdout, done.stderr) == (0, "taken\n", "")
