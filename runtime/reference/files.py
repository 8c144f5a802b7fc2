"""The file of a reference set.

A NumPy archive without pickle: a header in JSON, and one array for each layer and for the class
tokens. The header says how the set was made and where each frame comes from, and has a hash of
itself and of the arrays.
"""

from __future__ import annotations

import hashlib
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import astuple
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from zeroline.runtime.errors import ReferenceFileError, ScoringError
from zeroline.runtime.files import replacing
from zeroline.runtime.reference.sets import ReferenceFrame, ReferenceSet
from zeroline.runtime.stages.degrees import FUSED, match_count
from zeroline.runtime.tokens import Tokens

VERSION = 2

# what NumPy, zipfile and json raise on files that are none of ours, by trying
_DAMAGE = (
    OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, EOFError, MemoryError,
    RecursionError, NotImplementedError, zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip


def write_reference(path: Path, reference: ReferenceSet) -> None:
    """Write a set; the file is there whole or not at all.

    Raises
    ------
    ScoringError
        If it holds no frame.
    ReferenceFileError
        If it cannot be written.
    """
    if not reference.frames:
        raise ScoringError(f'reference "{path}": no frame is left to write')
    tokens = reference.tokens
    arrays = {f"layer_{number}": layer for number, layer in enumerate(tokens.layers)}
    arrays["class_tokens"] = tokens.class_tokens
    header: dict[str, Any] = {
        "version": VERSION,
        "bundle": reference.bundle,
        "network": reference.network,
        "degrees": reference.degrees,
        "false_alarm_rate": reference.false_alarm_rate,
        "left_out": reference.left_out,
        "source": reference.source,
        "program": reference.program,
        "frames": [astuple(frame) for frame in reference.frames],
    }
    header["sha256"] = _digest(header, tokens)
    text = np.frombuffer(json.dumps(header).encode(), np.uint8)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            np.savez(file, header=text, **arrays)
    except OSError as error:
        raise ReferenceFileError(
            f'reference "{path}" cannot be written: {error.strerror}'
        ) from error


def read_reference(path: Path, *, network: str | None = None) -> ReferenceSet:
    """Read a set and check it.

    Parameters
    ----------
    path : Path
        The file.
    network : str, optional
        sha256 of the ONNX file that must have made it; any, where not given.

    Returns
    -------
    ReferenceSet

    Raises
    ------
    ReferenceFileError
        If the file is missing, damaged, of another version, or of another network.
    """
    damaged = f'reference "{path}" is damaged, or no reference'
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            header = json.loads(content["header"].tobytes())
            if not isinstance(header, dict):
                raise ReferenceFileError(damaged)
            _check_version(path, header)
            layers = tuple(content[f"layer_{n}"] for n in range(len(content.files) - 2))
            tokens = Tokens(layers, content["class_tokens"])
        intact = header.pop("sha256") == _digest(header, tokens)
        reference = _reference(header, tokens)
    except FileNotFoundError as error:
        raise ReferenceFileError(f'reference "{path}" does not exist') from error
    except _DAMAGE as error:
        raise ReferenceFileError(damaged) from error
    if not intact:
        raise ReferenceFileError(f'reference "{path}" is damaged: its hash does not fit')
    if network is not None and reference.network != network:
        raise ReferenceFileError(
            f'reference "{path}" was made with bundle "{reference.bundle}", '
            "whose network is another one"
        )
    return reference


def _check_version(path: Path, header: Mapping[str, Any]) -> None:
    version = header.get("version")
    if version != VERSION or isinstance(version, bool):
        raise ReferenceFileError(
            f'reference "{path}" is of version {version!r}, this zeroline reads {VERSION}: make it '
            "anew with zeroline reference build"
        )


def _reference(header: Mapping[str, Any], tokens: Tokens) -> ReferenceSet:
    """Return the set of a header; ValueError, KeyError or TypeError where it is none."""
    frames = tuple(_frame(*row) for row in header["frames"])
    degrees = (
        header["degrees"] if header["degrees"] == FUSED else tuple(map(int, header["degrees"]))
    )
    match_count(degrees)
    arrays = (*tokens.layers, tokens.class_tokens)
    if not tokens.layers or not frames or any(len(array) != len(frames) for array in arrays):
        raise ValueError(f"{len(frames)} frames in the header, others in the arrays")
    sizes = {array.ndim for array in tokens.layers} | {tokens.class_tokens.ndim + 1}
    if sizes != {3} or any(array.dtype.kind != "f" for array in arrays):
        raise ValueError("arrays of another shape or type")
    if not tokens.finite().all():
        raise ValueError("NaN or inf")
    words = [header[name] for name in ("bundle", "network", "source", "program")]
    if not all(isinstance(word, str) for word in words):
        raise TypeError("text is expected")
    bundle, network, source, program = words
    return ReferenceSet(
        tokens,
        frames,
        bundle=bundle,
        network=network,
        degrees=degrees,
        false_alarm_rate=float(header["false_alarm_rate"]),
        left_out=int(header["left_out"]),
        source=source,
        program=program,
    )


def _frame(name: Any, time: Any, score: Any, threshold: Any, confirmed: Any) -> ReferenceFrame:
    typed = isinstance(name, str) and isinstance(confirmed, bool)
    frame = ReferenceFrame(name, float(time), float(score), float(threshold), confirmed)
    if not typed or not all(map(isfinite, (frame.time, frame.score, frame.threshold))):
        raise ValueError("a name, three numbers, and true or false are expected")
    return frame


def _digest(header: Mapping[str, Any], tokens: Tokens) -> str:
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for array in (*tokens.layers, tokens.class_tokens):
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
