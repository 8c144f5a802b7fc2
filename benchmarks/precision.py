"""Bundles side by side on one CPU core: the same network in several precisions.

Interleaved, median of the rounds, CPU time of the process; beside them the machine's own limit,
the same product of 2048³ in float32 and in 8-bit integers by the same onnxruntime.
"""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zeroline  # noqa: F401 - first: it keeps onnxruntime from telling its maker what it runs

# isort: split
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from zeroline.runtime import load_bundle
from zeroline.runtime.network.model import probe_images

SIDE = 2048


def product(kind: str) -> Callable[[], Any]:
    """A matrix product by onnxruntime on one thread, in float32 or in uint8 by int8."""
    rng = np.random.default_rng(0)
    if kind == "fp32":
        right = rng.standard_normal((SIDE, SIDE), dtype=np.float32)
        node, element = helper.make_node("MatMul", ["a", "b"], ["c"]), TensorProto.FLOAT
        left: Any = rng.standard_normal((SIDE, SIDE), dtype=np.float32)
        result = TensorProto.FLOAT
    else:
        right = rng.integers(-128, 128, (SIDE, SIDE)).astype(np.int8)
        node, element = helper.make_node("MatMulInteger", ["a", "b"], ["c"]), TensorProto.UINT8
        left = rng.integers(0, 256, (SIDE, SIDE)).astype(np.uint8)
        result = TensorProto.INT32
    sides = [SIDE, SIDE]
    graph = helper.make_graph(
        [node], "product",
        [helper.make_tensor_value_info("a", element, sides)],
        [helper.make_tensor_value_info("c", result, sides)],
        [numpy_helper.from_array(right, "b")],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return lambda: session.run(None, {"a": left})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundles", nargs="+", type=Path, help="folders; the first is the measure")
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    calls: dict[str, Callable[[], Any]] = {}
    for folder in arguments.bundles:
        bundle = load_bundle(folder, device="cpu", threads=1)
        images = probe_images(bundle.size, batch=bundle.batch or 1)
        calls[folder.name] = lambda b=bundle, i=images: b.embed(i)
    limits = {f"product {kind}": product(kind) for kind in ("fp32", "int8")}
    calls |= limits
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(arguments.rounds):
        for name, call in calls.items():
            start = time.process_time()
            call()
            times[name].append(time.process_time() - start)
    median = {name: float(np.median(values[1:])) for name, values in times.items()}
    print(f"{platform.processor() or platform.machine()}, onnxruntime {onnxruntime.__version__}")
    first = median[arguments.bundles[0].name]
    for name, seconds in median.items():
        if name in limits:
            rate = f"{2e-9 * SIDE**3 / seconds:.0f} Gop/s"
            ratio = median["product fp32"] / seconds
        else:
            rate, ratio = f"{1 / seconds:.1f} frames/s", first / seconds
        print(f"{name:<24} {1e3 * seconds:8.2f} ms  {ratio:5.2f}×  {rate}")


if __name__ == "__main__":
    main()
