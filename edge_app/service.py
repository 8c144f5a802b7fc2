"""systemd's unit of a station: its text, and where it lies."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zeroline.edge_app.errors import InputError, OutputError
from zeroline.edge_app.writing import whole_file

#: The template of all stations; that of one is zeroline@NAME.service.
UNIT = "zeroline@.service"
#: The user that a station runs as.
USER = "zeroline"
#: Groups that own cameras, GPUs, and serial ports.
GROUPS = ("video", "render", "dialout")
#: What ProtectHome= hides.
_HOMES = ("/home", "/root", "/run/user")
_MARK = "# Written by zeroline service install, which replaces it"
_SYSUSERS = Path("etc/sysusers.d/zeroline.conf")


@dataclass(frozen=True)
class Service:
    """Where the unit lies, and for whom.

    Attributes
    ----------
    root : Path
        Of the system; another one for an image that is being made.
    personal : bool
        Of the user who calls, without rights of the system.
    program : Path
        The command `zeroline`.
    python : Path
        What runs it.
    """

    root: Path
    personal: bool
    program: Path
    python: Path

    @property
    def unit(self) -> Path:
        """The file of the unit."""
        if not self.personal:
            return self.root / "etc/systemd/system" / UNIT
        home = os.environ.get("XDG_CONFIG_HOME") or Path("~/.config").expanduser()
        return Path(home) / "systemd/user" / UNIT

    @property
    def stations(self) -> list[str]:
        """Names of the stations that systemd starts, or that run now: they need the unit."""
        before, after = UNIT.split("@")
        if self.personal:
            running = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
        else:
            running = self.root / "run"
        found = [
            *self.unit.parent.glob(f"*.wants/{before}@?*{after}"),
            *(running / "systemd/units").glob(f"invocation:{before}@?*{after}"),
        ]
        return sorted({link.name.partition("@")[2].removesuffix(after) for link in found})

    def file(self, name: str) -> Path:
        """Return where the file of a station lies."""
        if not self.personal:
            return self.root / f"etc/zeroline/{name}.yaml"
        return self.unit.parents[2] / f"zeroline/{name}.yaml"

    @property
    def groups(self) -> list[str]:
        """Those of `GROUPS` that the system has."""
        try:
            lines = (self.root / "etc/group").read_text(encoding="utf-8").splitlines()
        except OSError:
            return []
        there = {line.partition(":")[0] for line in lines}
        return [group for group in GROUPS if group in there]

    def text(self) -> str:
        """Return the unit; each line is explained in it.

        Raises
        ------
        InputError
            If the program lies where the service may not look.
        """
        if self.personal:
            return _HEAD + _SERVICE.format(program=_quoted(self.program)) + _PERSONAL
        for what, path in (("program", self.program), ("program's Python", self.python)):
            if any(path.is_relative_to(home) for home in _HOMES):
                raise InputError(
                    f'the {what} is "{path}", and a service sees no home folders: install zeroline '
                    "elsewhere, such as /opt/zeroline, by the system's Python, or take --user"
                )
        groups = f"SupplementaryGroups={' '.join(self.groups)}\n" if self.groups else ""
        system = _SYSTEM.format(user=USER, groups=groups)
        return _HEAD + _SERVICE.format(program=_quoted(self.program)) + system

    def install(self) -> list[Path]:
        """Write the unit and, for the system, its user; return the files.

        Raises
        ------
        OutputError
            If a file cannot be written, or is not ours.
        InputError
            See `text`.
        """
        contents = {self.unit: self.text()}
        if not self.personal:
            contents[self.root / _SYSUSERS] = _USERS.format(user=USER)
        for path in contents:
            if path.exists() and not _is_ours(path):
                raise OutputError(f'"{path}" is not from zeroline, and is not overwritten')
        for path, content in contents.items():
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise OutputError(f'"{path}" could not be written: {error.strerror}') from error
            with whole_file(path) as file:
                file.write(content)
            path.chmod(0o644)
        return list(contents)

    def remove(self, name: str | None = None) -> list[Path]:
        """Remove what `install` has written; return the files that were there.

        The unit is that of all stations: while one of them needs it, it stays.

        Parameters
        ----------
        name : str, optional
            The last station.

        Raises
        ------
        InputError
            If there is no such station, or one still needs the unit.
        OutputError
            If a file cannot be removed.
        """
        stations = self.stations
        if name is not None and name not in stations and not self.file(name).exists():
            raise InputError(
                f'there is no station "{name}": there is no "{self.file(name)}", and systemd '
                f"starts {', '.join(stations) or 'no station'}"
            )
        if stations:
            raise InputError(f"nothing is removed: {self._why_it_stays(stations, name)}")
        paths = [self.unit] if self.personal else [self.unit, self.root / _SYSUSERS]
        ours = [path for path in paths if path.exists() and _is_ours(path)]
        try:
            for path in ours:
                path.unlink()
        except OSError as error:
            raise OutputError(f"the unit could not be removed: {error}") from error
        return ours

    def _why_it_stays(self, stations: Sequence[str], name: str | None) -> str:
        """Return which stations need the unit, and what ends the one that is meant."""
        others = [f"zeroline@{one}" for one in stations if one != name]
        needed = f"{', '.join(others)} {'needs' if len(others) == 1 else 'need'} the unit"
        if name is None:
            return f'{needed}, first "{self._control} disable --now {" ".join(others)}"'
        end = f'"{self._control} disable --now zeroline@{name}"'
        if not others:
            return f"zeroline@{name} needs the unit, first {end}, then this command again"
        if name in stations:
            return f"{needed}, {end} ends {name} alone"
        return f"{needed}, {name} is ended already"

    @property
    def _control(self) -> str:
        return "systemctl --user" if self.personal else "sudo systemctl"

    def next_commands(self, name: str, removed: Sequence[Path] = ()) -> list[str]:
        """Return what is to be typed after it."""
        reload = f"{self._control} daemon-reload"
        if removed:
            return [reload]
        users = [] if self.personal else ["sudo systemd-sysusers zeroline.conf"]
        return [*users, reload, f"{self._control} enable --now zeroline@{name}"]


def command_here() -> Path:
    """Return the command `zeroline` of this environment.

    Raises
    ------
    InputError
        If there is none.
    """
    path = Path(sys.prefix) / "bin" / "zeroline"
    if not path.is_file():
        raise InputError(f'there is no command "{path}": install zeroline into an environment')
    return path


def python_here() -> Path:
    """Return the file that runs this program: behind an environment's link."""
    return Path(sys.executable).resolve()


