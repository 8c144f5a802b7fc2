"""``zeroline run`` on CUDA, by stand-ins on the host."""

import json
import sys

import pytest
from click.testing import CliRunner

from support.cuda_provider import install
from zeroline.edge_app.cli import main


@pytest.fixture
def cupy(monkeypatch, tmp_path):
    yield install(monkeypatch, tmp_path / "cache")[1]
    sys.modules.pop("cupy", None)


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
