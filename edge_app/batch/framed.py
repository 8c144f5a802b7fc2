"""The framing of a set of files, as its options say."""

from __future__ import annotations

from collections.abc import Sequence

import click

from zeroline.edge_app.batch.typical import typical_picture
from zeroline.edge_app.images import ImageFile, first_size
from zeroline.edge_app.settings.framing import FramingOptions
from zeroline.runtime.frames import Frame
from zeroline.runtime.framing.framing import Framing
from zeroline.runtime.network.manifest import Manifest


def opened_framing(
    options: FramingOptions, files: Sequence[ImageFile], manifest: Manifest
) -> Framing:
    """Return what of some pictures is looked at; tell which one teaches the part, if none is given.

    Raises
    ------
    FramingError, InputError
        See `FramingOptions.opened`.
    """

    def typical() -> Frame:
        found = typical_picture(files, by=options.align)
        click.echo(f"note: {found}", err=True)
        return found.picture

    return options.opened(lambda: first_size(files), manifest, typical=typical)
