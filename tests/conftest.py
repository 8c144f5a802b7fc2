"""Fixtures that many tests share: array libraries, the shared data, a small bundle, images."""

from __future__ import annotations

import importlib
import os
import shutil
import sys

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch: OpenMP's threads spin beside another's
    os.environ.setdefault("OPENBLAS_NUM_THREADS", str(os.cpu_count()))
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from support.machine import ROOT, STAND_INS, forget_device, has_gpu, missing


class ArrayLibrary:
    """One kind of array: `array` makes one of it, `host` brings a result back."""

    def __init__(self, name: str) -> None:
        self.name = name

    def array(self, values: Any) -> Any:
        if self.name == "cupy":
            import cupy

            return cupy.asarray(values)
        made = np.array(values)
        made.setflags(write=self.name != "read-only numpy")
        return made

    def host(self, values: Any) -> Any:
        return values.get() if self.name == "cupy" else values


@pytest.fixture(params=["numpy", "read-only numpy", "cupy"])
def xp(request: pytest.FixtureRequest) -> ArrayLibrary:
    if request.param == "cupy" and not has_gpu():
        pytest.skip("CuPy with a working GPU is not here")
    return ArrayLibrary(request.param)


@pytest.fixture
def cupy_stand_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """CuPy's stand-in, also beside a GPU."""
    if shutil.which("g++") is None:
        missing("no g++ is here to run the kernels")
    forget_device()
    monkeypatch.syspath_prepend(STAND_INS)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    yield importlib.import_module("cupy")
    sys.modules.pop("cupy", None)
    forget_device()


@pytest.fixture
def hosted_cuda(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[Any, Any]]:
    """onnxruntime as if it had a CUDA provider (`HostedCuda`), and CuPy's stand-in."""
    if shutil.which("g++") is None:
        missing("no g++ is here to run the kernels")
    pytest.importorskip("onnxruntime")
    from support.cuda_provider import install

    forget_device()
    yield install(monkeypatch, tmp_path / "cache")
    sys.modules.pop("cupy", None)
    forget_device()


@pytest.fixture
def cupy(request: pytest.FixtureRequest) -> Any:
    """CuPy on a GPU where there is one, else the stand-in."""
    if not has_gpu():
        return request.getfixturevalue("cupy_stand_in")
    forget_device()
    return importlib.import_module("cupy")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of golden data and photographs, which is not part of the repository."""
    folder = Path(os.environ.get("ZEROLINE_SHARED", ROOT.parent / "shared"))
    if not (folder / "golden").is_dir():
        pytest.skip(f"no shared golden data in {folder} (set ZEROLINE_SHARED)")
    return folder


@pytest.fixture(scope="session")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a small network with fixed random weights; do not write to it."""
    pytest.importorskip("onnx")  # and more, which a full environment has as well
    from support.small_network import write_bundle

    folder = tmp_path_factory.mktemp("bundles") / "small"
    write_bundle(folder)
    return folder


@pytest.fixture
def own_bundle(tmp_path: Path) -> Path:
    """A bundle that a test may spoil."""
    pytest.importorskip("onnx")
    from support.small_network import write_bundle

    folder = tmp_path / "bundle"
    write_bundle(folder)
    return folder


Painter = Callable[..., np.ndarray[Any, np.dtype[np.uint8]]]


@pytest.fixture(scope="session")
def paint() -> Painter:
    """Paint a textured part, 96×96 grey-ish BGR, with a bright scratch if asked."""

    def painter(seed: int, *, scratch: bool = False, height: int = 96, width: int = 96) -> Any:
        rng = np.random.default_rng(seed)
        y, x = np.mgrid[:height, :width]
        base = 110 + 25 * np.sin(x / 9.0) + 12 * np.cos(y / 13.0)
        frame = np.stack([base, base + 4, base - 4], axis=2) + rng.normal(0, 4, (height, width, 3))
        if scratch:
            frame[height // 2 : height // 2 + 6, width // 4 : width // 2] = 250
        return frame.clip(0, 255).astype(np.uint8)

    return painter


@pytest.fixture
def image_folder(tmp_path: Path, paint: Painter) -> Path:
    """Nine good parts and one scratched one (``bad/07.png``), as PNG files."""
    from PIL import Image

    folder = tmp_path / "parts"
    (folder / "good").mkdir(parents=True)
    (folder / "bad").mkdir()
    for number in range(10):
        frame = paint(number, scratch=number == 7)
        kind = "bad" if number == 7 else "good"
        Image.fromarray(frame[:, :, ::-1]).save(folder / kind / f"{number:02d}.png")
    return folder
