"""``zeroline bench``: what a frame takes on this machine."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from zeroline.edge_app.cli import debug_option
from zeroline.edge_app.errors import MemoryLimitError
from zeroline.edge_app.settings.framing import TilesType
from zeroline.edge_app.settings.options import DegreesType, matching_option

if TYPE_CHECKING:
    from zeroline.runtime.line.shape import WindowShape


@click.command()
@click.option("--model", default="tiny", show_default=True, metavar="NAME|DIR",
              help="Bundled model, or the folder of a bundle.")  # fmt: skip
@click.option("--window", type=click.IntRange(2, 4096), default=64, show_default=True,
              help="Frames in the window. Each new frame is compared with them.")  # fmt: skip
@click.option("--degrees", type=DegreesType(), metavar="1,3,5|fused",
              help="Neighbourhood sizes of LNAMD, or fused.  [default: the model's]")  # fmt: skip
@matching_option("fast")
@click.option("--tiles", type=TilesType(), default="1x1", show_default=True, metavar="RxC",
              help="Rows and columns of tiles that a picture is cut into. With tiles, degrees are "
                   "fused where none are given.")  # fmt: skip
@click.option("--frames", type=click.IntRange(2, 100_000), default=64, show_default=True,
              help="Frames to measure, once the window is full.")  # fmt: skip
@click.option("--tokens", multiple=True, metavar="NAME",
              help="Measure random tokens of this backbone too: ViT-B/16@224, DINOv2-S@448, "
                   "ViT-L@518 or all. May be given several times.")  # fmt: skip
@click.option("--threads", type=click.IntRange(1, 256), metavar="N",
              help="CPU threads.  [default: all cores]")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print all figures as JSON.")
@debug_option
def bench(
    model: str,
    window: int,
    degrees: tuple[int, ...] | str | None,
    matching: str,
    tiles: tuple[int, int],
    frames: int,
    tokens: tuple[str, ...],
    threads: int | None,
    as_json: bool,
) -> None:
    """Measure how long a frame takes on this machine, by stage.

    Shows two figures for comparison: the machine's own matrix rate, and the time that the
    authors' way takes to compute the whole window.
    """
    from zeroline.edge_app import bench as measuring
    from zeroline.edge_app.commands.told import tell_early
    from zeroline.edge_app.memory import check_window, memory_teller
    from zeroline.edge_app.sim.line import SimulatedLine
    from zeroline.edge_app.sim.settings import LineSettings
    from zeroline.runtime.framing.framing import Framing
    from zeroline.runtime.loading import load_bundle
    from zeroline.runtime.workers import thread_count

    known = {case.name: case for case in measuring.CASES}
    wanted = list(known) if tokens == ("all",) else list(tokens)
    for name in wanted:
        if name not in known:
            raise click.UsageError(f"--tokens {name}: all, {', '.join(known)} are expected")
    count = thread_count(threads)
    measured = []
    with load_bundle(model, threads=count) as bundle:
        wide, high = (min(max(64, n * bundle.size), 2048) for n in reversed(tiles))
        size = LineSettings().size if tiles == (1, 1) else (wide, high)
        usual = bundle.manifest.defaults.degrees
        chosen = degrees or Framing(size=(high, wide), tiles=tiles).degrees(usual)
        xp = bundle.session.arrays
        check_window(bundle, window, degrees=chosen, tiles=tiles)
        line = SimulatedLine(LineSettings(parts=window + frames, defects=0.05, size=size))
        pictures = [frame.image for frame in line]
        measured.append(
            measuring.measure_bundle(
                bundle,
                pictures,
                window=window,
                degrees=degrees,
                threads=count,
                matching=matching,
                tiles=tiles,
                tell_memory=memory_teller(bundle, window, tell=tell_early),
            )
        )
        device = bundle.session.device
    rate = measuring.matrix_rate(threads=count, xp=xp)
    for name in wanted:
        drawn = known[name]
        chosen = degrees or (1, 3, 5)
        sizes: dict[str, Any] = {"window": window, "degrees": chosen, "matching": matching}
        _tell_memory(name, measuring.shape_of(drawn, xp=xp, **sizes), xp)
        measured.append(measuring.measure_tokens(drawn, frames=8, threads=count, xp=xp, **sizes))
    if as_json:
        content: dict[str, Any] = {
            "machine": measuring.machine(),
            "device": device,
            "threads": count,
            "matrix_gigaflops": rate,
            "cases": [case.as_dict() for case in measured],
        }
        click.echo(json.dumps(content, indent=1))
        return
    about = measuring.machine()
    click.echo(f"{about.pop('processor')}, {count} thread(s), network on {device}")
    click.echo(", ".join(f"{name} {version}" for name, version in about.items()))
    kind = "2048³, float32" if xp.__name__ == "numpy" else "8192³, float16, on CUDA"
    click.echo(f"matrix rate ({kind}): {rate:.0f} GFLOP/s\n")
    click.echo(_row("", "W", "tiles", "degrees", "matched by", "p50", "p95", "p99", "frames/s",
                    "product", "window", "× recomputing"))  # fmt: skip
    for case in measured:
        click.echo(
            _row(
                case.name,
                str(case.window),
                case.tiles,
                case.degrees,
                case.form,
                *(f"{1e3 * seconds:.1f} ms" for seconds in (case.p50, case.p95, case.p99)),
                f"{1 / case.p50:.1f}",
                f"{case.gigaflops / rate:.0%}",
                f"{case.memory / 2**20:.0f} MiB",
                f"{case.literal / case.p50:.0f}",
            )
        )
        stages = ", ".join(f"{stage} {1e3 * s:.1f}" for stage, s in case.stages.items())
        click.echo(f"    ms by stage: {stages}")
    click.echo("\nproduct: share of the matrix rate, by the exact product's operations. "
               "× recomputing: the authors' way, the whole window for each frame.")  # fmt: skip


def _tell_memory(name: str, shape: WindowShape, xp: Any) -> None:
    """Tell what a window of drawn tokens takes, or refuse it."""
    from zeroline.edge_app.commands.told import tell_early
    from zeroline.edge_app.memory import free_memory
    from zeroline.runtime.cuda import no_room
    from zeroline.runtime.line.room import LineMemory, in_words

    there, where = free_memory(xp)
    memory = LineMemory.of(shape, on_device=xp.__name__ != "numpy", searches=False, held=False)
    if memory.beside_tokens > 0.9 * there:
        told = no_room(
            f"{name} with a window of {shape.capacity}", memory.beside_tokens, there, where=where
        )
        raise MemoryLimitError(f"{told}: --degrees fused or a smaller --window takes less")
    for line in memory.lines(frames=shape.capacity, free=in_words(there)):
        tell_early(f"{name}: {line}")


def _row(*cells: str) -> str:
    widths = (14, 5, 6, 8, 15, 10, 10, 10, 9, 9, 10, 10)
    return "".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip()
