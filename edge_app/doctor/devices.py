"""What runs the network: onnxruntime, CUDA, CuPy, TensorRT. Each is really used once.

What needs NumPy or pydantic is imported where it is used: the other lines stand without it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zeroline.edge_app.doctor.findings import Finding, broken, fail, ok, reason_of, warning
from zeroline.runtime.cuda import Gpu, current_gpu, install_hint, working_cupy
from zeroline.runtime.errors import BundleError, DeviceError, MissingExtraError, extra_hint
from zeroline.runtime.files import cache_folder

if TYPE_CHECKING:
    from zeroline.runtime.network.manifest import Manifest

_ABSENT = "not here"


def onnxruntime_findings(device: str = "auto") -> list[Finding]:
    """Open the bundled network by each provider that onnxruntime offers, and run it.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda", "tensorrt"}
        What the station asks for.
    """
    try:
        import onnxruntime
    except Exception as error:  # noqa: BLE001 - a library that it needs
        if isinstance(error, ModuleNotFoundError) and error.name == "onnxruntime":
            state = fail if find_spec("tensorrt") is None else warning
            return [state("onnxruntime", _ABSENT, f"in a clone of zeroline: {extra_hint('cpu')}")]
        text = f"installed, and cannot be imported: {reason_of(error)}"
        cure = f"mend what the text names, or install it anew: {extra_hint('cpu')}"
        return [fail("onnxruntime", text, cure)]
    offered = onnxruntime.get_available_providers()
    text = f"{onnxruntime.__version__} offers {', '.join(offered) or 'nothing'}"
    return [ok("onnxruntime", text), *_providers(offered, device)]


def _providers(offered: Sequence[str], device: str) -> Iterator[Finding]:
    try:
        from zeroline.runtime.network.onnxruntime import PROVIDERS
    except Exception as error:  # noqa: BLE001 - of any package that it needs
        yield broken("onnxruntime.cpu", error)
        return
    for name in ("cpu", "cuda"):
        line = f"onnxruntime.{name}"
        if PROVIDERS[name][0] in offered:
            yield _run(line, name)
        elif name == "cpu":
            cure = f"pip uninstall all wheels of it, then install one: {extra_hint('cpu')}"
            yield fail(line, f"{PROVIDERS[name][0]} is not offered", cure)
        elif device == "cuda":
            text = f"{PROVIDERS[name][0]} is not offered, and the station asks for cuda"
            yield fail(line, text, f"in a clone of zeroline: {install_hint()}")


def _run(line: str, device: str) -> Finding:
    """Open the bundled network on a device, and run it."""
    try:
        import numpy as np

        from zeroline.runtime.network.manifest import read_manifest
        from zeroline.runtime.network.onnxruntime import OnnxRuntimeSession
        from zeroline.runtime.network.open import BUNDLED

        manifest = read_manifest(BUNDLED / "tiny")
        began = time.monotonic()
        session = OnnxRuntimeSession(BUNDLED / "tiny" / manifest.model, device=device, threads=1)
        opened = time.monotonic() - began
        side = manifest.input.size
        pictures = np.zeros((1, 3, side, side), np.float32)
        session.run(manifest.input.name, pictures)
        began = time.monotonic()
        session.run(manifest.input.name, pictures)
    except (BundleError, DeviceError, MissingExtraError) as error:
        return fail(line, str(error), f"in a clone of zeroline: {install_hint()}")
    except Exception as error:  # noqa: BLE001 - of any package that it needs
        return broken(line, error)
    used, took = session.providers[0], time.monotonic() - began
    return ok(line, f"{used}: the model tiny opens in {opened:.1f} s, runs in {1e3 * took:.0f} ms")


def cuda_findings(device: str = "auto") -> list[Finding]:
    """Ask the driver for its CUDA, and let CuPy run what zeroline needs of it."""
    needed = device in ("cuda", "tensorrt")
    asked = f'{_ABSENT}, and the station asks for "{device}"'
    found = []
    driver = _driver()
    if driver:
        found.append(ok("cuda.driver", driver))
    elif needed:
        found.append(fail("cuda.driver", asked, "install NVIDIA's driver (Jetson: JetPack)"))
    else:
        found.append(ok("cuda.driver", f"{_ABSENT}: the network runs on the CPU"))
    if find_spec("cupy") is None:
        cure = f"in a clone of zeroline: {install_hint()}"
        found.append(fail("cupy", asked, cure) if needed else ok("cupy", _ABSENT))
        return found
    try:
        cupy = working_cupy()
        gpu = current_gpu(cupy)
    except (DeviceError, MissingExtraError) as error:
        cure = f"pip uninstall it, or in a clone of zeroline: {install_hint()}"
        return [*found, fail("cupy", str(error), cure)]
    text = f"{cupy.__version__} runs kernels on {gpu.name}, compute capability {gpu.capability}"
    return [*found, ok("cupy", text)]


def _driver() -> str:
    """Return the CUDA that the driver has, in words; empty where there is none."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return ""
    number = ctypes.c_int()
    if library.cuDriverGetVersion(ctypes.byref(number)):
        return ""
    return f"CUDA {number.value // 1000}.{number.value % 1000 // 10}"


