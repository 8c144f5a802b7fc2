"""Print the table "What fits an 8 GB Orin Nano" of docs/gpu.md: computed, and never run.

python docs/make_memory.py
"""

from __future__ import annotations

from dataclasses import dataclass

import click

from zeroline.edge_app.bench import CASES, Case
from zeroline.runtime.line.room import LineMemory
from zeroline.runtime.line.shape import WindowShape
from zeroline.runtime.network.manifest import read_manifest
from zeroline.runtime.network.open import BUNDLED

GIB, MIB = 2**30, 2**20
DEGREES, WINDOWS = (1, 3, 5), (32, 64, 100)
#: Assumed, not measured: what Linux sees of 8 GB, what it takes without a desktop, and what CUDA's
#: context and libraries take.
SEEN, SYSTEM, LIBRARIES = 7.4, 1.5, 1.0


@dataclass(frozen=True)
class Tower:
    """A vision transformer, for the number of its weights."""

    width: int
    depth: int
    patch: int
    tokens: int  # with the class token
    others: int = 0

    @property
    def weights(self) -> int:
        """How many numbers: patches, places, blocks (12·D² + 13·D), the last norm, and others."""
        width = self.width
        blocks = self.depth * (12 * width**2 + 13 * width)
        return 3 * self.patch**2 * width + (self.tokens + 4) * width + blocks + self.others


#: CLIP's has a norm in front and a projection to 512; DINOv2's scales each block's two parts.
TOWERS = {
    "ViT-B/16@224": Tower(768, 12, 16, 197, 2 * 768 + 768 * 512),
    "DINOv2-S@448": Tower(384, 12, 14, 1025, 24 * 384),
}


def cases() -> list[tuple[Case, int]]:
    """Return the models, each with the bytes of its weights in float32."""
    manifest = read_manifest(BUNDLED / "tiny")
    outputs = manifest.outputs.tokens
    tiny = Case("tiny", outputs[0].patches, tuple(output.channels for output in outputs))
    file = BUNDLED / "tiny" / manifest.model
    return [(tiny, file.stat().st_size)] + [
        (case, 4 * TOWERS[case.name].weights) for case in CASES if case.name in TOWERS
    ]


def table() -> str:
    """Return the table."""
    room = SEEN - SYSTEM - LIBRARIES
    heads = ("model", "W", "features", "distances", "a frame", "a search", "held tokens",
             "weights fp32, fp16", "sum, fp32", f"left of {room:.1f} GiB")  # fmt: skip
    rows = ["| " + " | ".join(heads) + " |", "|---" * len(heads) + "|"]
    for case, weights in cases():
        for window in WINDOWS:
            shape = WindowShape(window, case.patches, case.channels, DEGREES, "fp16-fused")
            line = LineMemory.of(shape, on_device=True)
            parts = (line.features, line.distances, line.frame, line.search, line.tokens)
            total = line.all + weights
            cells = [case.name, str(window), *(f"{size / MIB:.0f}" for size in parts)]
            cells.append(f"{weights / MIB:.0f}, {weights / 2 / MIB:.0f}")
            cells += [f"{total / MIB:.0f}", f"{room - total / GIB:.1f} GiB"]
            rows.append("| " + " | ".join(cells) + " |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    click.echo(table(), nl=False)
