"""Tokens of simulated lines, each frame drawn and embedded once.

A part's frame depends on the seed and its number, and on whether it is struck. So lines with other
shares of defects show the same parts, and share their tokens.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from zeroline.edge_app.sim.line import GOOD, SimulatedLine
from zeroline.edge_app.sim.settings import LineSettings
from zeroline.runtime import Bundle, Tokens
from zeroline.runtime.tokens import joined


class TokenLine:
    """Parts of a simulated line as tokens, at any share of defects up to the largest.

    Parameters
    ----------
    bundle : Bundle
        The network.
    folder : Path
        Where the tokens are kept between runs; may be removed at any time.
    seed, parts : int
        Of the line.
    most : float
        The largest share of defects.
    """

    def __init__(
        self, bundle: Bundle, folder: Path, *, seed: int, parts: int, most: float = 0.3
    ) -> None:
        self._settings = {"seed": seed, "parts": parts}
        struck = SimulatedLine(LineSettings(**self._settings, defects=most))
        self._bad = [part for part in range(parts) if struck.kind_of(part) != GOOD]
        path = folder / f"{bundle.name}-{seed}-{parts}-{most:g}.npz"
        if not path.is_file():
            plain = SimulatedLine(LineSettings(**self._settings, defects=0.0))
            frames = [plain.part(part).image for part in range(parts)]
            frames += [struck.part(part).image for part in self._bad]
            _write(path, [bundle.embed(bundle.prepare(frame)[None]) for frame in frames])
        self._tokens = _read(path)

    def at(self, share: float) -> tuple[list[str], list[Tokens]]:
        """Return what is wrong with each part at a share of defects, and its tokens."""
        line = SimulatedLine(LineSettings(**self._settings, defects=share))
        parts = self._settings["parts"]
        kinds = [line.kind_of(part) for part in range(parts)]
        rows = [
            part if kind == GOOD else parts + self._bad.index(part)
            for part, kind in enumerate(kinds)
        ]
        return kinds, [self._tokens.select(slice(row, row + 1)) for row in rows]


def _write(path: Path, tokens: list[Tokens]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    whole: Any = joined(tokens)
    layers = {f"layer_{number}": layer for number, layer in enumerate(whole.layers)}
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, class_tokens=whole.class_tokens, **layers)
    part.replace(path)


def _read(path: Path) -> Tokens:
    with np.load(path) as content:
        layers = tuple(content[f"layer_{number}"] for number in range(len(content.files) - 1))
        return Tokens(layers, content["class_tokens"])
