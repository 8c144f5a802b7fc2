"""Print docs/cli.md, made from the help of every command.

python docs/make_cli.py > docs/cli.md
"""

from __future__ import annotations

from collections.abc import Iterator

import click

from zeroline.edge_app.cli import main

WIDTH = 80
_HEAD = """\
# Commands
This page is the help of every command. `python docs/make_cli.py > docs/cli.md` makes it.

Exit codes: 0 done; 1 failed, or an image was left out; 2 wrong usage. An error is one line.
"""


def helps(
    command: click.Command, name: str, parent: click.Context | None = None
) -> Iterator[tuple[str, str]]:
    """Yield the full name and the help of a command, then those of its commands."""
    context = click.Context(
        command, info_name=name, parent=parent, terminal_width=WIDTH, **command.context_settings
    )
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for other in command.list_commands(context):
            below = command.get_command(context, other)
            if below is not None:
                yield from helps(below, other, context)


def page() -> str:
    """Return the page."""
    parts = [_HEAD]
    parts += [f"## {name}\n```text\n{text}\n```\n" for name, text in helps(main, "zeroline")]
    return "\n".join(parts)


if __name__ == "__main__":
    click.echo(page(), nl=False)