def _is_ours(path: Path) -> bool:
    try:
        return path.read_text(encoding="utf-8").startswith(_MARK)
    except (OSError, ValueError):
        return False


def _quoted(path: Path) -> str:
    """Return a path as systemd reads it."""
    text = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{text}"' if " " in text else text


_USERS = (
    _MARK
    + """.
# The user of all stations. It has no shell.
u {user} - "zeroline station" /var/lib/zeroline
"""
)
_HEAD = (
    _MARK
    + """.
# Changes belong into "systemctl edit zeroline@NAME": they stay.

[Unit]
Description=zeroline station %i
# Cameras that are not there yet are tried again: the network is not waited for.
After=network.target time-sync.target
# It is started again for ever: nobody is there at night.
StartLimitIntervalSec=0
"""
)
_SERVICE = """
[Service]
# The station says itself that it is ready: after its first verdict, or a healthy wait for a frame.
Type=notify
NotifyAccess=main
# The station's file. NAME.env beside it has the variables that the file names as secrets.
ExecStart={program} run %E/zeroline/%i.yaml
EnvironmentFile=-%E/zeroline/%i.env
# A TensorRT engine that is missing is built at the start, for minutes.
TimeoutStartSec=30min
# A stage that hangs for 30 s ends the station. Where even that fails, systemd does after a minute.
WatchdogSec=60
# After a fault it starts again: recipe, reference set and window come back. Not after a stop.
Restart=on-failure
RestartSec=5
# A station ends in less than 3 s.
TimeoutStopSec=15
# The log: journalctl -u zeroline@NAME
SyslogIdentifier=zeroline-%i
# No program that it starts gets rights that it has not.
NoNewPrivileges=yes
# It speaks to cameras and programs by TCP and UDP, to systemd, and asks the kernel for addresses.
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
# The calls of usual services. Others fail, and do not end it.
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM
SystemCallArchitectures=native
LockPersonality=yes
RestrictRealtime=yes
# Not MemoryDenyWriteExecute: numba compiles at run time, and ends without it.
"""
_SYSTEM = """\
# Who it is, and which devices it may open: cameras, GPUs, serial ports.
User={user}
{groups}\
# Its data folder is /var/lib/zeroline/NAME: "data" in the station's file. It may write nowhere
# else, but for what ReadWritePaths= adds.
StateDirectory=zeroline/%i
StateDirectoryMode=0750
WorkingDirectory=%S/zeroline/%i
# What can be made again: engines, compiled kernels.
CacheDirectory=zeroline/%i
Environment=XDG_CACHE_HOME=%C/zeroline/%i
UMask=0027
# All else can only be read, home folders not even that.
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
# No rights of root, none of the kernel's switches, no other processes, no namespaces.
CapabilityBoundingSet=
AmbientCapabilities=
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectProc=invisible
RestrictNamespaces=yes
RestrictSUIDSGID=yes
RemoveIPC=yes
KeyringMode=private
# Not PrivateDevices and not ProtectClock: both hide cameras and GPUs.

[Install]
WantedBy=multi-user.target
"""
_PERSONAL = """\
# Its data folder is where the station's file says.

[Install]
WantedBy=default.target
"""
