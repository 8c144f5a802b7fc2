"""A Jetson's power mode, clocks, temperatures and throttling.

No Jetson has run this: it follows NVIDIA's description of the files.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from zeroline.edge_app.doctor.findings import Finding, ok, warning
from zeroline.runtime.errors import is_jetson

#: Degrees Celsius below a zone's own first trip point that are told.
_NEAR = 5.0


def jetson_findings(root: Path = Path("/")) -> list[Finding]:
    """Return what is to be known of a Jetson; nothing on other machines."""
    if not is_jetson(root):
        return []
    model = _text(root / "proc/device-tree/model") or "Jetson"
    return [ok("jetson", model), *_power(), *_clocks(root), *_heat(root)]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    except OSError:
        return ""


def _power() -> list[Finding]:
    command = shutil.which("nvpmodel")
    if command is None:
        return [warning("jetson.power", "nvpmodel is not here", "install nvidia-l4t-nvpmodel")]
    done = subprocess.run(  # noqa: S603 - NVIDIA's own
        [command, "-q"], capture_output=True, text=True, timeout=10, check=False
    )
    text = " ".join((done.stdout or done.stderr).split())
    return [ok("jetson.power", text or f"nvpmodel ended with {done.returncode}")]


def _clocks(root: Path) -> Iterator[Finding]:
    slow = []
    for most in sorted(root.glob("sys/devices/system/cpu/cpufreq/policy*/cpuinfo_max_freq")):
        allowed, highest = _text(most.with_name("scaling_max_freq")), _text(most)
        if allowed.isdigit() and highest.isdigit() and int(allowed) < int(highest):
            slow.append(
                f"{most.parent.name} up to {int(allowed) // 1000} of {int(highest) // 1000}"
            )
    if slow:
        cure = "a larger power mode: nvpmodel -m, then jetson_clocks"
        yield warning("jetson.clocks", f"{', '.join(slow)} MHz", cure)
    else:
        yield ok("jetson.clocks", "the CPU may run as fast as it can")


def _heat(root: Path) -> Iterator[Finding]:
    hottest, near = "", []
    most = 0.0
    for zone in sorted(root.glob("sys/class/thermal/thermal_zone*")):
        name, now = _text(zone / "type"), _text(zone / "temp")
        if not now.lstrip("-").isdigit():
            continue
        degrees = int(now) / 1000
        if degrees > most:
            most, hottest = degrees, f"{name} {degrees:.0f} °C"
        trip = _text(zone / "trip_point_0_temp")
        if trip.isdigit() and int(trip) > 0 and degrees > int(trip) / 1000 - _NEAR:
            near.append(f"{name} {degrees:.0f} °C of {int(trip) / 1000:.0f}")
    slowed = [
        _text(path.with_name("type"))
        for path in sorted(root.glob("sys/class/thermal/cooling_device*/cur_state"))
        if _text(path).isdigit() and int(_text(path)) > 0 and "fan" not in _text(
            path.with_name("type")
        )
    ]  # fmt: skip
    if near or slowed:
        text = "; ".join([*near, *(f"slowed by {name}" for name in slowed)])
        yield warning("jetson.heat", text, "cool it better, or a smaller power mode (nvpmodel)")
    elif hottest:
        yield ok("jetson.heat", f"{hottest} is the hottest, nothing is slowed")
