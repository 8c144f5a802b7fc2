"""The archive for support: findings, versions, configuration without secrets, events, log."""

from __future__ import annotations

import contextlib
import io
import json
import platform
import shutil
import sqlite3
import subprocess
import tarfile
from collections.abc import Sequence
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from zeroline.edge_app.doctor.findings import Finding
from zeroline.edge_app.errors import InputError
from zeroline.edge_app.writing import whole_file
from zeroline.runtime.errors import in_one_line

#: Events, lines of the log, and NG parts whose pictures are taken: the last ones.
_EVENTS, _LOG, _NG = 1000, 2000, 20


def write_archive(
    path: Path,
    findings: Sequence[Finding],
    file: Path | None,
    *,
    data: Path | None = None,
    pictures: bool = False,
) -> None:
    """Write a support archive (.tar.gz), whole or not at all.

    Parameters
    ----------
    path : Path
    findings : sequence of Finding
    file : Path or None
        The station's file.
    data : Path, optional
        The data folder, in place of the file's.
    pictures : bool
        Whether the last NG pictures are taken too.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    contents: dict[str, bytes] = {
        "doctor.json": _json([finding.as_dict() for finding in findings]),
        "versions.json": _json(_versions()),
    }
    station = None
    if file is not None:
        station, contents["configuration.yaml"] = _configuration(file, data)
    if station is not None:
        contents["log.txt"] = _log(station.station)
        contents |= _records(station.data, pictures=pictures)
    folder = path.name.partition(".")[0]
    with whole_file(path, "wb") as opened, tarfile.open(fileobj=opened, mode="w:gz") as archive:
        for name, content in contents.items():
            about = tarfile.TarInfo(f"{folder}/{name}")
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1) + "\n").encode()


def _versions() -> dict[str, Any]:
    packages = {one.metadata["Name"]: one.version for one in distributions()}
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "sqlite": sqlite3.sqlite_version,
        "packages": dict(sorted((name, v) for name, v in packages.items() if name)),
    }


def _configuration(file: Path, data: Path | None) -> tuple[Any, bytes]:
    """Return the station, and its effective settings without secrets."""
    try:
        from zeroline.edge_app.configuration.reading import ConfigurationError, read_station
        from zeroline.edge_app.configuration.shown import effective

        try:
            found = read_station(file, data=data, secrets=False)
        except ConfigurationError as error:
            return None, "\n".join([*error.problems, ""]).encode()
    except Exception as error:  # noqa: BLE001 - what it needs may be broken in any way
        return None, f"{in_one_line(error)}\n".encode()
    return found.station, "\n".join([*effective(found), ""]).encode()


def _log(station: str) -> bytes:
    """Return the last lines of the service's log."""
    command = shutil.which("journalctl")
    if command is None:
        return b"journalctl is not here: a container's log is the engine's (docker compose logs)\n"
    try:
        done = subprocess.run(  # noqa: S603 - systemd's own
            [command, "--no-pager", "-n", str(_LOG), "-u", f"zeroline@{station}"],
            capture_output=True, timeout=20, check=False,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError) as error:
        return f"{error}\n".encode()
    return done.stdout + done.stderr


def _records(data: Path, *, pictures: bool) -> dict[str, bytes]:
    """Return the last events as JSON lines, and the last NG pictures."""
    from zeroline.edge_app.store.reading import Records, Wanted

    contents = {}
    try:
        with Records(data) as records:
            rows = records.connection.execute(
                "SELECT * FROM event ORDER BY number DESC LIMIT ?", (_EVENTS,)
            )
            lines = [json.dumps(dict(row)) for row in rows]
            contents["events.jsonl"] = "".join(f"{line}\n" for line in lines[::-1]).encode()
            if pictures:
                for part in records.parts(Wanted(verdict="NG"), limit=_NG):
                    for name in records.pictures(part["id"], "raw").values():
                        with contextlib.suppress(OSError):  # the station has removed it
                            contents[name] = (data / name).read_bytes()
    except InputError as error:
        contents["events.jsonl"] = f"{json.dumps({'error': str(error)})}\n".encode()
    return contents
