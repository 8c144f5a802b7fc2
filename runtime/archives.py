"""NumPy archives from anywhere: read without pickle, and only what the file really holds.

`numpy.load` takes room for what an array's header claims, and unpacks what a member claims. Here
both must fit the length of the file before a byte is read.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from zeroline.runtime.files import open_regular, replacing

#: What reading a damaged archive, or a damaged header in it, may raise.
DAMAGE = (
    OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, EOFError, MemoryError,
    RecursionError, NotImplementedError, OverflowError, SyntaxError, RuntimeError,
    zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError,
)  # fmt: skip
_LONGEST_HEADER = 64 << 20  # bytes; a thousand frames have a tenth of a MiB
_KINDS = "fuib"
_READERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


class Archive:
    """An open archive, as `numpy.savez` writes them.

    Attributes
    ----------
    names : tuple of str
        Of the arrays.
    """

    def __init__(self, file: IO[bytes]) -> None:
        length = os.fstat(file.fileno()).st_size
        self._zip = zipfile.ZipFile(file)
        members = self._zip.infolist()
        names = [member.filename.removesuffix(".npy") for member in members]
        if any(m.compress_type != zipfile.ZIP_STORED or m.flag_bits & 1 for m in members):
            raise ValueError("its arrays are packed")
        if len(set(names)) < len(names) or sum(m.file_size for m in members) > length:
            raise ValueError("its table of arrays does not fit")
        self._members = dict(zip(names, members, strict=True))
        self.names = tuple(names)

    def array(self, name: str) -> NDArray[Any]:
        """Return an array of numbers; one of `DAMAGE` if there is none of this name."""
        if name not in self._members:
            raise ValueError(f'it has no "{name}"')
        member = self._members[name]
        with self._zip.open(member) as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is odd in a header is damage or is not
            try:
                shape, _, dtype = _READERS[npy.read_magic(file)](file)
            except DAMAGE as error:
                raise ValueError(f'what "{name}" says of itself cannot be read') from error
            size = dtype.itemsize * prod(shape)
            if dtype.kind not in _KINDS or min(shape, default=0) < 0:
                raise ValueError(f'"{name}" holds {dtype} {shape}')
            if size != member.file_size - file.tell():
                raise ValueError(f'"{name}" claims {size} bytes and has others')
        with self._zip.open(member) as file:
            array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
        return array

    def header(self) -> dict[str, Any]:
        """Return the array "header", which is a JSON object as bytes."""
        if "header" in self._members and self._members["header"].file_size > _LONGEST_HEADER:
            raise ValueError(f'"header" is longer than {_LONGEST_HEADER >> 20} MiB')
        try:
            content = json.loads(self.array("header").tobytes())
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            raise ValueError('"header" is no JSON') from error
        if not isinstance(content, dict):
            raise ValueError('"header" is no JSON object')
        return content

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all arrays but the header, in the order in which they were written."""
        return {name: self.array(name) for name in self.names if name != "header"}


def signature(header: Mapping[str, Any], arrays: Mapping[str, Any]) -> str:
    """Return a hash of a header, and of arrays in the order in which they are written."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for array in arrays.values():
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()


def write_signed(path: Path, header: Mapping[str, Any], arrays: Mapping[str, Any]) -> None:
    """Write a header, with its `signature` as "sha256", and arrays; whole or not at all.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    signed = {**header, "sha256": signature(header, arrays)}
    text = np.frombuffer(json.dumps(signed).encode(), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        np.savez(file, header=text, **arrays)


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open an archive for reading; one of `DAMAGE` is raised where it is none."""
    with open_regular(path) as file:
        yield Archive(file)


def why_damaged(error: BaseException) -> str:
    """Return the reason of one of `DAMAGE`, in a few words on one line."""
    if isinstance(error, zipfile.BadZipFile):
        return "it is no whole NumPy archive"
    if isinstance(error, KeyError):
        return f"it has no {error}"
    if isinstance(error, RecursionError):
        return "its header is nested too deep"
    words = " ".join(str(getattr(error, "strerror", None) or error).split())
    return words[:100] or type(error).__name__
