"""All checks, in order: the installation, the machine, then the station."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zeroline.edge_app.doctor.findings import Check, Finding, fail, findings_of, ok, warning

if TYPE_CHECKING:
    from zeroline.edge_app.configuration.models import Station

#: Seconds for what opens networks and reads all of their files.
_OPENING = 60.0


def examine(
    file: Path | None,
    *,
    data: Path | None = None,
    tell: Callable[[Finding], None] = lambda _: None,
    begin: Callable[[Check], None] = lambda _: None,
    skip: Collection[str] = (),
    root: Path = Path("/"),
) -> list[Finding]:
    """Look at everything that a station rests on.

    Parameters
    ----------
    file : Path or None
        The station's file; without it the installation and the machine alone.
    data : Path, optional
        The data folder, in place of the file's.
    tell : callable
        Takes each finding as it comes.
    begin : callable
        Takes each check before it looks.
    skip : collection of str
        Names of checks that are left out.
    root : Path
        Of the system, for what is read from /sys, /proc and /run.

    Returns
    -------
    list of Finding
    """
    found: list[Finding] = []

    def look(checks: Iterator[Check] | Sequence[Check]) -> None:
        for check in checks:
            if check.name in skip:
                continue
            begin(check)
            for one in findings_of(check):
                found.append(one)
                tell(one)

    look(
        [
            Check("python", _later("packages", "python_findings")),
            Check("packages", _later("packages", "package_findings")),
        ]
    )
    look(_import("packages").import_checks())
    read = _StationRead(file, data)
    if file is not None:
        look([Check("station", read.look)])
    look(_machine_checks(read.station, root))
    if read.station is not None:
        look(_station_checks(read.station, root))
    elif file is not None:
        text = "cameras, data folder, port and speed were not looked at"
        cure = "mend what is said of the station first"
        look([Check("station.rest", lambda: [warning("station.rest", text, cure)])])
    return found


def _import(module: str) -> Any:
    return import_module(f"zeroline.edge_app.doctor.{module}")


def _later(module: str, name: str, *given: Any, **named: Any) -> Callable[[], Iterable[Finding]]:
    """Return a call of a function whose module is imported by the check itself.

    A package that is missing then fails the lines that need it, and no others.
    """

    def look() -> Iterable[Finding]:
        found: Iterable[Finding] = getattr(_import(module), name)(*given, **named)
        return found

    return look


class _StationRead:
    """Reads the station's file; every problem is a line."""

    def __init__(self, file: Path | None, data: Path | None) -> None:
        self._file, self._data = file, data
        self.station: Station | None = None

    def look(self) -> list[Finding]:
        from zeroline.edge_app.configuration.reading import ConfigurationError, read_station
        from zeroline.edge_app.errors import InputError

        assert self._file is not None  # noqa: S101 - it is asked for with a file alone
        try:
            self.station = read_station(self._file, data=self._data).station
        except ConfigurationError as error:
            return [fail("station", one, "see docs/station.md") for one in error.problems]
        except InputError as error:
            return [fail("station", str(error), "zeroline config init makes a new one")]
        return [ok("station", f'"{self._file}" holds: station {self.station.station}')]


def _machine_checks(station: Station | None, root: Path) -> Iterator[Check]:
    """Yield the checks of installation and machine, by what a station needs of them."""
    cameras = station.cameras if station else ()
    sources = [camera.source for camera in cameras]
    device = station.device if station else "auto"
    models = [station.recipe_of(one).model for one in cameras] if station else ["tiny"]
    yield Check("opencv", _later("vision", "opencv_findings", sources, root=root))
    yield Check("onnxruntime", _later("devices", "onnxruntime_findings", device), _OPENING)
    yield Check("cuda", _later("devices", "cuda_findings", device), _OPENING)
    yield Check("tensorrt", _later("devices", "tensorrt_findings", models, device), _OPENING)
    yield Check("bundle", _later("devices", "bundle_findings", models), _OPENING)
    yield Check("sqlite", _later("system", "sqlite_findings"))
    yield Check("clock", _later("system", "clock_findings", root))
    yield Check("flash", _later("system", "flash_findings", root))
    yield Check("jetson", _later("jetson", "jetson_findings", root))


def _station_checks(station: Station, root: Path) -> Iterator[Check]:
    """Yield the checks of what a station's file names."""
    try:
        checks: Iterator[Check] = _import("station").station_checks(station, root)
    except Exception:  # noqa: BLE001 - of any package, in any state
        yield Check("station.checks", _later("station", "station_checks"))  # it tells why
        return
    yield from checks
