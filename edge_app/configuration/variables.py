"""Variables that a station's file names: of the environment, or of NAME.env beside NAME.yaml.

systemd gives those of NAME.env to the service. A command by hand finds them there itself.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from zeroline.runtime.files import open_regular

_LINE = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)")
#: A value in quotes, or a part of one.
_QUOTED = re.compile(r"""\s*(?:'([^']*)'|"((?:\\.|[^"\\])*)")""")


class Variables:
    """Looks variables up.

    Parameters
    ----------
    station : Path
        The station's file.

    Attributes
    ----------
    file : Path
        Its NAME.env. It is read once the environment lacks a variable.
    taken : dict
        Those that came from it.
    why : str
        What it has to do with a variable that is missing; empty where it is not there.
    """

    def __init__(self, station: Path) -> None:
        self.file = station.with_suffix(".env")
        self.taken: dict[str, str] = {}
        self._found: dict[str, str] | None = None
        self.why = ""

    def __getitem__(self, name: str) -> str:
        """Return the value of a variable.

        Raises
        ------
        KeyError
            If there is none; `why` goes on with the reason.
        """
        if name in os.environ:
            return os.environ[name]
        if self._found is None:
            self._found, self.why = _read(self.file)
        self.taken[name] = self._found[name]
        return self._found[name]


def _read(path: Path) -> tuple[dict[str, str], str]:
    """Return the variables of a file, and why one may not be among them."""
    try:
        with open_regular(path) as file:
            return parsed(file.read().decode()), f', nor has "{path}"'
    except FileNotFoundError:
        return {}, ""
    except PermissionError:
        by_root = path.stat().st_uid == 0
        who = "may be read by root alone" if by_root else "may not be read by this user"
        return {}, f', and "{path}" {who}'
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no UTF-8 text"
        return {}, f', and "{path}" cannot be read: {reason}'


def parsed(text: str) -> dict[str, str]:
    """Read variables in the form of systemd's EnvironmentFile=, each on one line.

    NAME=value, 'value' or "value". A backslash makes the next letter plain: within double quotes
    that of the four that a shell knows, within single quotes none. Lines that begin with # or ; are
    comments. What is none of these, or goes on on the next line, is left out.
    """
    found = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        value = None if match is None else _value(match[2])
        if match is not None and value is not None:
            found[match[1]] = value
    return found


def _value(text: str) -> str | None:
    """Return a value without quotes and backslashes; None where it goes on on the next line."""
    parts, end = [], 0
    while quoted := _QUOTED.match(text, end):
        single, double = quoted.groups()
        parts.append(re.sub(r'\\(["\\`$])', r"\1", double) if single is None else single)
        end = quoted.end()
    rest = text[end:].strip()
    if rest[:1] in {"'", '"'} or re.fullmatch(r"(?:\\.|[^\\])*", rest) is None:
        return None
    return "".join([*parts, re.sub(r"\\(.)", r"\1", rest)])
