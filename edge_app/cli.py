"""The command ``zeroline``: commands are imported when they are called.

Exit codes: 0 done, 1 failed or something was left out, 2 wrong usage. Errors are one line; the
traceback comes with ``--debug``.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from importlib import import_module
from importlib.metadata import version
from typing import Any

import click

from zeroline.edge_app.passwords import without_passwords
from zeroline.runtime.cuda import from_cupy
from zeroline.runtime.errors import ProviderWarning, ZerolineError, in_one_line

_COMMANDS = {
    "bench": "zeroline.edge_app.commands.bench:bench",
    "config": "zeroline.edge_app.commands.config:config",
    "demo": "zeroline.edge_app.commands.demo:demo",
    "doctor": "zeroline.edge_app.commands.doctor:doctor",
    "evaluate": "zeroline.edge_app.commands.evaluate:evaluate",
    "export": "zeroline.edge_app.commands.export:export",
    "records": "zeroline.edge_app.commands.records:records",
    "feedback": "zeroline.edge_app.commands.ask:feedback",
    "pause": "zeroline.edge_app.commands.ask:pause",
    "recipe": "zeroline.edge_app.commands.ask:recipe",
    "reference": "zeroline.edge_app.commands.reference:reference",
    "resume": "zeroline.edge_app.commands.ask:resume",
    "run": "zeroline.edge_app.commands.run:run",
    "score": "zeroline.edge_app.commands.score:score",
    "service": "zeroline.edge_app.commands.service:service",
    "setup": "zeroline.edge_app.commands.ask:setup",
    "sim": "zeroline.edge_app.commands.sim:sim",
    "state": "zeroline.edge_app.commands.ask:state",
    "teach": "zeroline.edge_app.commands.teach:teach",
    "threshold": "zeroline.edge_app.commands.threshold:threshold",
    "trigger": "zeroline.edge_app.commands.ask:trigger",
}


class CommandGroup(click.Group):
    """Finds commands by name, and turns every error of zeroline's into one line.

    Parameters
    ----------
    places : mapping
        "module:name" of each command, by the command's name.
    """

    def __init__(self, *args: Any, places: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._places = places

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all commands' names."""
        return sorted(self._places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return a command."""
        if cmd_name not in self._places:
            return None
        module, _, name = self._places[cmd_name].partition(":")
        try:
            command: click.Command = getattr(import_module(module), name)
        except Exception as error:
            if ctx.meta.get("zeroline.debug"):
                raise
            message = f'"{cmd_name}" cannot be loaded: {in_one_line(error)}; see zeroline doctor'
            raise click.ClickException(message) from error
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; its errors, and those of CuPy, become one line and exit code 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # the reader of a pipe has gone, which is its right
            sys.stdout = None
            raise click.exceptions.Exit(1) from None
        except (ZerolineError, OSError, MemoryError) as error:
            if ctx.meta.get("zeroline.debug"):
                raise
            message = str(error) or "out of memory"
            raise click.ClickException(" ".join(message.split())) from error
        except Exception as error:
            if ctx.meta.get("zeroline.debug") or not from_cupy(error):
                raise
            message = f"the CUDA device failed: {in_one_line(error)}"
            raise click.ClickException(message) from error

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run the program; a wrong usage is told in one line as well."""
        with contextlib.suppress(ValueError):  # not in the main thread
            signal.signal(signal.SIGTERM, _end)
        run = partial(super().main, args, prog_name, complete_var, standalone_mode=False, **extra)
        if not standalone_mode:
            return run()
        given = sys.argv[1:] if args is None else list(args)
        try:
            code: Any = run()
        except click.exceptions.NoArgsIsHelpError as error:
            error.show()
            code = error.exit_code
        except click.ClickException as error:
            message = without_passwords(error.format_message(), given)
            click.echo(f"Error: {' '.join(message.split())}", err=True)
            code = error.exit_code
        except (ZerolineError, OSError, MemoryError):  # with --debug
            click.echo(without_passwords(traceback.format_exc(), given), err=True, nl=False)
            code = 1
        except click.Abort:
            click.echo("Error: interrupted", err=True)
            code = 130
        code = code if isinstance(code, int) else 0
        if args is None:
            _leave_threads(code)
        sys.exit(code)


def _leave_threads(code: int) -> None:
    """End the program at once where a thread of ours still waits, for a slow camera say.

    Python ends such a thread where it next asks for the interpreter. Inside OpenCV's C++ code that
    aborts the program (exit code 134), after all has been written.
    """
    if any(thread.name.startswith("zeroline-") for thread in threading.enumerate()):
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                if stream is not None:
                    stream.flush()
        os._exit(code)


def _end(*_: Any) -> None:
    """Leave by an exception, so that half-made folders are removed on the way."""
    sys.exit(143)


#: Tracebacks of what a line survives go here; people get the one line of its event.
_log = logging.getLogger("zeroline")
_log.addHandler(logging.NullHandler())


def _remember_debug(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta["zeroline.debug"] = True  # `meta` is shared by a command and its group
        handler = logging.StreamHandler()
        _log.addHandler(handler)
        ctx.call_on_close(partial(_log.removeHandler, handler))


debug_option = click.option(
    "--debug", is_flag=True, expose_value=False, callback=_remember_debug,
    help="Show the traceback of an error.",
)  # fmt: skip


def silence_pillow() -> None:
    """Silence Pillow's warnings of odd metadata and large pictures; what is refused is told."""
    for category in (UserWarning, RuntimeWarning):
        warnings.filterwarnings("ignore", category=category, module="PIL")


_usual_format = warnings.formatwarning


def _one_line_of(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    line: str | None = None,
) -> str:
    """Return how a warning is printed: zeroline's own in one line, without the source's."""
    if issubclass(category, ProviderWarning):
        return f"warning: {message}\n"
    return _usual_format(message, category, filename, lineno, line)


@click.group(
    cls=CommandGroup,
    places=_COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(version("zeroline"), prog_name="zeroline")
@debug_option
def main() -> None:
    """Find defects without training and without labels."""
    silence_pillow()
    warnings.formatwarning = _one_line_of
