"""The file of a framing: a NumPy archive without pickle, with a header in JSON and a hash."""

from __future__ import annotations

from pathlib import Path
from reprlib import repr as shown

from zeroline.runtime.archives import DAMAGE, open_archive, signature, why_damaged, write_signed
from zeroline.runtime.errors import FramingError
from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.framing.kept import framing_arrays, framing_header, kept_framing

VERSION = 1


def write_framing(path: Path, framing: Framing) -> None:
    """Write a framing; the file is there whole or not at all.

    Raises
    ------
    FramingError
        If it cannot be written.
    """
    header = {"version": VERSION, "framing": framing_header(framing)}
    try:
        write_signed(path, header, framing_arrays(framing))
    except OSError as error:
        raise FramingError(f'framing "{path}" cannot be written: {error.strerror}') from error


def read_framing(path: Path) -> Framing:
    """Read a framing and check it.

    Raises
    ------
    FramingError
        If the file is missing, damaged, or of another version.
    """
    try:
        with open_archive(path) as archive:
            header = archive.header()
            version = header.get("version")
            if version != VERSION or isinstance(version, bool):
                raise FramingError(
                    f'framing "{path}" is of version {shown(version)}, this zeroline reads '
                    f"{VERSION}: make it anew with zeroline teach"
                )
            arrays = archive.arrays()
        if header.pop("sha256") != signature(header, arrays):
            raise ValueError("its hash does not fit")
        return kept_framing(header["framing"], arrays.__getitem__)
    except FileNotFoundError as error:
        raise FramingError(f'framing "{path}" does not exist') from error
    except OSError as error:
        raise FramingError(f'framing "{path}" cannot be read: {why_damaged(error)}') from error
    except DAMAGE as error:
        raise FramingError(f'framing "{path}" is damaged, or none: {why_damaged(error)}') from error
