"""``zeroline records``: what a station has seen and said."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zeroline.edge_app.cli import CommandGroup, debug_option
from zeroline.edge_app.errors import InputError

if TYPE_CHECKING:
    from zeroline.edge_app.store.reading import Wanted

_PLACE = "zeroline.edge_app.commands.records"
_COMMANDS = {name: f"{_PLACE}:{name}_" for name in ("backup", "export", "list", "restore", "show")}
_PATH = click.Path(path_type=Path)
_FILE = click.Path(path_type=Path, dir_okay=False)
_VERDICTS = ("OK", "NG", "UNCERTAIN", "FAULT")
_HEADS = (
    "time", "part", "verdict", "reason", "revised", "camera", "score", "threshold", "answer",
)  # fmt: skip


class _Moment(click.ParamType[float]):
    """A date, or a date and time, by ISO 8601: local time, unless it has an offset or Z."""

    name = "time"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        try:
            moment = datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
            return moment.astimezone().timestamp()
        except (ValueError, OverflowError, OSError):
            self.fail(
                f'"{value}" is no time: 2026-12-01, 2026-12-01T14:05 (local time) or '
                "2026-12-01T13:05Z is expected",
                param,
                ctx,
            )


_data_option = click.option(
    "--data", type=_PATH, default=Path("data"), show_default=True, metavar="FOLDER|FILE",
    help="Data folder of a station, or the station's file.",
)  # fmt: skip
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, times in UTC.")


def _filters(command: Any) -> Any:
    for option in (
        click.option("--part", metavar="PART", help="The part of this id."),
        click.option("--serial", metavar="SERIAL", help="Parts with this serial number."),
        click.option("--lot", metavar="LOT", help="Parts of this lot."),
        click.option("--camera", metavar="NAME", help="Parts that this camera saw."),
        click.option(
            "--verdict",
            type=click.Choice(_VERDICTS, case_sensitive=False),
            help="Parts with this verdict, after revisions.",
        ),
        click.option(
            "--until",
            type=_Moment(),
            metavar="TIME",
            help="Parts before this time, local or with an offset.",
        ),
        click.option("--since", type=_Moment(), metavar="TIME", help="Parts from this time on."),
    ):
        command = option(command)
    return command


@click.group(cls=CommandGroup, places=_COMMANDS)
def records() -> None:
    """Show, export and back up what a station has seen and said.

    A station may run meanwhile: nothing is written to its data folder.
    """


@click.command("list")
@_data_option
@_filters
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=50, show_default=True,
              help="Parts, at the most.")  # fmt: skip
@_json_option
@debug_option
def list_(data: Path, limit: int, as_json: bool, **filters: Any) -> None:
    """List parts, the newest first. Times are local."""
    from zeroline.edge_app.store.reading import Records

    with Records(_folder(data)) as opened:
        found = list(opened.parts(_wanted(filters), limit=limit + 1))
        answers = opened.answers()
    more = len(found) > limit
    del found[limit:]
    for part in found:
        part["answer"] = answers.get(part["id"])
    if as_json:
        for part in found:
            click.echo(json.dumps(_in_utc(part)))
        return
    _print_table([_cells(part) for part in found])
    if more:
        click.echo(f"note: {limit} parts are shown, there are more: --limit", err=True)


@click.command("show")
@click.argument("part")
@_data_option
@_json_option
@debug_option
def show_(part: str, data: Path, as_json: bool) -> None:
    """Show all that is known of a part.

    Frames, revisions, what people said of it, events, and the files of its pictures.
    """
    from zeroline.edge_app.store.reading import Records

    folder = _folder(data)
    with Records(folder) as opened:
        found = opened.part(part)
    for picture in found["pictures"]:
        picture["path"] = str(folder / picture["path"])
    if as_json:
        click.echo(json.dumps(_in_utc(found), indent=2))
        return
    lists = {name: found.pop(name) for name, value in [*found.items()] if isinstance(value, list)}
    _print_fields(found, indent="")
    for name, entries in lists.items():
        for entry in entries:
            click.echo(name.replace("_", " ").removesuffix("s"))
            entry.pop("part", None)
            _print_fields(entry, indent="  ")


@click.command("export")
@_data_option
@_filters
@click.option("--csv", "table", type=_FILE, metavar="FILE",
              help="Write a table: a row for each camera of each part. Times are UTC.")  # fmt: skip
@click.option("--folder", type=_PATH, metavar="DIR",
              help="Copy the raw pictures that are kept into labelled folders, as evaluate reads "
                   "them: DIR/<camera>/test/good, and test/<reason> of NG parts.")  # fmt: skip
@debug_option
def export_(data: Path, table: Path | None, folder: Path | None, **filters: Any) -> None:
    """Write records as a table, or pictures as labelled folders.

    In folders, what a person said goes first: a false alarm is good, a missed part is a defect.
    UNCERTAIN and FAULT parts that nobody judged are left out.
    """
    from zeroline.edge_app.store.export import write_folders, write_table
    from zeroline.edge_app.store.reading import Records
    from zeroline.edge_app.writing import check_new

    if table is None and folder is None:
        raise click.UsageError("--csv FILE or --folder DIR is expected")
    wanted = _wanted(filters)
    if folder is not None:
        check_new(folder)  # before the table is written
    with Records(_folder(data)) as opened:
        if table is not None:
            click.echo(f'{write_table(opened, wanted, table)} rows to "{table}"')
        if folder is not None:
            counts, left_out = write_folders(opened, wanted, folder)
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items()))
            click.echo(f'{sum(counts.values())} pictures to "{folder}": {kinds or "none"}')
            if left_out:
                click.echo(
                    f"note: {left_out} pictures were left out: UNCERTAIN or FAULT, and nobody has "
                    "judged them",
                    err=True,
                )


@click.command("backup")
@click.argument("file", type=_FILE)
@_data_option
@debug_option
def backup_(file: Path, data: Path) -> None:
    """Write the database, all pictures and the windows into one tar file."""
    from zeroline.edge_app.store.backup import write_backup
    from zeroline.edge_app.store.reading import Records
    from zeroline.edge_app.writing import exists_already

    if file.exists():  # it may be the way back
        raise exists_already(file)
    with Records(_folder(data)) as opened:
        count, gone = write_backup(opened, file)
    click.echo(f'the database and {count} pictures to "{file}"')
    if gone:
        click.echo(f"note: {gone} pictures were removed meanwhile, by age or for room", err=True)


@click.command("restore")
@click.argument("file", type=_FILE)
@click.option("--data", type=_PATH, required=True, metavar="FOLDER|FILE",
              help="New or empty data folder, or the station's file that names it.")  # fmt: skip
@debug_option
def restore_(file: Path, data: Path) -> None:
    """Make a data folder from a backup. It must be new or empty."""
    from zeroline.edge_app.store.backup import restore

    folder = _folder(data)
    click.echo(f'the database and {restore(file, folder)} pictures to "{folder}"')


def _folder(given: Path) -> Path:
    """Return the data folder: the one that is given, or that a station's file names."""
    if given.suffix in (".yaml", ".yml") and not given.exists():
        raise InputError(f'there is no station\'s file "{given}"')
    if not given.is_file():
        return given
    from zeroline.edge_app.configuration.models import Station
    from zeroline.edge_app.configuration.yaml_places import read_yaml

    # its secrets, which the whole check asks for, are not needed here
    try:
        values = read_yaml(given.read_text(encoding="utf-8"), name=str(given)).values
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f'station\'s file "{given}" cannot be read: {error}') from error
    default = Station.model_fields["data"].default
    data = values.get("data", default) if isinstance(values, dict) else None
    if not isinstance(data, str | Path):
        raise InputError(f'"{given}" is neither a data folder nor a station\'s file')
    return given.absolute().parent / data


