"""Passwords: in the environment or in files of their own, named in a setting, shown by no one."""

from __future__ import annotations

import re
from pathlib import Path

from zeroline.edge_app.configuration.variables import Variables

_NAMED = re.compile(r"\$\{(file:)?([^}]*)\}")


def has_secret(text: str) -> bool:
    """Tell whether a text names a secret: ${NAME} or ${file:PATH}."""
    return _NAMED.search(text) is not None


def secrets_in(text: str) -> list[str]:
    """Return the secrets that a text names, as people say it: a variable, or a file."""
    return [
        f'the file "{name}"' if is_file else f"the variable {name}"
        for is_file, name in _NAMED.findall(text)
    ]


def with_secrets(text: str, *, folder: Path, variables: Variables) -> str:
    """Return a text with its secrets in their places.

    Parameters
    ----------
    text : str
        ${NAME} stands for a variable, ${file:PATH} for the first line of a file.
    folder : Path
        That paths are relative to.
    variables : Variables

    Raises
    ------
    ValueError
        If there is no such variable or file; names it.
    """

    def found(match: re.Match[str]) -> str:
        name = match[2]
        if not match[1]:
            try:
                return variables[name]
            except KeyError:
                raise ValueError(
                    f'the environment has no variable "{name}"{variables.why}'
                ) from None
        try:
            lines = (folder / name).read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "no text"
            raise ValueError(f'secret file "{name}": {reason}') from error
        return lines[0] if lines else ""

    return _NAMED.sub(found, text)
