"""What does not fit on a device: refused, or left to the host. By CuPy's stand-in."""

from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from zeroline.edge_app.cli import main
from zeroline.edge_app.errors import MemoryLimitError
from zeroline.edge_app.memory import check_memory, check_window, needed_memory, placed_bundle
from zeroline.runtime import RollingInspector, load_bundle
from zeroline.runtime.errors import DeviceError, ProviderWarning
from zeroline.runtime.results import Reason

SET: dict[str, Any] = {"threads": 1, "codegraph": True}


@pytest.fixture
def cuda(hosted_cuda):
    return hosted_cuda[1]


def opened(folder, device):
    return load_bundle(folder, device=device, threads=1, report=lambda _: None)


def leave(cupy, monkeypatch, free):
    monkeypatch.setattr(cupy.cuda.runtime, "memGetInfo", lambda: (free, 8 << 30))


def test_a_set_that_the_device_has_no_room_for(cuda, bundle_folder, monkeypatch):
    """It ended in an OutOfMemoryError in the middle, since the host's memory was looked at."""
    bundle = opened(bundle_folder, "auto")
    needed = needed_memory(bundle, 100, **SET)
    leave(cuda, monkeypatch, needed)
    assert placed_bundle(bundle, 100, **SET) is bundle
    assert check_memory(bundle, 100, **SET) == needed
    leave(cuda, monkeypatch, needed - 1)
    with pytest.warns(ProviderWarning, match=r"^scores are on the CPU, .*: a set of 100 images "):
        placed = placed_bundle(bundle, 100, **SET)
    assert placed.session.device == "cuda"
    assert placed.session.arrays is np
    image = placed.prepare(np.zeros((64, 64, 3), np.uint8))[None]
    assert type(placed.embed(image).class_tokens) is np.ndarray
    named = opened(bundle_folder, "cuda")
    assert placed_bundle(named, 100, **SET) is named
    with pytest.raises(MemoryLimitError, match=r"GiB on the device, .* are free: use --subset \d+"):
        check_memory(named, 100, **SET)


def test_the_command_scores_on_the_cpu_then(cuda, bundle_folder, image_folder, tmp_path):
    """Nothing is asked of a device without room: its one warning is a line."""
    cuda.cuda.runtime.memGetInfo = lambda: (1000, 8 << 30)
    command = ["score", str(image_folder), "--model", str(bundle_folder), "--matching", "exact"]
    with pytest.warns(ProviderWarning, match="^scores are on the CPU"):
        done = CliRunner().invoke(main, [*command, "--output", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    done = CliRunner().invoke(
        main, [*command, "--output", str(tmp_path / "more"), "--device", "cuda"]
    )
    assert done.exit_code == 1
    assert "GiB on the device" in done.stderr


def test_a_window_that_the_device_has_no_room_for(cuda, bundle_folder, monkeypatch, paint):
    auto, named = (opened(bundle_folder, device) for device in ("auto", "cuda"))
    options: dict[str, Any] = {"window": 32, "degrees": "fused", "matching": "exact"}
    eight = check_window(named, 8, degrees="fused")
    leave(cuda, monkeypatch, 100)
    with pytest.raises(MemoryLimitError, match=r"GiB on the device, .*: no window fits, a"):
        check_window(named, 32, degrees="fused")
    leave(cuda, monkeypatch, eight)
    with pytest.raises(MemoryLimitError, match=r"GiB on the device, .*: use --window [67] or"):
        check_window(named, 32, degrees="fused")
    leave(cuda, monkeypatch, 100)
    with pytest.raises(DeviceError, match=r"^a window of 32 frames takes .* GiB on the device"):
        RollingInspector(named, **options)
    check_window(auto, 32, degrees="fused")
    with pytest.warns(ProviderWarning, match=r"^the window is on the CPU, .*: a window of 32"):
        inspector = RollingInspector(auto, **options)
    with inspector:
        assert inspector.push(paint(0)).reason is Reason.WARMING_UP
        assert type(inspector.window.half_squared) is np.ndarray


def test_a_jetson_has_one_memory(cuda, bundle_folder, monkeypatch):
    orin = {"name": b"Orin", "major": 8, "minor": 7, "l2CacheSize": 4 << 20, "integrated": 1}
    monkeypatch.setattr(cuda.cuda.runtime, "getDeviceProperties", lambda _: orin)
    leave(cuda, monkeypatch, 100)  # less than is free: files that are cached count as taken
    bundle = opened(bundle_folder, "cuda")
    assert check_window(bundle, 32, degrees="fused") > 100
    monkeypatch.setattr("zeroline.edge_app.memory.available_memory", lambda: 100)
    with pytest.raises(MemoryLimitError, match=r"GiB, 0\.0 GiB are free"):
        check_window(bundle, 32, degrees="fused")


@pytest.mark.parametrize("category", [ProviderWarning, UserWarning])
def test_our_warnings_are_one_line(category, monkeypatch):
    import warnings

    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    CliRunner().invoke(main, ["sim", "--help"])
    text = warnings.formatwarning("so", category, __file__, 3)
    assert (text == "warning: so\n") == (category is ProviderWarning)