def tensorrt_findings(models: Sequence[str] = (), device: str = "auto") -> list[Finding]:
    """Compare TensorRT with the engines that are kept for the station's bundles."""
    if find_spec("tensorrt") is None:
        if device != "tensorrt":
            return [ok("tensorrt", _ABSENT)]
        cure = "see docs/gpu.md, or device: auto in the station's file"
        return [fail("tensorrt", f"{_ABSENT}, and the station asks for it", cure)]
    from zeroline.runtime.network.manifest import read_manifest
    from zeroline.runtime.network.open import find_bundle
    from zeroline.runtime.network.tensorrt import tensorrt_package

    try:
        trt = tensorrt_package()
    except (DeviceError, MissingExtraError) as error:
        return [fail("tensorrt", str(error), "install another version (docs/gpu.md)")]
    found = [ok("tensorrt", str(trt.__version__))]
    for model in dict.fromkeys(models):
        try:
            folder = find_bundle(model)
            manifest = read_manifest(folder)
        except BundleError:  # a line of the bundle
            continue
        engine = _engine(folder, manifest, trt.__version__)
        if engine is not None or device == "tensorrt":
            found.append(_engine_finding(f"engine {manifest.name}", folder, engine, trt, device))
    return found


def _engine(folder: Path, manifest: Manifest, version: str) -> dict[str, Any] | None:
    """Return the key of a bundle's kept engine, one of this version before others."""
    from zeroline.runtime.network.engines import FOLDER, EngineKey
    from zeroline.runtime.network.tensorrt import BATCHES

    network = EngineKey.of(manifest, version, Gpu("", ""), BATCHES).network
    keys = []
    for path in (p for f in (folder, cache_folder()) for p in (f / FOLDER).glob("*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # none of ours
            key = json.loads(path.read_text(encoding="utf-8"))["key"]
            if key["network"] == network and path.with_suffix(".engine").is_file():
                keys.append(key)
    return max(keys, key=lambda key: key["tensorrt"] == version, default=None)


def _engine_finding(
    line: str, folder: Path, engine: dict[str, Any] | None, trt: Any, device: str
) -> Finding:
    state = fail if device == "tensorrt" else warning
    cure = f"zeroline export engine {folder}"
    if engine is None:
        return state(line, "none is kept: the next start builds it, for minutes", cure)
    made = f"made by TensorRT {engine['tensorrt']} on {engine['gpu']['name']}"
    if engine["tensorrt"] != trt.__version__:
        text = f"{made}, here is {trt.__version__}: the next start builds another, for minutes"
        return state(line, text, cure)
    return ok(line, made)


def bundle_findings(models: Sequence[str] = ("tiny",)) -> list[Finding]:
    """Check the files of bundles against their hashes."""
    from zeroline.runtime.network.manifest import read_manifest
    from zeroline.runtime.network.open import check_files, find_bundle

    found = []
    for model in dict.fromkeys(models):
        line = f"bundle {Path(model).name}"
        try:
            folder = find_bundle(model)
            manifest = read_manifest(folder)
            check_files(folder, manifest)
        except BundleError as error:
            cure = "copy it anew, or install zeroline anew where it is the bundled one"
            found.append(fail(line, str(error), cure))
        else:
            text = f"{len(manifest.files)} file(s) have their hashes, {manifest.precision}"
            found.append(ok(line, f"{text}, {folder}"))
    return found
