"""The machine's SQLite, clock, flash, network and USB, read from /sys, /proc and /run."""

from __future__ import annotations

import ctypes
import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from zeroline.edge_app.doctor.findings import Finding, fail, ok, warning

#: Seconds since 1970 of 2026-01-01: no clock of a machine with this program is before it.
_OLDEST = 1_767_225_600
_UNSYNCHRONISED = 5  # what adjtimex(2) calls TIME_ERROR
#: Bytes of a frame of a usual camera, 1920 × 1200, where none has come.
_FRAME = 1920 * 1200


def kernel_clock() -> bool | None:
    """Return whether the kernel's clock is held to another one; None where it does not tell."""
    try:
        answer = ctypes.CDLL(None).adjtimex(ctypes.create_string_buffer(512))
    except (OSError, AttributeError):
        return None
    return None if answer < 0 else answer != _UNSYNCHRONISED


def clock_findings(
    root: Path = Path("/"),
    *,
    kernel: Callable[[], bool | None] = kernel_clock,
    now: Callable[[], float] = time.time,
) -> list[Finding]:
    """Tell whether the clock is right: parts are named by it, pictures age by it."""
    cure = (
        "let the machine, or a container's host, ask a time server: timedatectl set-ntp true, "
        "or chrony"
    )
    here = time.strftime("%Y-%m-%d %H:%M", time.localtime(now()))
    if now() < _OLDEST:
        return [fail("clock", f"{here}: years wrong", f"set it before the station starts; {cure}")]
    if (root / "run/systemd/timesync/synchronized").exists():
        return [ok("clock", f"{here}, held by systemd-timesyncd")]
    held = kernel()
    if held is None:
        return [warning("clock", f"{here}, unknown whether it is synchronised", cure)]
    if not held:
        return [fail("clock", f"{here}, not synchronised", cure)]
    return [ok("clock", f"{here}, synchronised")]


def flash_findings(root: Path = Path("/")) -> list[Finding]:
    """Tell how worn eMMC is, by its own estimate in steps of 10 %."""
    found = []
    for path in sorted(root.glob("sys/block/*/device/life_time")):
        disk = path.parents[1].name
        try:
            worn = max(int(part, 16) for part in path.read_text(encoding="ascii").split())
        except (OSError, ValueError):
            continue
        name, text = f"flash {disk}", f"at most {10 * worn} % of its life is used"
        cure = "plan another disk for the data folder"
        if worn == 0:
            found.append(ok(name, "it does not tell"))
        elif worn > 10:
            found.append(fail(name, "its life is over by its own estimate", cure))
        else:
            found.append(warning(name, text, cure) if worn >= 9 else ok(name, text))
    return found


def link_findings(
    sources: Sequence[str], *, frame: int | None = None, root: Path = Path("/")
) -> list[Finding]:
    """Look at what bounds cameras: packets and buffers of the network, memory of USB.

    Parameters
    ----------
    sources : sequence of str
        Addresses of the station's cameras.
    frame : int, optional
        Bytes of a raw frame of the largest one.
    root : Path
        Of the system.
    """
    vision = [one for one in sources if "aravissrc" in one]  # GigE Vision and USB3 Vision
    found = []
    if vision or any(one.startswith("udp:") for one in sources):
        found.append(_buffer(root, frame or _FRAME))
    if vision:
        found += [*_packets(root), *_usb(root, frame or _FRAME)]
    return found


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _buffer(root: Path, frame: int) -> Finding:
    """Compare the receive buffer with a frame: the camera sends one at the link's rate."""
    name, there = "net.rmem_max", _number(root / "proc/sys/net/core/rmem_max")
    if there is None:
        return warning(name, "cannot be read", "sysctl net.core.rmem_max")
    text = f"{there / 1e6:.1f} MB, a frame has {frame / 1e6:.1f} MB"
    if there >= frame:
        return ok(name, text)
    cure = f"sysctl -w net.core.rmem_max={2 * frame}, and a file in /etc/sysctl.d"
    return warning(name, f"{text}: packets may be lost", cure)


def _packets(root: Path) -> list[Finding]:
    sizes = {
        path.parent.name: _number(path)
        for path in sorted(root.glob("sys/class/net/*/mtu"))
        if path.parent.name != "lo"
    }
    known = {name: size for name, size in sizes.items() if size is not None}
    text = ", ".join(f"{name} {size}" for name, size in known.items())
    if not known or max(known.values()) >= 9000:
        return [ok("net.mtu", text or "no network")]
    cure = "for GigE Vision: ip link set DEVICE mtu 9000, where camera and switch take it"
    return [warning("net.mtu", f"{text}: small packets cost the CPU time", cure)]


def _usb(root: Path, frame: int) -> list[Finding]:
    there = _number(root / "sys/module/usbcore/parameters/usbfs_memory_mb")
    if there is None:
        return []
    text = f"{there} MB for all USB3 Vision cameras"
    if there == 0 or there * 1e6 >= 8 * frame:  # 0: no bound; Aravis keeps several frames
        return [ok("usb.memory", text)]
    cure = "echo 1000 > /sys/module/usbcore/parameters/usbfs_memory_mb, and usbcore.usbfs_memory_mb"
    return [warning("usb.memory", text, f"{cure}=1000 for the kernel at each boot")]


def sqlite_findings() -> list[Finding]:
    """Name SQLite's version, and what to heed with it."""
    numbers = sqlite3.sqlite_version_info
    mended = numbers >= (3, 51, 3) or (3, 50, 7) <= numbers < (3, 51) or (
        (3, 44, 6) <= numbers < (3, 45)
    )  # fmt: skip
    text = sqlite3.sqlite_version
    if not mended:
        text += ": two writers could damage a file, the station is the only one that writes"
    return [ok("sqlite", text)]
