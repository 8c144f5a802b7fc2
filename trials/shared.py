"""The folder of photographs and models, which are not part of the repository."""

from __future__ import annotations

import os
from pathlib import Path


def shared_folder() -> Path:
    """Return the folder: `shared` beside the repository, or that of ZEROLINE_SHARED."""
    return Path(os.environ.get("ZEROLINE_SHARED", Path(__file__).parents[2] / "shared"))
