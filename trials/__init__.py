"""Trials on simulated lines: figures that docs/reliability.md states."""
