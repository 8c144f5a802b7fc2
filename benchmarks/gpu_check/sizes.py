"""How much the parts do: on a GPU, and on the host's stand-in for one."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """Tokens of a backbone: patches, channels of each of its layers, and how many layers."""

    name: str
    patches: int
    channels: int
    layers: int = 4


@dataclass(frozen=True)
class Sizes:
    """Sizes of all parts.

    Attributes
    ----------
    patches, channels : tuple of int
        Cases of the keys, each with each.
    shapes : tuple of Shape
        Of models.
    rated : Shape
        Whose rate is held against the machine's.
    window : int
        W of what is timed.
    repeats : int
        Runs that must be equal.
    frames, line_window : int
        Of a line, and its W.
    late_frames : int
        Of a line whose copies are late.
    spin_ms : float
        Which a kernel holds each copy back.
    product_side : int
        Of the product that tells the machine's rate.
    copied : int
        Bytes of the copy that tells it.
    bundle : str
        Of lines; empty: the vision transformer.
    network : tuple of int
        Input size, width, blocks and heads of the vision transformer that is drawn.
    degrees : tuple of int
        Its neighbourhoods.
    """

    patches: tuple[int, ...]
    channels: tuple[int, ...]
    shapes: tuple[Shape, ...]
    rated: Shape
    window: int
    repeats: int
    frames: int
    line_window: int
    late_frames: int
    spin_ms: float
    product_side: int
    copied: int
    bundle: str
    network: tuple[int, int, int, int]
    degrees: tuple[int, ...]


FULL = Sizes(
    patches=(1, 49, 128, 129, 196, 400, 1024, 1369),
    channels=(32, 64, 96, 192, 384, 768, 1024),
    shapes=(
        Shape("ViT-B/16@224", 196, 768),
        Shape("DINOv2-S@448", 1024, 384),
        Shape("ViT-L@518", 1369, 1024),
    ),
    rated=Shape("DINOv2-S@448", 1024, 384),
    window=64,
    repeats=20,
    frames=200,
    line_window=16,
    late_frames=200,
    spin_ms=5.0,
    product_side=8192,
    copied=1 << 30,
    bundle="tiny",
    network=(224, 768, 12, 12),
    degrees=(1, 3, 5),
)
#: To try the check itself.
SMALL = Sizes(
    patches=(1, 36, 129),
    channels=(32, 64),
    shapes=(Shape("small", 36, 40, 1),),
    rated=Shape("small", 36, 32, 1),
    window=4,
    repeats=4,
    frames=30,
    line_window=4,
    late_frames=8,
    spin_ms=0.0,
    product_side=64,
    copied=1 << 12,
    bundle="",
    network=(96, 32, 1, 2),
    degrees=(1,),
)
