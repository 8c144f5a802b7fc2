"""The file of a reference set.

A NumPy archive without pickle: a header in JSON, and one array for each layer and for the class
tokens. The header says how the set was made and where each frame comes from, and has a hash of
itself and of the arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import astuple
from math import isfinite
from pathlib import Path
from reprlib import repr as shown
from typing import Any

import numpy as np

from zeroline.runtime.archives import DAMAGE, open_archive, signature, why_damaged, write_signed
from zeroline.runtime.errors import FramingError, ReferenceFileError, ScoringError
from zeroline.runtime.framing.kept import framing_arrays, framing_header, kept_framing
from zeroline.runtime.reference.sets import ReferenceFrame, ReferenceSet
from zeroline.runtime.stages.degrees import FUSED, match_count
from zeroline.runtime.tokens import Tokens

VERSION = 3

_WORDS = ("bundle", "network", "source", "program")
_KEYS = (*_WORDS, "degrees", "false_alarm_rate", "left_out", "frames")
#: Squares of larger tokens could not be added up.
_LARGEST = 1e15
#: Frames come from the years 1 to 9999.
_TIMES = (-62e9, 253e9)


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
        "framing": framing_header(reference.framing),
    }
    arrays |= framing_arrays(reference.framing)
    try:
        write_signed(path, header, arrays)
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
    try:
        with open_archive(path) as archive:
            header = archive.header()
            _check_version(path, header)
            arrays = archive.arrays()
        if "sha256" not in header:
            raise ValueError('its header has no "sha256"')
        intact = header.pop("sha256") == signature(header, arrays)
        reference = _reference(header, arrays)
    except FileNotFoundError as error:
        raise ReferenceFileError(f'reference "{path}" does not exist') from error
    except OSError as error:
        raise ReferenceFileError(
            f'reference "{path}" cannot be read: {why_damaged(error)}'
        ) from error
    except (FramingError, *DAMAGE) as error:
        raise ReferenceFileError(
            f'reference "{path}" is damaged, or no reference: {why_damaged(error)}'
        ) from error
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
            f'reference "{path}" is of version {shown(version)}, this zeroline reads {VERSION}: '
            "make it anew with zeroline reference build"
        )


def _reference(header: Mapping[str, Any], arrays: Mapping[str, Any]) -> ReferenceSet:
    """Return the set of a header; ValueError, KeyError or TypeError where it is none."""
    framing = kept_framing(header.get("framing"), arrays.__getitem__)
    layers = len(arrays) - 1 - len(framing_arrays(framing))
    try:
        held = tuple(arrays[f"layer_{n}"] for n in range(layers))
        tokens = Tokens(held, arrays["class_tokens"], framing.tiles)
    except KeyError as error:
        raise ValueError(f"it has no {error}") from error
    missing = [name for name in _KEYS if name not in header]
    if missing:
        raise ValueError(f"its header has no {', '.join(missing)}")
    frames = tuple(_frame(*row) for row in header["frames"])
    _check_arrays(tokens, len(frames))
    degrees = header["degrees"]
    if degrees != FUSED:
        if not all(type(degree) is int and degree > 0 and degree % 2 for degree in degrees):
            raise ValueError(f"degrees is {shown(degrees)}, odd numbers are expected")
        degrees = tuple(degrees)
    match_count(degrees)
    rate, left_out = header["false_alarm_rate"], header["left_out"]
    if type(rate) not in (int, float) or not 0 < rate <= 1:
        raise ValueError(f"false_alarm_rate is {shown(rate)}, a number from 0 to 1 is expected")
    if type(left_out) is not int or left_out < 0:
        raise ValueError(f"left_out is {shown(left_out)}, a count is expected")
    bundle, network, source, program = (_text(header[name]) for name in _WORDS)
    return ReferenceSet(
        tokens,
        frames,
        bundle=bundle,
        network=network,
        degrees=degrees,
        false_alarm_rate=float(rate),
        left_out=left_out,
        source=source,
        program=program,
        framing=framing,
    )


def _check_arrays(tokens: Tokens, count: int) -> None:
    """Refuse tokens that are not those of `count` frames of one network."""
    arrays = (*tokens.layers, tokens.class_tokens)
    if not count or not tokens.layers:
        raise ValueError(f"it holds {count} frames and {len(tokens.layers)} layers")
    shapes = ", ".join("×".join(map(str, array.shape)) for array in arrays)
    fits = [array.ndim for array in arrays] == [3] * len(tokens.layers) + [2]
    fits = fits and all(len(array) == count for array in arrays)
    fits = fits and len({layer.shape[1] for layer in tokens.layers}) == 1
    if not fits or not all(array.size for array in arrays):
        raise ValueError(f"its arrays are {shapes}: {count} frames of one network are expected")
    types = sorted({str(array.dtype) for array in arrays} - {"float16", "float32", "float64"})
    if types:
        raise ValueError(f"its arrays hold {', '.join(types)}")
    if not tokens.finite().all():
        raise ValueError("its tokens hold NaN or inf")
    largest = max(float(np.abs(array).max()) for array in arrays)
    if largest > _LARGEST:
        raise ValueError(f"its tokens hold {largest:g}, at most {_LARGEST:g} is expected")
    if not tokens.class_tokens.any(axis=1).all():
        raise ValueError("a class token is zero")


def _frame(*row: Any) -> ReferenceFrame:
    name, *numbers, confirmed, turn = row
    typed = len(numbers) == 3 and type(confirmed) is bool
    if not typed or not all(type(n) in (int, float) and isfinite(n) for n in (*numbers, turn)):
        raise ValueError("a frame is a name, three numbers, true or false, and a number")
    if not _TIMES[0] < numbers[0] < _TIMES[1]:
        raise ValueError(f"a frame has the time {numbers[0]:g}, seconds since 1970 are expected")
    time, score, threshold = map(float, numbers)
    return ReferenceFrame(_text(name), time, score, threshold, confirmed, float(turn))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text is expected, {shown(value)} is there")
    value.encode()  # half of a pair of surrogates could not be shown
    return value
