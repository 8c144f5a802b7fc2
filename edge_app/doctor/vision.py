"""OpenCV: whose it is, what it was built with, and what it hides."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Sequence
from importlib.machinery import PathFinder
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from zeroline.edge_app.doctor.findings import Finding, fail, ok, reason_of, warning
from zeroline.edge_app.opencv import opencv
from zeroline.runtime.errors import MissingExtraError, extra_hint

#: Wheels that all write into the folder `cv2`.
_WHEELS = tuple(
    f"opencv-{name}"
    for name in (
        "python", "python-headless", "contrib-python", "contrib-python-headless",
    )
)  # fmt: skip
#: Where the system's own lies, also where this environment does not see it.
_SYSTEM = "usr/lib/python3*/dist-packages/cv2*"
_GET = "take the system's (Debian: python3-opencv, Jetson: JetPack's), without a wheel beside it"


def opencv_findings(sources: Sequence[str] = (), *, root: Path = Path("/")) -> list[Finding]:
    """Import OpenCV, and read its build.

    Parameters
    ----------
    sources : sequence of str
        Addresses of the station's cameras: what they need and is missing fails.
    root : Path
        Of the system.
    """
    try:
        cv2 = opencv("to read cameras")
        build = str(cv2.getBuildInformation())
    except Exception as error:  # noqa: BLE001 - a library that it needs, or half an installation
        why = error.__cause__ if isinstance(error, MissingExtraError) else error
        if isinstance(why, ModuleNotFoundError) and why.name == "cv2":
            text, _, cure = str(error).partition("; ")
            return [fail("opencv", text, cure)]
        text = f"installed, and cannot be used: {reason_of(why or error)}"
        cure = f"mend what the text names, or install OpenCV anew: {extra_hint('app')}"
        return [fail("opencv", text, cure)]
    file = Path(str(cv2.__file__))
    has = {name: bool(re.search(rf"\b{name}:\s+YES", build)) for name in ("GStreamer", "FFMPEG")}
    found = [_imported(str(cv2.__version__), file)]
    found.append(_part("gstreamer", has["GStreamer"], any("!" in one for one in sources), _GET))
    streams = any(one.startswith(("rtsp", "http", "udp", "tcp")) for one in sources)
    found.append(_part("ffmpeg", has["FFMPEG"], streams, _GET))
    hidden = [place for place in _others(root) if place.resolve() != _place(file).resolve()]
    if hidden and not has["GStreamer"]:
        text = f"{hidden[0]} is hidden by {file}"
        cure = "pip uninstall opencv-python-headless, and let the environment see the system's"
        found.append(warning("opencv.hidden", text, cure))
    return found


def _imported(number: str, file: Path) -> Finding:
    there = []
    for name in _WHEELS:
        with contextlib.suppress(PackageNotFoundError):
            there.append(f"{name} {version(name)}")
    if len(there) > 1:
        text = f"{number} from {file}; {' and '.join(there)} have overwritten each other"
        return fail("opencv", text, "pip uninstall all of them, then install one again")
    return ok("opencv", f"{number} from {file}")


def _part(name: str, there: bool, needed: bool, cure: str) -> Finding:
    name = f"opencv.{name}"
    if there:
        return ok(name, "built in")
    if needed:
        return fail(name, "not built in, and a source of the station needs it", cure)
    return warning(name, "not built in", f"only where a source needs it: {cure}")


def _others(root: Path) -> list[Path]:
    """Return the places of every `cv2` that Python or the system has."""
    specs = (PathFinder.find_spec("cv2", [entry]) for entry in sys.path)
    places = [_place(Path(spec.origin)) for spec in specs if spec is not None and spec.origin]
    return [*places, *(p for p in sorted(root.glob(_SYSTEM)) if p.is_dir() or p.suffix == ".so")]


def _place(file: Path) -> Path:
    """Return the folder of a package, or the file of a bare extension."""
    return file.parent if file.parent.name == "cv2" else file
