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
    """Make a model bundle, or a bundle's TensorRT engine.

    A bundle is compared with what it was made from on the same pictures, and kept only if it
    follows.
    """
