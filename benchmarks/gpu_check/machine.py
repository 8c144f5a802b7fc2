"""The machine that is checked: device, versions, clocks and power."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks.gpu_check.findings import Findings
from benchmarks.gpu_check.sizes import Sizes

_PACKAGES = ("numpy", "cupy", "onnxruntime", "tensorrt", "onnx")
_SMI = (
    "name,driver_version,pstate,clocks.sm,clocks.max.sm,clocks.mem,power.draw,power.limit,"
    "temperature.gpu,clocks_throttle_reasons.active"
)


def describe(cupy: Any, sizes: Sizes, found: Findings) -> None:
    """Say on what the check runs."""
    import zeroline

    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(runtime.getDevice())
    name = properties["name"]
    free, total = runtime.memGetInfo()
    data = {
        "device": name.decode() if isinstance(name, bytes) else str(name),
        "compute_capability": f"{properties['major']}.{properties['minor']}",
        "multiprocessors": int(properties.get("multiProcessorCount", 0)),
        "l2_bytes": int(properties["l2CacheSize"]),
        "integrated": bool(properties.get("integrated", 0)),
        "memory_bytes": {"free": int(free), "total": int(total)},
        "driver": runtime.driverGetVersion(),
        "cuda_runtime": runtime.runtimeGetVersion(),
        "nvrtc": ".".join(map(str, cupy.cuda.nvrtc.getVersion())),
        "zeroline": zeroline.__version__,
        "commit": _output(["git", "rev-parse", "HEAD"]),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "system": platform.platform(),
        "board": _text(Path("/proc/device-tree/model")),
        "jetson": _text(Path("/etc/nv_tegra_release")),
        "versions": {package: _version(package) for package in _PACKAGES},
        "small": sizes.spin_ms == 0,
    }
    found.data.update(data)
    versions = ", ".join(f"{k} {v}" for k, v in data["versions"].items() if v)
    found.row("device", f"{data['device']}, compute capability {data['compute_capability']}")
    found.row("CUDA", f"driver {data['driver']}, NVRTC {data['nvrtc']}", versions)
    found.row("zeroline", str(data["zeroline"]), str(data["commit"] or "")[:12])


def _version(package: str) -> str:
    """Return the version of a package under its own name or that of one of its wheels."""
    wheels = {
        "cupy": ("cupy-cuda12x", "cupy-cuda13x", "cupy"),
        "onnxruntime": ("onnxruntime-gpu", "onnxruntime"),
        "tensorrt": ("tensorrt", "tensorrt-cu12", "tensorrt-cu13"),
    }
    for name in wheels.get(package, (package,)):
        with suppress(importlib.metadata.PackageNotFoundError):
            return f"{importlib.metadata.version(name)} ({name})"
    return ""


def clocks() -> dict[str, Any]:
    """Return clocks, power mode and temperatures as the system tells them; nothing is changed."""
    told: dict[str, Any] = {}
    for name, command in (
        ("nvidia-smi", ["nvidia-smi", f"--query-gpu={_SMI}", "--format=csv"]),
        ("nvpmodel", ["nvpmodel", "-q"]),
    ):
        if shutil.which(command[0]):
            told[name] = _output(command)
    told["frequencies"] = {
        folder.name: _text(folder / "cur_freq") for folder in Path("/sys/class/devfreq").glob("*")
    }
    told["temperatures"] = {
        f"{_text(folder / 'type')} ({folder.name})": _text(folder / "temp")
        for folder in Path("/sys/class/thermal").glob("thermal_zone*")
    }
    return {name: what for name, what in told.items() if what}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def _output(command: list[str]) -> str:
    """Return what a program prints; empty where it fails."""
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            command, capture_output=True, text=True, check=False, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
