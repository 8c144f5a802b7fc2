"""``zeroline export``: a group with one module for each of its commands."""

from __future__ import annotations

import click

from zeroline.edge_app.cli import CommandGroup

_PLACE = "zeroline.edge_app.commands.export"
_COMMANDS = {
    "backbone": f"{_PLACE}.backbone:backbone",
    "engine": f"{_PLACE}.engine:engine",
    "onnx": f"{_PLACE}.onnx:onnx",
    "precision": f"{_PLACE}.precision:precision",
}


@click.group(cls=CommandGroup, places=_COMMANDS)
def export() -> None:
    """Make a model bundle, or the TensorRT engine of a bundle.

    A new network is compared with the one that it was made from, on the same images. It is kept
    only if both agree.
    """
