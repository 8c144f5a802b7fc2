"""``zeroline config``: the file that describes a station."""

from __future__ import annotations

import json
from pathlib import Path

import click

from zeroline.edge_app.cli import debug_option

_FILE = click.Path(path_type=Path, dir_okay=False)
_set_option = click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE",
    help="Set one value in place of the file's, such as recipes.default.window=32.",
)  # fmt: skip


@click.group()
def config() -> None:
    """Write, check, show and pack the file of a station."""


@config.command()
@click.argument("file", type=_FILE, default=Path("station.yaml"))
@debug_option
def init(file: Path) -> None:
    """Write a commented file to begin with. It can be run as it is."""
    from zeroline.edge_app.configuration.shown import new_file
    from zeroline.edge_app.writing import exists_already

    try:
        with file.open("x", encoding="utf-8") as opened:
            opened.write(new_file())
    except FileExistsError:
        raise exists_already(file) from None
    click.echo(f'wrote "{file}": zeroline run {file}', err=True)


@config.command()
@click.argument("file", type=_FILE)
@_set_option
@debug_option
def check(file: Path, changes: tuple[str, ...]) -> None:
    """Look for errors in a file. All are shown, each with its line."""
    from zeroline.edge_app.configuration.reading import ConfigurationError, read_station

    try:
        found = read_station(file, changes=changes)
    except ConfigurationError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        raise click.exceptions.Exit(1) from None
    click.echo(f'"{file}" holds: station {found.station.station}')


@config.command()
@click.argument("file", type=_FILE)
@_set_option
@debug_option
def show(file: Path, changes: tuple[str, ...]) -> None:
    """Print the effective values, and where each comes from. Secrets are not shown."""
    from zeroline.edge_app.configuration.reading import read_station
    from zeroline.edge_app.configuration.shown import effective

    for line in effective(read_station(file, changes=changes)):
        click.echo(line)


@config.command()
@click.argument("file", type=_FILE)
@click.argument("output", type=_FILE)
@debug_option
def pack(file: Path, output: Path) -> None:
    """Pack a station's file, and what it names, into a tar file for another machine.

    Recipes, reference sets, masks, framings and bundles. Not the data folder (see records backup),
    not what cameras read, and no secrets. "tar --extract --directory / --file OUTPUT" unpacks it.
    """
    from zeroline.edge_app.configuration.packing import named_secrets, write_pack
    from zeroline.edge_app.configuration.reading import read_station

    found = read_station(file, secrets=False)
    for path in write_pack(found, output):
        click.echo(path)
    for secret in named_secrets(found.written):
        click.echo(f"note: {secret} is a secret, and is not in it", err=True)


@config.command()
@debug_option
def schema() -> None:
    """Print the JSON schema of the file, for editors."""
    from zeroline.edge_app.configuration.allowed import station_schema

    click.echo(json.dumps(station_schema(), indent=2))
