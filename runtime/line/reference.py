"""Reference sets: tokens of known-good parts in a file, so that a line need not warm up.

The file is a NumPy archive without pickle: a header in JSON, and one array for each layer and for
the class tokens. The header has a version, the network's hash and a hash of the arrays.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np

from zeroline.runtime.errors import ReferenceFileError, ScoringError
from zeroline.runtime.files import replacing
from zeroline.runtime.tokens import Tokens

VERSION = 1


def write_reference(path: Path, tokens: Tokens | None, *, bundle: str, network: str) -> int:
    """Write a set; the file is there whole or not at all.

    Parameters
    ----------
    path : Path
        The file.
    tokens : Tokens or None
        Of known-good frames, on the host.
    bundle, network : str
        Name of the bundle that made them, and sha256 of its ONNX file.

    Returns
    -------
    int
        How many frames it holds.

    Raises
    ------
    ScoringError
        If there are no tokens.
    ReferenceFileError
        If it cannot be written.
    """
    if tokens is None:
        raise ScoringError("the window is empty, there is nothing to save")
    arrays = {f"layer_{number}": layer for number, layer in enumerate(tokens.layers)}
    arrays["class_tokens"] = tokens.class_tokens
    header = {
        "version": VERSION,
        "bundle": bundle,
        "network": network,
        "sha256": _digest(tokens),
    }
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            np.savez(file, header=text, **arrays)
    except OSError as error:
        raise ReferenceFileError(
            f'reference "{path}" cannot be written: {error.strerror}'
        ) from error
    return len(tokens)


def read_reference(path: Path, *, network: str) -> Tokens:
    """Read a set and check it.

    Parameters
    ----------
    path : Path
        The file.
    network : str
        sha256 of the ONNX file that must have made it.

    Returns
    -------
    Tokens
        Of known-good frames, on the host.

    Raises
    ------
    ReferenceFileError
        If the file is missing, damaged, of another version, or of another network.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            header = json.loads(content["header"].tobytes())
            count = len(content.files) - 2
            tokens = Tokens(
                tuple(content[f"layer_{number}"] for number in range(count)),
                content["class_tokens"],
            )
    except FileNotFoundError as error:
        raise ReferenceFileError(f'reference "{path}" does not exist') from error
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise ReferenceFileError(f'reference "{path}" is damaged, or no reference') from error
    if not isinstance(header, dict) or header.get("version") != VERSION:
        version = header.get("version") if isinstance(header, dict) else header
        raise ReferenceFileError(
            f'reference "{path}" is of version {version!r}, this zeroline reads {VERSION}'
        )
    if header.get("network") != network:
        raise ReferenceFileError(
            f'reference "{path}" was made with bundle "{header.get("bundle")}", '
            "whose network is another one"
        )
    if header.get("sha256") != _digest(tokens):
        raise ReferenceFileError(f'reference "{path}" is damaged: its hash does not fit')
    return tokens


def _digest(tokens: Tokens) -> str:
    digest = hashlib.sha256()
    for array in (*tokens.layers, tokens.class_tokens):
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
