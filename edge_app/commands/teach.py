"""``zeroline teach``: a picture of a good part in; a framing that finds it out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from zeroline.edge_app.cli import debug_option
from zeroline.edge_app.settings.framing import framing_options, take_framing


@click.command()
@click.argument("picture", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False),
              default=Path("part.framing"), show_default=True,
              help="File of the framing. A picture of it is written beside it.")  # fmt: skip
@click.option("--model", default="tiny", show_default=True, metavar="NAME|DIR",
              help="Bundled model, or the folder of a bundle: its patches are shown.")  # fmt: skip
@framing_options(but=("taught", "framing"))
@debug_option
def teach(picture: Path, output: Path, model: str, **values: Any) -> None:
    """Teach a part from a picture, and write what is looked at to a file.

    The file is for --framing of score, evaluate, run and reference build. Look at the picture that
    is written beside it. Green is the outline of the part. Blue is the square that the network
    sees. Red is what does not count.

    Without --align the part is found by its pattern.
    """
    from zeroline.edge_app.draw.taught import draw_taught
    from zeroline.edge_app.images import read_image
    from zeroline.edge_app.writing import write_png
    from zeroline.runtime.framing.files import write_framing
    from zeroline.runtime.framing.framer import Framer
    from zeroline.runtime.loading import load_bundle

    if values["align"] == "off":
        values["align"] = "pattern"
    framed = take_framing(values | {"taught": picture, "framing": None})
    with load_bundle(model, threads=1) as bundle:
        framing = framed.opened(lambda: None, bundle.manifest)
        whole = replace(framing, tiles=(1, 1))  # as it is shown
        framer = Framer(whole, bundle.manifest.input, patches=bundle.patches)
    frame = read_image(picture)
    look = framer.look(frame)
    part = framer.part
    for line in part.described():
        click.echo(line)
    if framing.is_tiled:
        click.echo("it is cut into {}×{} tiles".format(*framing.tiles))
    if look.problem:
        raise click.ClickException(f"in its own picture {look.problem}")
    write_framing(output, framing)
    shown = output.with_suffix(".png")
    write_png(
        shown,
        draw_taught(frame, look.images[0], look.view, part=part.mask(256), roi=framer.roi),
    )
    click.echo(f'framing "{output}", shown in "{shown}"')
