"""What the export refuses; part of the one tree in `zeroline.runtime.errors`."""

from __future__ import annotations

from zeroline.runtime.errors import ZerolineError


class ExportError(ZerolineError):
    """A backbone, a checkpoint or an option from which no bundle can be made."""
