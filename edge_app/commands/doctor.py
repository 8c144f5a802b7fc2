"""``zeroline doctor``: what is wrong with this machine, and what to do."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zeroline.edge_app.cli import debug_option

if TYPE_CHECKING:
    from zeroline.edge_app.doctor.findings import Finding

_COLOURS = {"ok": "green", "warning": "yellow", "fail": "red"}
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("file", metavar="[STATION.yaml]", required=False, type=_FILE)
@click.option("--data", type=click.Path(path_type=Path, file_okay=False),
              help="With a file: the data folder, in place of the file's. Give it where the "
                   "station runs with it.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the lines as JSON.")
@click.option("--bundle", type=_FILE, metavar="FILE.tar.gz",
              help="Write an archive for support too: the lines, versions, the settings without "
                   "secrets, the last events, the service's log.")  # fmt: skip
@click.option("--pictures", is_flag=True, help="With --bundle: the last 20 NG pictures too.")
@debug_option
def doctor(
    file: Path | None, data: Path | None, as_json: bool, bundle: Path | None, pictures: bool
) -> None:
    """Look for what is wrong with this machine, and say what to do.

    With a station's file also its cameras, bundles, data folder and speed. Exit code 1 where a
    line fails.
    """
    from zeroline.edge_app.doctor.guarded import ENDED, examine_guarded
    from zeroline.edge_app.writing import exists_already

    if data is not None and file is None:
        raise click.UsageError("--data goes with a station's file")
    if pictures and bundle is None:
        raise click.UsageError("--pictures goes with --bundle")
    if bundle is not None and bundle.exists():  # before the minute that the look takes
        raise exists_already(bundle)
    findings = examine_guarded(file, data=data, tell=_silent if as_json else _tell)
    if as_json:
        click.echo(json.dumps([finding.as_dict() for finding in findings], indent=1))
    if bundle is not None:
        from zeroline.edge_app.doctor.support import write_archive

        if any(finding.text.startswith(ENDED) for finding in findings):
            file = None  # reading it would end this process too
            click.echo("note: the archive has no settings and no events", err=True)
        write_archive(bundle, findings, file, data=data, pictures=pictures)
        click.echo(f'wrote "{bundle}"', err=True)
    if any(finding.state.value == "fail" for finding in findings):
        sys.exit(1)


def _silent(_: Finding) -> None:
    """Nothing is told before the end."""


def _tell(finding: Finding) -> None:
    """Print a finding; colours show on a terminal alone."""
    text, state = str(finding), finding.state.value
    click.echo(click.style(state, fg=_COLOURS[state]) + text.removeprefix(state))
