"""What the program around the scores refuses; part of the one tree in `zeroline.runtime.errors`."""

from __future__ import annotations

from zeroline.runtime.errors import ZerolineError


class InputError(ZerolineError):
    """Images or folders that are missing, empty or too few."""


class ImageError(InputError):
    """One image file that cannot be used; the message is the reason alone."""


class OutputError(ZerolineError):
    """A result that could not be written."""


class MemoryLimitError(ZerolineError):
    """More memory than there is would be needed."""


class ReaderGoneError(BrokenPipeError):
    """Nobody reads the verdicts any more; this ends a line, where other failures do not."""
