"""What a checkpoint's file is, by its content: its ending may be wrong.

A file is read as numbers only. Pickled code is never run: `torch.load` with ``weights_only``,
or safetensors.
"""

from __future__ import annotations

import argparse
import hashlib
import pickle
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zeroline.export.errors import ExportError
from zeroline.export.frameworks import framework

#: Names under which training programs keep the weights inside a checkpoint, the first that is
#: there: of a student and its teacher the teacher is the network.
_INSIDE = ("state_dict", "model", "teacher", "model_ema", "module", "student")
# what torch.load raises on damaged files, by trying
_DAMAGE = (
    RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, TypeError, AttributeError,
    struct.error,
)  # fmt: skip
#: How files begin that people take for a checkpoint, and what to do then.
_OTHERS = (
    (b"version https://git-lfs", "is a Git LFS pointer, a note in place of the weights: run "
     "git lfs pull, or download the file itself"),
    (b"<", "is a web page and not weights: the download went wrong"),
    (b"{", "is a JSON text and not weights: give the file with the tensors, of which it tells"),
    (b"\x1f\x8b", "is packed by gzip: unpack it first"),
    (b"\xfd7zXZ", "is packed by xz: unpack it first"),
    (b"(\xb5/\xfd", "is packed by zstd: unpack it first"),
    (b"\x89HDF", "is HDF5, as TensorFlow and Keras write it: take the weights for PyTorch"),
    (b"GGUF", "is GGUF, for llama.cpp: take the weights for PyTorch"),
    (b"\x93NUMPY", "is a single NumPy array: save a state_dict"),
)  # fmt: skip
_ENDINGS = {
    ".onnx": "is an ONNX file: zeroline export onnx takes it",
    ".msgpack": "is of Flax: take the weights for PyTorch",
}
_LONGEST_HEADER = 100 << 20  # bytes, the limit of safetensors itself


def read_tensors(path: Path) -> dict[str, Any]:
    """Read the tensors of a checkpoint by name, as the training program named them.

    Floating tensors come as float32.

    Raises
    ------
    ExportError
        If the file is missing, something else, damaged, holds code, or holds no tensors.
    """
    torch = framework("torch")
    label = f'checkpoint "{path}"'
    _refuse_others(path, label)
    content = _safetensors(path, label) if _is_safetensors(path) else _pickled(path, label)
    content = _inside(content, torch)
    tensors = {
        str(name): value.float() if value.is_floating_point() else value
        for name, value in (content.items() if isinstance(content, Mapping) else ())
        if torch.is_tensor(value)
    }
    if not tensors:
        raise ExportError(f"{label} holds no named tensors")
    return tensors


def sha256_of_checkpoint(path: Path) -> str:
    """Return a file's sha256."""
    with path.open("rb") as file:
        found = hashlib.sha256()
        while part := file.read(1 << 20):
            found.update(part)
    return found.hexdigest()


def _refuse_others(path: Path, label: str) -> None:
    """Refuse what is no checkpoint of PyTorch, by its true name."""
    if path.is_dir():
        files = sorted(f.name for f in path.iterdir() if f.suffix in (".safetensors", ".bin",
                                                                      ".pt", ".pth"))  # fmt: skip
        inside = f"; it holds {', '.join(files[:3])}" if files else ""
        raise ExportError(f"{label} is not a file but a folder: give the file in it{inside}")
    if not path.is_file():
        raise ExportError(f"{label} is not a file")
    with path.open("rb") as file:
        begin = file.read(512)
    if not begin:
        raise ExportError(f"{label} cannot be read: it is empty")
    for mark, words in _OTHERS:
        if begin.lstrip().startswith(mark):
            raise ExportError(f"{label} {words}")
    if begin[257:262] == b"ustar":
        raise ExportError(f"{label} is a tar archive: unpack it first")
    if path.suffix.lower() in _ENDINGS:
        raise ExportError(f"{label} {_ENDINGS[path.suffix.lower()]}")


def _is_safetensors(path: Path) -> bool:
    """Tell by the content: a header's length, then JSON."""
    with path.open("rb") as file:
        begin = file.read(9)
    if path.suffix == ".safetensors" and begin[:2] not in (b"PK", b"\x80\x02"):
        return True
    long = struct.unpack("<Q", begin[:8])[0] if len(begin) == 9 else 0
    return begin[8:] == b"{" and 0 < long < _LONGEST_HEADER


def _safetensors(path: Path, label: str) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ExportError(f"{label} cannot be read: {error}") from error


def _pickled(path: Path, label: str) -> Any:
    torch = framework("torch")
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if any(name.endswith("constants.pkl") for name in names):
            raise ExportError(
                f"{label} cannot be read: it is a TorchScript archive, which holds code (OpenAI's "
                "own files are). Save its numbers: "
                "torch.save(torch.jit.load(FILE, 'cpu').state_dict(), 'weights.pt')"
            )
        if not any(name.endswith("data.pkl") for name in names):
            raise ExportError(
                f"{label} is a zip archive of {names[0] if names else 'nothing'}, not a checkpoint "
                "of PyTorch: unpack it first"
            )
    try:
        # a Namespace holds a program's options, and runs nothing
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.simplefilter("ignore", UserWarning)  # what cannot be read is an error
            with path.open("rb") as file:  # of a path torch believes the ending
                return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ExportError(
            f"{label} holds more than tensors and is not read, since that could run code: save its "
            "state_dict alone, best as .safetensors"
        ) from error
    except _DAMAGE as error:
        raise ExportError(
            f"{label} cannot be read: damaged, or no checkpoint of PyTorch"
        ) from error


def _inside(content: Any, torch: Any) -> Any:
    """Go down to the mapping that holds the tensors."""
    while isinstance(content, Mapping) and not any(torch.is_tensor(v) for v in content.values()):
        inner = {k: v for k, v in content.items() if isinstance(v, Mapping) and len(v)}
        known = [name for name in _INSIDE if name in inner]
        if not known and len(inner) != 1:
            return content
        content = inner[known[0]] if known else next(iter(inner.values()))
    return content
