"""Where a backbone's weights come from: drawn at random, a hub's cache, or a file.

A file is read as numbers only. Pickled code is never run: `torch.load` with ``weights_only``,
or safetensors.
"""

from __future__ import annotations

import pickle
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zeroline.export.errors import ExportError
from zeroline.export.frameworks import framework

#: Names under which training programs keep the weights inside a checkpoint.
_INSIDE = ("state_dict", "model", "teacher", "model_ema")
# what torch.load raises on damaged files, by trying
_DAMAGE = (
    RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, TypeError, AttributeError,
    struct.error,
)  # fmt: skip
#: Words that training programs put before the names of the network; others are heads.
_PREFIXES = ("module.", "backbone.")
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
        except _DAMAGE as error:
            script = "; it is a TorchScript archive, which holds code: save its state_dict"
            hint = script if "TorchScript" in str(error) else ""
            raise ExportError(
                f'checkpoint "{path}" cannot be read: damaged, or no checkpoint of PyTorch{hint}'
            ) from error
    for name in _INSIDE:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    tensors = {
        str(name): value.float() if value.is_floating_point() else value
        for name, value in (content.items() if isinstance(content, Mapping) else ())
        if torch.is_tensor(value)
    }
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
        own = {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}
        tensors = own or tensors
    return tensors
