"""``zeroline service``: a station that systemd starts, watches and starts again."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from zeroline.edge_app.cli import debug_option
from zeroline.edge_app.service import UNIT, Service, command_here, python_here

Command = TypeVar("Command", bound=Callable[..., Any])
#: Stands for the name of a station where none was given.
_ANY = "NAME"


class StationName(click.ParamType[str]):
    """A name that systemd takes as it is."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Refuse what would be written in another way in the unit's name."""
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}", value):
            self.fail(f"{value!r}: letters without accents, digits, -, _ and . are allowed")
        stem, _, ending = value.rpartition(".")
        if stem and ending in ("yaml", "yml", "env", "service"):
            self.fail(f'{value!r} ends in .{ending}: did you mean "{stem}"?')
        return str(value)


_name_option = click.option(
    "--name", type=StationName(), default=_ANY, metavar="NAME",
    help="Station of which is told. Its file is /etc/zeroline/NAME.yaml.",
)  # fmt: skip


def _options(command: Command) -> Command:
    """Add what all three commands take."""
    options = (
        click.option("--user", "personal", is_flag=True,
                     help="A service of the user who calls, without rights of the system. Its "
                          "station's file is ~/.config/zeroline/NAME.yaml."),
        click.option("--root", default=Path("/"), metavar="DIR",
                     type=click.Path(path_type=Path, exists=True, file_okay=False),
                     help="Root of the system, for an image that is being made."),
        debug_option,
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def _service(personal: bool, root: Path) -> Service:
    if personal and root != Path("/"):
        raise click.UsageError("--user and --root exclude each other")
    return Service(root, personal, command_here(), python_here())


@click.group()
def service() -> None:
    """Let systemd start a station, watch it, and start it again."""


@service.command()
@_name_option
@_options
def install(name: str, personal: bool, root: Path) -> None:
    """Write the unit of systemd for all stations. Nothing is started."""
    unit = _service(personal, root)
    for path in unit.install():
        click.echo(f'wrote "{path}"')
    if not personal:
        groups = ", ".join(unit.groups) or "none: this system has none of them"
        click.echo(f"groups for cameras, GPUs and serial ports: {groups}")
        _tell_file(name, root)
    click.echo("next:")
    for command in unit.next_commands(name):
        click.echo(f"  {command}")


@service.command()
@_name_option
@_options
def remove(name: str, personal: bool, root: Path) -> None:
    """Remove the unit, once no station needs it. Data folders and station's files stay."""
    unit = _service(personal, root)
    removed = unit.remove(None if name == _ANY else name)
    for path in removed:
        click.echo(f'removed "{path}"')
    if not removed:
        click.echo(f'there is no unit of zeroline\'s: "{unit.unit}"')
        return
    click.echo("data folders (/var/lib/zeroline) and station's files stay. Next:")
    for command in unit.next_commands(name, removed):
        click.echo(f"  {command}")


@service.command()
@_options
def show(personal: bool, root: Path) -> None:
    """Print the unit, each line explained."""
    unit = _service(personal, root)
    click.echo(f"# {unit.unit.with_name(UNIT)}")
    click.echo(unit.text(), nl=False)


def _tell_file(name: str, root: Path) -> None:
    """Tell whether the station's file is where the service looks, and names its folder."""
    if name == _ANY:
        return
    from zeroline.edge_app.configuration.reading import read_station
    from zeroline.edge_app.errors import InputError

    file, data = root / f"etc/zeroline/{name}.yaml", Path("/var/lib/zeroline") / name
    try:
        found = read_station(file).station.data
    except InputError as error:
        click.echo(f"warning: the station's file does not hold yet: {error}")
        return
    if found != data:
        click.echo(f'warning: "{file}" has data: {found}, the service may write {data} alone: '
                   f"write data: {data}")  # fmt: skip
