"""Where a backbone's weights come from: drawn at random, a hub's cache, or a file.

A file is read as numbers only. Pickled code is never run: `torch.load` with ``weights_only``,
or safetensors.
"""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zeroline.export.errors import ExportError
from zeroline.export.frameworks import framework

#: Names under which training programs keep the weights inside a checkpoint.
_INSIDE = ("state_dict", "model", "teacher", "model_ema")
#: Words that training programs put before every name.
_PREFIXES = ("module.", "backbone.")
_SHOWN = 3


@dataclass(frozen=True)
class Weights:
    """Which weights are wanted; one of the three.

    Attributes
    ----------
    tag : str or None
        Of the weights, in the framework's list.
    checkpoint : Path or None
        A file.
    seed : int
        Of random weights, where neither is given.
    """

    tag: str | None = None
    checkpoint: Path | None = None
    seed: int = 0

    def described(self) -> str:
        """Return where the weights come from, for the manifest."""
        if self.checkpoint is not None:
            return self.checkpoint.name
        return self.tag if self.tag is not None else f"random, seed {self.seed}"


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read the tensors of a checkpoint by name, as the training program named them.

    Raises
    ------
    ExportError
        If the file is missing, damaged, holds code, or holds no tensors.
    """
    torch = framework("torch")
    if not path.is_file():
        raise ExportError(f'checkpoint "{path}" is not a file')
    content: Any
    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            content = load_file(path)
        except (SafetensorError, OSError) as error:
            raise ExportError(f'checkpoint "{path}" cannot be read: {error}') from error
    else:
        try:
            with warnings.catch_warnings():  # what cannot be read is an error of its own
                warnings.simplefilter("ignore", UserWarning)
                content = torch.load(path, map_location="cpu", weights_only=True)
        except pickle.UnpicklingError as error:
            raise ExportError(
                f'checkpoint "{path}" holds more than tensors and is not read, since that could '
                "run code: save its state_dict alone, best as .safetensors"
            ) from error
        except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise ExportError(f'checkpoint "{path}" cannot be read: {reason}') from error
    for name in _INSIDE:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    tensors = (
        {str(name): value for name, value in content.items() if torch.is_tensor(value)}
        if isinstance(content, Mapping)
        else {}
    )
    if not tensors:
        raise ExportError(f'checkpoint "{path}" holds no named tensors')
    return _without_prefixes(tensors)


def load_checked(network: Any, tensors: Mapping[str, Any], *, label: str) -> None:
    """Load tensors into a network; every one must have its place and shape.

    Raises
    ------
    ExportError
        Names the first that are missing, of another shape, or left over.
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
        more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise ExportError(
            f"{label} belongs to another architecture: {'; '.join(problems[:_SHOWN])}{more}"
        )
    network.load_state_dict(tensors)


def _without_prefixes(tensors: dict[str, Any]) -> dict[str, Any]:
    for prefix in _PREFIXES:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
    return tensors
