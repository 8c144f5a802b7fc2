"""Tokens of simulated parts, each drawn and embedded once.

A part's frame depends on the seed and its number alone, and on whether it is struck. So lines with
other shares of defects show the same parts, and share their tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zeroline.edge_app.sim.line import GOOD, SimulatedLine
from zeroline.edge_app.sim.settings import LineSettings
from zeroline.runtime import Bundle, Tokens
from zeroline.runtime.tokens import joined


@dataclass(frozen=True)
class TokenLine:
    """Parts of a line, as tokens.

    Attributes
    ----------
    kinds : list of str
        What is wrong with each part.
    tokens : list of Tokens
        Of each part's frame.
    """

    kinds: list[str]
    tokens: list[Tokens]

    def __len__(self) -> int:
        """Return the number of parts."""
        return len(self.kinds)

    def good(self, part: int) -> bool:
        """Whether nothing is wrong with a part."""
        return self.kinds[part] == GOOD


class TokenCache:
    """Embeds frames of simulated lines, and keeps the tokens in a folder.

    Parameters
    ----------
    bundle : Bundle
        The network.
    folder : Path
        Of the files; made if need be. May be removed at any time.
    """

    def __init__(self, bundle: Bundle, folder: Path) -> None:
        self._bundle, self._folder = bundle, folder
        folder.mkdir(parents=True, exist_ok=True)

    def line(self, **settings: Any) -> TokenLine:
        """Return a line with these settings (`LineSettings`); `parts` of them."""
        line = SimulatedLine(LineSettings(**settings))
        kinds = [line.kind_of(part) for part in range(settings["parts"])]
        good = SimulatedLine(LineSettings(**(settings | {"defects": 0.0, "tool_marks": 0.0})))
        usual = self._frames(good, settings | {"defects": 0.0, "tool_marks": 0.0})
        struck = [part for part, kind in enumerate(kinds) if kind != GOOD]
        other = self._frames(line, settings, only=struck) if struck else {}
        return TokenLine(kinds, [other.get(part, usual[part]) for part in range(len(kinds))])

    def _frames(
        self, line: SimulatedLine, settings: dict[str, Any], *, only: list[int] | None = None
    ) -> dict[int, Tokens]:
        """Return tokens of some parts, or of all; those of a higher share of defects serve too."""
        name = "-".join(f"{key}={settings[key]}" for key in sorted(settings))
        path = self._folder / f"{self._bundle.name}-{name}.npz"
        wanted = range(settings["parts"]) if only is None else only
        if path.is_file():
            return dict(_read(path))
        tokens = [
            self._bundle.embed(self._bundle.prepare(line.frame_of(part).image)[None])
            for part in wanted
        ]
        _write(path, list(wanted), joined(tokens))
        return dict(zip(wanted, tokens, strict=True))


def _write(path: Path, parts: list[int], tokens: Tokens) -> None:
    layers = {f"layer_{number}": layer for number, layer in enumerate(tokens.layers)}
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez(file, parts=np.array(parts), class_tokens=tokens.class_tokens, **layers)
    part.replace(path)


def _read(path: Path) -> Iterator[tuple[int, Tokens]]:
    with np.load(path) as content:
        layers = [content[f"layer_{number}"] for number in range(len(content.files) - 2)]
        class_tokens, parts = content["class_tokens"], content["parts"].tolist()
    for row, part in enumerate(parts):
        one = slice(row, row + 1)
        yield part, Tokens(tuple(layer[one] for layer in layers), class_tokens[one])
