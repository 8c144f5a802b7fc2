"""Commands that ask a running station, such as ``zeroline trigger`` and ``zeroline state``."""

from __future__ import annotations

import getpass
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from zeroline.edge_app.cli import debug_option
from zeroline.edge_app.errors import InputError

if TYPE_CHECKING:
    from zeroline.edge_app.interface.client import Client

#: Where a station listens when its file does not say.
ADDRESS = "127.0.0.1:8321"
_ANSWERS = ("false-alarm", "rightly-ng", "missed", "note")
_Command = TypeVar("_Command", bound=Callable[..., Any])


def _asks(command: _Command) -> _Command:
    """Add the options that say which station is asked."""
    for option in (
        debug_option,
        click.option(
            "--station", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
            help="The station of this file, in place of an address.",
        ),
        click.option(
            "--address", metavar="HOST:PORT", help=f"Where it listens.  [default: {ADDRESS}]"
        ),
    ):  # fmt: skip
        command = option(command)
    return command


def _by(command: _Command) -> _Command:
    """Add the option that says who says so."""
    return click.option(
        "--by", metavar="NAME", help="Who says so.  [default: the user of this machine]"
    )(command)


def _client(address: str | None, station: Path | None) -> Client:
    from zeroline.edge_app.interface.client import Client

    if address is not None and station is not None:
        raise click.UsageError("--address and --station exclude each other")
    if station is not None:
        from zeroline.edge_app.configuration.reading import read_station

        address = read_station(station, secrets=False).station.page.listen
        if address == "off":
            raise InputError(f'"{station}": page.listen is off, so nobody can ask the station')
    return Client(address or ADDRESS)


def _person(by: str | None) -> str:
    if by:
        return by
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a table of users
        return "unknown"


@click.command()
@click.option("--name", default="main", show_default=True, help="Name of the trigger.")
@click.option("--part", metavar="NAME", help="Name of the part.  [default: a number]")
@click.option("--lot", help="Lot of the part.")
@click.option("--serial", help="Serial number of the part.")
@click.option("--recipe", metavar="NAME", help="Recipe that its cameras run from this part on.")
@_asks
def trigger(
    name: str,
    part: str | None,
    lot: str | None,
    serial: str | None,
    recipe: str | None,
    address: str | None,
    station: Path | None,
) -> None:
    """Let a running station inspect a part: its next frame. Prints the part's name."""
    answer = _client(address, station).post(
        "trigger", name=name, part=part, lot=lot, serial=serial, recipe=recipe
    )
    click.echo(answer["part"])


@click.command()
@click.argument("part", required=False)
@click.argument("answer", required=False, type=click.Choice(_ANSWERS))
@click.option("--note", default="", metavar="TEXT", help="What there is to say.")
@click.option("--join", is_flag=True, help="With false-alarm: the part joins the reference set.")
@click.option("--reset", is_flag=True,
              help="Without a part: take back the answers that moved the threshold.")  # fmt: skip
@_by
@_asks
def feedback(
    part: str | None,
    answer: str | None,
    note: str,
    join: bool,
    reset: bool,
    by: str | None,
    address: str | None,
    station: Path | None,
) -> None:
    """Say what a part was: a false alarm, rightly NG, or missed. It is kept.

    PART is the name of the part, as in its verdict.
    """
    if reset == (part is not None) or (part is not None and answer is None):
        raise click.UsageError("a part and an answer are expected, or --reset")
    client = _client(address, station)
    if part is None or answer is None:
        client.post("threshold", reset=True, by=_person(by))
        return
    said = answer.replace("-", "_")
    client.post("feedback", part=part, answer=said, note=note, join=join, by=_person(by))


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="[CAMERA] NAME")
@_by
@_asks
def recipe(
    names: tuple[str, ...], by: str | None, address: str | None, station: Path | None
) -> None:
    """Let a running station run another recipe: on one camera, or on all.

    "zeroline recipe list" lists the recipes, and which one each camera runs.
    """
    if len(names) > 2:
        raise click.UsageError(f"{len(names)} names are given: a camera and a recipe are allowed")
    client = _client(address, station)
    if names != ("list",):
        camera = names[0] if len(names) == 2 else None
        client.post("recipe", recipe=names[-1], camera=camera, by=_person(by))
        return
    found = client.get("recipes")
    for one in found["recipes"]:
        cameras = [name for name, running in found["running"].items() if running == one]
        click.echo(f"{one}  runs on {', '.join(cameras)}" if cameras else one)


@click.command()
@_by
@_asks
def pause(by: str | None, address: str | None, station: Path | None) -> None:
    """Stop inspecting. The outputs of the station stand safe: not OK."""
    _client(address, station).post("pause", on=True, by=_person(by))


@click.command()
@_by
@_asks
def resume(by: str | None, address: str | None, station: Path | None) -> None:
    """Go on inspecting after a pause."""
    _client(address, station).post("pause", on=False, by=_person(by))


@click.command()
@click.argument("mode", type=click.Choice(["on", "off"]))
@_by
@_asks
def setup(mode: str, by: str | None, address: str | None, station: Path | None) -> None:
    """Switch set-up on or off: live frames, outputs safe, nothing counted."""
    _client(address, station).post("setup", on=mode == "on", by=_person(by))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print all of it as JSON.")
@_asks
def state(as_json: bool, address: str | None, station: Path | None) -> None:
    """Print how a running station is. Exit code 1 where it is not ready."""
    client = _client(address, station)
    found, health = client.get("state"), client.get("health")
    if as_json:
        click.echo(json.dumps(found | {"health": health}, indent=2, ensure_ascii=False))
    else:
        for line in _lines(found, health):
            click.echo(line)
    if not health["ready"]:
        raise click.exceptions.Exit(1)


def _lines(found: dict[str, Any], health: dict[str, Any]) -> list[str]:
    """Return a state in words."""
    why = "; ".join(health["reasons"])
    counts = ", ".join(f"{count} {verdict}" for verdict, count in found["counts"].items())
    lines = [
        f"station {found['station']}, run {found['run']}",
        "ready" if health["ready"] else f"not ready: {why}",
        f"parts: {counts or 'none yet'}",
    ]
    for name, camera in found["cameras"].items():
        threshold = camera.get("threshold")
        shown = "none yet" if threshold is None else f"{threshold:.3f}"
        lines.append(
            f"camera {name}: recipe {camera['recipe']}, {camera['window']} of "
            f"{camera['capacity']} frames in the window, threshold {shown}"
        )
    for name, trigger in found["triggers"].items():
        told = ", ".join(f"{count} {kind}" for kind, count in trigger.items())
        lines.append(f"trigger {name}: {told}")
    for name, output in found["outputs"].items():
        lines.append(
            f"output {name}: {'up' if output['up'] else 'lost'}, {output['waiting']} waiting, "
            f"{output['missed']} missed"
        )
    store = found.get("store")
    if store is not None:
        full = ", FULL" if store.get("full") else ""
        lines.append(f"store: {store.get('waiting', 0)} rows waiting{full}")
    return lines
