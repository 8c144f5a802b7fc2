"""Lets ``python -m zeroline.edge_app`` do what the command ``zeroline`` does."""

from zeroline.edge_app.cli import main

main(prog_name="zeroline")
