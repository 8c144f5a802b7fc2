"""Where a backbone's weights come from: drawn at random, a hub's cache, or a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zeroline.export.errors import ExportError

_SHOWN = 3


@dataclass(frozen=True)
class Weights:
    """Which weights are wanted.

    Attributes
    ----------
    tag : str or None
        Of the weights, in the framework's list; it also says how they were trained.
    checkpoint : Path or None
        A file that has them, so that nothing is downloaded.
    seed : int
        Of random weights, where neither is given.
    """

    tag: str | None = None
    checkpoint: Path | None = None
    seed: int = 0

    def described(self) -> str:
        """Return where the weights come from, for the manifest."""
        if self.checkpoint is not None:
            return f"{self.tag}, {self.checkpoint.name}" if self.tag else self.checkpoint.name
        return self.tag if self.tag is not None else f"random, seed {self.seed}"


def load_checked(network: Any, tensors: Mapping[str, Any], *, label: str, hint: str = "") -> None:
    """Load tensors into a network; every one must have its place and shape, and be finite.

    Parameters
    ----------
    network : Module
    tensors : dict
        By the network's names.
    label : str
        Names the file in errors.
    hint : str
        What to do where they do not fit.

    Raises
    ------
    ExportError
        Names the first that are missing, of another shape or type, left over, or not finite.
    """
    wanted = network.state_dict()
    problems = [f"{name} is missing" for name in wanted if name not in tensors]
    problems += [
        f"{name} is {tuple(tensors[name].shape)}, {tuple(value.shape)} is expected"
        for name, value in wanted.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    problems += [f"{name} has no place" for name in tensors if name not in wanted]
    if problems:
        raise ExportError(f"{label} belongs to another architecture: {_first(problems)}{hint}")
    whole = [
        f"{name} is {str(tensors[name].dtype).removeprefix('torch.')}"
        for name, value in wanted.items()
        if value.is_floating_point() and not tensors[name].is_floating_point()
    ]
    if whole:
        raise ExportError(
            f"{label} holds whole numbers where weights are expected, so it is quantised: "
            f"{_first(whole)}; take the file in float32 or half precision"
        )
    wrong = [name for name in wanted if not tensors[name].isfinite().all()]
    if wrong:
        raise ExportError(
            f"{label} holds NaN or inf in {len(wrong)} of its tensors, in {_first(wrong)}: it is "
            "damaged, or its training failed"
        )
    network.load_state_dict(tensors)


def _first(words: list[str]) -> str:
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return "; ".join(words[:_SHOWN]) + more
