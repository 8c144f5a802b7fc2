"""Damage to files: cut, changed, mixed up; and to the values of JSON."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

#: The beginnings of other kinds of files.
HEADERS = (
    b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0\x00\x10JFIF", b"PK\x03\x04", b"\x93NUMPY\x01\x00",
    b"\x1f\x8b\x08", b"{}", b"[", b"\x00" * 16, b"\xff" * 16, b"ORTM", b"BM", b"RIFF",
)  # fmt: skip
KINDS = (
    "cut", "bit", "bytes", "zeros", "ones", "removed", "repeated", "swapped", "header", "number",
)  # fmt: skip


def damaged(content: bytes, rng: np.random.Generator) -> tuple[bytes, str]:
    """Return damaged content, and the kind of damage."""
    kind = KINDS[rng.integers(len(KINDS))]
    result = bytearray(content)
    length = len(result)
    if not length:
        return b"\x00", "header"
    # ends and beginnings matter more than what lies between
    place = int(rng.integers(length))
    if rng.random() < 0.4:
        near = min(length, 400)
        place = (
            int(rng.integers(near)) if rng.random() < 0.5 else length - 1 - int(rng.integers(near))
        )
    size = int(min(rng.geometric(0.02), length - place))
    if kind == "cut":
        del result[place:]
    elif kind == "bit":
        result[place] ^= 1 << int(rng.integers(8))
    elif kind == "bytes":
        result[place : place + size] = rng.bytes(size)
    elif kind in ("zeros", "ones"):
        result[place : place + size] = (b"\x00" if kind == "zeros" else b"\xff") * size
    elif kind == "removed":
        del result[place : place + size]
    elif kind == "repeated":
        result[place:place] = result[place : place + size] * int(rng.integers(1, 5))
    elif kind == "swapped":
        other = int(rng.integers(length))
        first, second = sorted((place, other))
        result = result[second:] + result[first:second] + result[:first]
    elif kind == "header":
        header = HEADERS[rng.integers(len(HEADERS))]
        result[: len(header)] = header
    else:
        bits = int(rng.choice([2, 4, 8]))
        value = int(rng.choice([0, 1, 2**15, 2**31 - 1, 2**32 - 1, 2**63 - 1])) % 2 ** (8 * bits)
        result[place : place + bits] = value.to_bytes(bits, "little")
    return bytes(result), kind


ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3, 7, 4096, 10**9, 10**20, 10**400, 0.5, -0.0, 1e-300, 1e300,
    float("nan"), float("inf"), "", "x", "0", "../x", "/dev/zero", "model.onnx", "\ud800", "\x00",
    "a\nb", "ö" * 300, [], {}, [[]], [1, 2], [1, 2, 3], [0, 0, 0], ["x"], {"a": 1},
)  # fmt: skip


def odd_values(content: Any, rng: np.random.Generator) -> Any:
    """Return JSON content of which one to three values are odd, missing, twice or nested deep."""
    result = copy.deepcopy(content)
    for _ in range(int(rng.integers(1, 4))):
        places = list(_places(result))
        if not places:
            return ODD[rng.integers(len(ODD))]
        holder, key = places[rng.integers(len(places))]
        chance = rng.random()
        if chance < 0.15:
            del holder[key]
        elif chance < 0.25 and isinstance(holder, list):
            holder.append(holder[key])
        elif chance < 0.3:
            deep: Any = 1
            for _ in range(int(rng.choice([20, 250]))):
                deep = [deep]
            holder[key] = deep
        elif chance < 0.4:
            _, other_key = (other := places[rng.integers(len(places))])
            holder[key] = copy.deepcopy(other[0][other_key])
        elif chance < 0.45 and isinstance(holder, dict):
            holder[str(ODD[rng.integers(len(ODD))])] = ODD[rng.integers(len(ODD))]
        else:
            holder[key] = copy.deepcopy(ODD[rng.integers(len(ODD))])
    return result


def _places(content: Any) -> Any:
    """Yield where each value inside lies: its holder and its key."""
    if isinstance(content, dict | list):
        keys = list(content) if isinstance(content, dict) else range(len(content))
        for key in keys:
            yield content, key
            yield from _places(content[key])
