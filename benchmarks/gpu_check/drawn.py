"""What the parts work on: features, frames and a network that are drawn."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.gpu_check.sizes import Sizes

from zeroline.runtime.matching.units import CudaUnits, Marks, Sides


def unit_rows(rng: np.random.Generator, images: int, patches: int, channels: int) -> Any:
    """Draw features (N, P, C) on the host: what images share, and what each has of its own."""
    rows = rng.standard_normal((images, patches, channels), dtype=np.float32)
    rows += rng.standard_normal((1, patches, channels), dtype=np.float32)
    rows[rng.random((images, patches)) < 0.02] = 0  # a patch without any contrast
    norms = np.sqrt(np.square(rows).sum(axis=2, keepdims=True))
    return rows / np.where(norms > 0, norms, 1)


def tokens(rng: np.random.Generator, patches: int, channels: int, layers: int) -> Any:
    """Return a function that draws the tokens of one frame after the other, on the host."""
    shared = [rng.standard_normal((patches, channels), dtype=np.float32) for _ in range(layers)]

    def draw() -> list[Any]:
        return [
            layer + rng.standard_normal(layer.shape, dtype=np.float32) * np.float32(0.5)
            for layer in shared
        ]

    return draw


def filled_units(cupy: Any, patches: int, channels: int) -> tuple[CudaUnits, Sides, Marks]:
    """Return five slots, a frame's sides and its marks.

    Slot 0 is whole. Slot 1 was never filled. In slot 2 all patches are hidden. Slot 3 has the
    frame's own part. In slot 4, and of the frame, a third is hidden. Slots 1 and 3 are out of
    reach.
    """
    rng = np.random.default_rng(patches * 2000 + channels)
    units = CudaUnits(5, [channels], [slice(0, patches)], cupy=cupy)
    rows = unit_rows(rng, 5, patches, channels)
    reachable = np.array([True, False, True, False, True])
    third = rng.random(patches) < 1 / 3

    def sides(number: int, hidden: Any) -> tuple[Sides, Marks]:
        marks = units.marks(hidden, reachable)
        return Sides(*units.rounded([cupy.asarray(rows[number])]), marks.codes), marks

    nothing = np.zeros(patches, bool)
    for slot, hidden in ((0, nothing), (2, ~nothing), (3, nothing), (4, third)):
        units.put(slot, sides(slot, hidden)[0])
    return units, *sides(1, third)


def frames(count: int, *, size: int = 320, seed: int = 0) -> list[Any]:
    """Draw the frames of a line, BGR: one part, and a scratch on every ninth, each elsewhere."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    part = 110 + 60 * np.sin(9 * x + 3 * y) * np.cos(7 * y)
    drawn = []
    for number in range(count):
        picture = part + rng.normal(0, 3, (size, size)) + rng.normal(0, 2)
        if number % 9 == 8:
            top, left = rng.integers(size // 8, size // 2, 2)
            for step in range(size // 3):
                row = top + step // int(rng.integers(2, 4))
                picture[row : row + 4, left + step : left + step + 2] = 250
        grey = np.clip(picture, 0, 255).astype(np.uint8)
        drawn.append(np.repeat(grey[:, :, None], 3, axis=2))
    return drawn


@contextmanager
def line_bundle(sizes: Sizes) -> Iterator[str]:
    """Yield the bundle of a line, by its name or folder."""
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        if not sizes.bundle:
            transformer(Path(folder) / "bundle", sizes)
        yield sizes.bundle or str(Path(folder) / "bundle")


def transformer(  # noqa: PLR0915 - one graph, node by node
    folder: Path, sizes: Sizes
) -> None:
    """Write a bundle of a vision transformer with drawn weights, patches of 16 pixels.

    Four layers are tapped, as of ViT-B/16. Raises ModuleNotFoundError without the package onnx.

    Parameters
    ----------
    folder : Path
        Of the bundle.
    sizes : Sizes
        Its `network` and `degrees`.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from zeroline.export.wrap import InputRules, wrap_onnx
    from zeroline.runtime.network.manifest import Defaults

    size, width, blocks, heads = sizes.network
    side, rng = size // 16, np.random.default_rng(1)
    patches, depth = side * side, width // heads
    nodes: list[Any] = []
    held: list[Any] = []

    def weights(name: str, *shape: int, scale: float = 0.02) -> str:
        values = rng.standard_normal(shape, dtype=np.float32) * np.float32(scale)
        held.append(numpy_helper.from_array(values, name))
        return name

    def constant(name: str, values: Any) -> str:
        held.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def dense(x: str, name: str, rows: int, columns: int) -> str:
        product = node("MatMul", [x, weights(f"{name}.w", rows, columns)], f"{name}.p")
        return node("Add", [product, weights(f"{name}.b", columns)], f"{name}.o")

    def norm(x: str, name: str) -> str:
        scale = constant(f"{name}.s", 1 + rng.normal(0, 0.1, width).astype(np.float32))
        inputs = [x, scale, weights(f"{name}.b", width)]
        return node("LayerNormalization", inputs, f"{name}.o", epsilon=1e-6)

    apart = constant("apart", np.array([0, 0, heads, depth], np.int64))
    whole = constant("whole", np.array([0, 0, width], np.int64))
    root = constant("root", np.float32(depth**-0.5))
    square = constant("square", np.float32(2**-0.5))
    half, one = constant("half", np.float32(0.5)), constant("one", np.float32(1))
    flat = constant("flat", np.array([0, width, patches], np.int64))
    x = node("Conv", ["images", weights("patch", width, 3, 16, 16)], "patched", strides=[16, 16])
    x = node("Transpose", [node("Reshape", [x, flat], "rows")], "turned", perm=[0, 2, 1])
    first = node("ReduceMean", [x, constant("axis", np.array([1]))], "mean", keepdims=1)
    x = node("Concat", [first, x], "all", axis=1)
    x = node("Add", [x, weights("places", 1, patches + 1, width)], "placed")
    ends = [constant(f"end{i}", np.array([value])) for i, value in enumerate((1, 1 << 30))]
    for block in range(blocks):
        seen = norm(x, f"n{block}")
        parts = []
        for part, turn in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3])):
            made = dense(seen, f"{part}{block}", width, width)
            made = node("Reshape", [made, apart], f"{part}r{block}")
            parts.append(node("Transpose", [made], f"{part}t{block}", perm=turn))
        near = node("MatMul", parts[:2], f"near{block}")
        near = node("Softmax", [node("Mul", [near, root], f"nr{block}")], f"soft{block}", axis=-1)
        made = node("MatMul", [near, parts[2]], f"mixed{block}")
        made = node("Transpose", [made], f"mt{block}", perm=[0, 2, 1, 3])
        made = dense(node("Reshape", [made, whole], f"mr{block}"), f"o{block}", width, width)
        x = node("Add", [x, made], f"x{block}")
        made = dense(norm(x, f"m{block}"), f"a{block}", width, 4 * width)
        error = node("Erf", [node("Mul", [made, square], f"e{block}")], f"f{block}")
        gate = node("Mul", [node("Add", [error, one], f"g{block}"), half], f"h{block}")
        made = dense(node("Mul", [made, gate], f"i{block}"), f"b{block}", 4 * width, width)
        x = node("Add", [x, made], f"y{block}")
        tapped = blocks // 4 or 1
        if (block + 1) % tapped == 0:
            node("Slice", [x, *ends, ends[0]], f"tokens_{(block + 1) // tapped - 1}")
    last = node("ReduceMean", [norm(x, "last"), "axis"], "pooled", keepdims=0)
    node("LpNormalization", [last], "class_token", axis=-1, p=2)
    taps = sum(str(made.output[0]).startswith("tokens_") for made in nodes)
    floats = TensorProto.FLOAT
    outputs = [
        helper.make_tensor_value_info(f"tokens_{tap}", floats, ["batch", patches, width])
        for tap in range(taps)
    ]
    outputs.append(helper.make_tensor_value_info("class_token", floats, ["batch", width]))
    images = helper.make_tensor_value_info("images", floats, ["batch", 3, size, size])
    graph = helper.make_graph(nodes, "drawn", [images], outputs, held)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    folder.parent.mkdir(parents=True, exist_ok=True)
    file = folder.with_suffix(".onnx")
    onnx.save(model, file)
    half3 = (0.5, 0.5, 0.5)
    wrap_onnx(
        file, folder, rules=InputRules(size=size, mean=half3, std=half3),
        defaults=Defaults(degrees=sizes.degrees),
    )  # fmt: skip
    file.unlink()