def _wanted(filters: dict[str, Any]) -> Wanted:
    from zeroline.edge_app.store.reading import Wanted

    return Wanted(**filters)


def _local(wall: float) -> str:
    """Return a time as it was on this machine's clock, with its offset from UTC."""
    moment = datetime.fromtimestamp(wall, timezone.utc).astimezone()
    return moment.isoformat(sep=" ", timespec="milliseconds")


def _in_utc(value: Any) -> Any:
    """Return records with their times as ISO 8601, UTC, beside the seconds."""
    from zeroline.edge_app.runs import iso_time

    if isinstance(value, list):
        return [_in_utc(one) for one in value]
    if not isinstance(value, dict):
        return value
    made = {name: _in_utc(one) for name, one in value.items()}
    return {"time": iso_time(value["wall"]), **made} if "wall" in value else made


def _cells(part: dict[str, Any]) -> tuple[str, ...]:
    """Return a part's line in the table: the camera whose verdict it has, or the only one."""
    frames = part["frames"]
    decisive = next((f for f in frames if f["verdict"] == part["verdict"]), None)
    frame = decisive or (frames[0] if len(frames) == 1 else {})
    numbers = (frame.get("score"), frame.get("threshold"))
    return (
        _local(part["wall"]), _shown(part["id"]), part["verdict"], part["reason"] or "",
        part["revised"] or "", frame.get("camera") or "",
        *("" if n is None else f"{n:.3f}" for n in numbers), part["answer"] or "",
    )  # fmt: skip


def _print_table(rows: list[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(_HEADS, *rows, strict=True)]
    for row in (_HEADS, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def _print_fields(fields: dict[str, Any], *, indent: str) -> None:
    words: dict[str, Callable[[Any], str]] = {"wall": _local, "kept_until": _local}
    for name, value in fields.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            for one in value:
                click.echo(f"{indent}{name.removesuffix('s')}")
                _print_fields(one, indent=f"{indent}  ")
        elif value not in (None, "", [], {}):
            shown = words.get(name, str)(value)
            label = {"wall": "time", "number": "message"}.get(name, name)
            click.echo(f"{indent}{label}: {_shown(shown)}")


def _shown(text: str) -> str:
    """Return text as a terminal may have it: what does not print is escaped."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
