"""Where bundles are made: room on the disk, and what killed exports leave behind."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from zeroline.export.backbones import Backbone
from zeroline.export.staging import staged
from zeroline.runtime.errors import BundleError
from zeroline.runtime.network.parity import measure_parity
from zeroline.runtime.tokens import Tokens

HOLDING = """
import sys, time
from pathlib import Path
from zeroline.export.staging import staged
with staged(Path(sys.argv[1]), size=0) as folder:
    (folder / "plain.onnx").write_bytes(b"x" * 100)
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holding():
    """Start processes that hold a folder, and end them."""
    started = []

    def start(output):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLDING, str(output)], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        return process, process.stdout.readline().strip()

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_what_a_killed_export_left_is_swept_and_what_runs_stays(tmp_path, holding):
    killed, left = holding(tmp_path / "a")
    _, running = holding(tmp_path / "b")
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert os.path.exists(left)  # noqa: PTH110 - a name that another process printed
    (tmp_path / ".zeroline-export-mine").mkdir()
    with staged(tmp_path / "c", size=0) as folder:
        there = {str(path) for path in tmp_path.iterdir()}
        assert there == {running, str(folder), str(tmp_path / ".zeroline-export-mine")}
    assert not folder.exists()


def test_the_disk_is_looked_at_before_the_work(tmp_path):
    with (
        pytest.raises(BundleError, match=r"needs 1000000000\.00 GB while it is made, .* GB free"),
        staged(tmp_path / "a", size=10**18),
    ):
        pytest.fail("it was made")
    assert not list(tmp_path.iterdir())


def test_a_large_backbone_is_refused_before_it_is_built(tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed (extra backbones)")
    from zeroline.export.backbone_bundle import Request, export_backbone
    from zeroline.export.weights import Weights

    large = replace(Backbone("ViT", "CLIP", "none", 12, 768, 16, 224), blocks=10**9)
    with pytest.raises(BundleError, match=r"GB while it is made"):
        export_backbone(Request(large, Weights()), tmp_path / "a")


def test_no_figure_stands_beside_nan():
    """ "least cosine 1.000000, rank correlation nan" was read as a good export."""
    rng = np.random.default_rng(0)
    good = rng.standard_normal((3, 4, 8)).astype(np.float32)
    bad = good.copy()
    bad[0, 0, 0] = np.inf
    unit = np.eye(3, 8, dtype=np.float32)

    def scorer(tokens, size):
        pytest.fail("such tokens have no scores")

    parity = measure_parity(
        Tokens((good, good), unit),
        Tokens((good, bad), unit),
        names=("tokens_0", "tokens_1", "class_token"),
        size=8,
        scorer=scorer,
    )
    assert str(parity) == "NaN or inf, or another shape, in tokens_1"
    assert not parity.finite
