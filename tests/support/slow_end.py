"""A command that ends while its camera's thread waits for the next picture."""

import sys
import threading

import click

from zeroline.edge_app import cli
from zeroline.edge_app.events import Events
from zeroline.edge_app.sources.live import LiveSource


@click.command()
@click.argument("address")
def slow_end(address: str) -> None:
    """Take one frame."""
    source = LiveSource(address, events=Events(), stop=threading.Event())
    next(captured for captured in source if captured.frame is not None)
    source.close()
    click.echo("taken")


if __name__ == "__main__":
    cli.main._places = {"slow-end": "support.slow_end:slow_end"}
    sys.argv[1:1] = ["slow-end"]
    cli.main()
