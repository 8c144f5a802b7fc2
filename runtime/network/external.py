"""Files that an ONNX file names: tensors that lie beside it.

A graph may name them anywhere: in initialisers, in the constants of nodes, in branches, in
functions. The runtime has no ONNX package, so the few parts of the format that can hold a tensor
are read here (protocol buffers; the numbers are those of onnx.proto).
"""

from __future__ import annotations

import mmap
import posixpath
from collections.abc import Iterator
from pathlib import Path

from zeroline.runtime.errors import BundleError
from zeroline.runtime.files import open_regular

# for each kind of part: which of its fields hold which other kind
_PARTS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
#: Fields of a tensor, of an entry of its table, and the value of "it lies in a file".
_ENTRY, _WHERE, _KEY, _VALUE, _EXTERNAL = 13, 14, 1, 2, 1


def external_files(model: Path) -> list[str]:
    """List the files that an ONNX file names, relative to its folder, sorted.

    Raises
    ------
    BundleError
        If it is no ONNX file, or a name leads out of its folder.
    """
    try:
        with open_regular(model) as file:  # the map ends with the last view of it
            data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        found = set(_locations(data))
    except ValueError as error:
        raise BundleError(f'"{model}" cannot be loaded: it is no ONNX file ({error})') from None
    names = set()
    for location in found:
        name = posixpath.normpath(location)
        if not location or name.startswith(("/", "..")) or "\\" in name or "\0" in name:
            raise BundleError(f'"{model}": external data "{location}" lies outside its folder')
        names.add(name)
    return sorted(names)


def _locations(data: memoryview) -> Iterator[str]:
    """Yield the places of all tensors that lie in files."""
    waiting = [("model", data)]
    while waiting:
        kind, part = waiting.pop()
        if kind == "tensor":
            yield from _of_tensor(part)
            continue
        inner = _PARTS[kind]
        for number, value in _fields(part):
            if number in inner and isinstance(value, memoryview):
                waiting.append((inner[number], value))


def _of_tensor(part: memoryview) -> Iterator[str]:
    entries, external = [], False
    for number, value in _fields(part):
        if number == _WHERE:
            external |= value == _EXTERNAL
        elif number == _ENTRY and isinstance(value, memoryview):
            entries.append(dict(_fields(value)))
    for entry in entries if external else ():
        key, place = (entry.get(number, b"") for number in (_KEY, _VALUE))
        if isinstance(key, memoryview) and bytes(key) == b"location":
            yield bytes(place).decode() if isinstance(place, memoryview) else ""


def _fields(part: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield number and value of each field of a message; ValueError where it is none."""
    place, end = 0, len(part)
    while place < end:
        key, place = _varint(part, place)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, place = _varint(part, place)
            yield number, value
            continue
        if kind == _BYTES:
            length, place = _varint(part, place)
        elif kind in (_EIGHT, _FOUR):
            length = 8 if kind == _EIGHT else 4
        else:
            raise ValueError(f"a field of kind {kind}")
        if number == 0 or length > end - place:
            raise ValueError("a field goes over the end")
        yield number, part[place : place + length]
        place += length


def _varint(part: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(part):
            break
        byte = part[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ValueError("a number goes over the end")
