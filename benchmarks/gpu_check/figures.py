"""What things take: each kernel beside the machine's own rates, and whole frames."""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.gpu_check.calls import CallsError, counted
from benchmarks.gpu_check.drawn import frames, tokens, transformer
from benchmarks.gpu_check.findings import Findings
from benchmarks.gpu_check.sizes import Shape, Sizes
from benchmarks.gpu_check.timing import copy_rate, median_ms, product_rate

from zeroline.runtime.line.cuda_store import CudaStore
from zeroline.runtime.line.shape import WindowShape
from zeroline.runtime.line.stores import SeenTiles
from zeroline.runtime.matching.operand import NEAR
from zeroline.runtime.matching.screens import NO_KEY

_DEGREES = (1, 3, 5)
#: Recent frames that a new one is compared with, as a line does.
_RECENT = 8


class Bench:
    """A full bank of one shape, and the time of each kernel on it.

    Parameters
    ----------
    cupy : module
    shape : Shape
    window : int
        W.

    Attributes
    ----------
    operations : float
        Of the products of one frame, 2·S·W·P²·C.
    """

    def __init__(self, cupy: Any, shape: Shape, *, window: int) -> None:
        self._cupy, self._window = cupy, window
        self._shape = WindowShape(
            window, shape.patches, (shape.channels,) * shape.layers, _DEGREES, "fp16-fused"
        )
        self._store = CudaStore(
            self._shape, SeenTiles(self._shape, None), interval=(0.0, 0.3), cupy=cupy
        )
        self._units = self._store._units
        draw = tokens(np.random.default_rng(0), shape.patches, shape.channels, shape.layers)
        self._layers = [cupy.asarray(layer) for layer in draw()]
        patches = shape.patches
        self._marks = self._units.marks(np.zeros(patches, bool), np.ones(window, bool))
        for slot in range(window):
            self._put(slot, self._sides([cupy.asarray(layer) for layer in draw()]))
        self._own = self._sides(self._layers)
        sizes = self._units.scales, window, patches
        self._keys = tuple(cupy.full(sizes, NO_KEY, dtype=cupy.int32) for _ in range(2))
        self._values = tuple(cupy.empty(sizes, dtype=cupy.float32) for _ in range(2))
        self.operations = 2.0 * window * patches**2 * sum(self._units.depths)

    def _put(self, slot: int, sides: Any) -> None:
        self._store.put(slot, (), sides, np.zeros(self._units.patches, bool))

    def _sides(self, layers: list[Any]) -> Any:
        from zeroline.runtime.matching.units import Sides

        features = self._store.features_of(layers)
        return Sides(features.rows, features.half_norms, self._marks.codes)

    @cached_property
    def _sides_of_all(self) -> tuple[Any, ...]:
        own, units = self._own, self._units
        return own.half_norms, own.codes, units.rows, units._half_norms, units._codes

    def fused_ms(self) -> float:
        """Return the time of fused_keys on all units, all slots in reach."""
        units, own = self._units, self._own

        def work() -> None:
            units.kernels.fused_keys(
                (own.rows, *self._sides_of_all), units.table, self._marks.reachable,
                units.slots, units.patches, units._most, units._margin, *self._keys,
            )  # fmt: skip

        return median_ms(self._cupy, work)

    def others(self) -> dict[str, tuple[Callable[[], object], float]]:
        """Return the other kernels' work by name, and the bytes that each reads and writes."""
        units, own, store = self._units, self._own, self._store
        values = self._values[0].nbytes
        row_bytes = own.rows.nbytes
        read = sum(layer.nbytes for layer in self._layers)
        places = list(range(min(_RECENT, self._window - 1)))
        features = store.features_of(self._layers)
        apart = self._window * units.patches
        jobs = [(slot,) for slot in (*places, self._window - 1)]

        def measure() -> None:
            row_keys, column_keys = self._keys
            to_slots, from_slots = self._values
            units.kernels.measure(
                own.rows, units.rows, row_keys, column_keys, units.table, self._marks.reachable,
                self._marks.absent, units.slots, units.patches, units._most, units._margin, NEAR,
                to_slots, from_slots,
            )  # fmt: skip

        def averages() -> None:
            store.averages(self._values[0], [0] * len(jobs), jobs, apart=apart)

        return {
            "LNAMD": (lambda: store.features_of(self._layers), 2 * read + row_bytes),
            "measure": (measure, 4 * values),
            "place_distances": (
                lambda: store.place_distances(features, places), 2 * len(places) * row_bytes
            ),
            "scores": (averages, values * len(jobs)),
            "put": (lambda: self._put(0, own), 2 * row_bytes),
        }  # fmt: skip


def kernel_times(cupy: Any, sizes: Sizes, found: Findings) -> None:
    """Time each kernel on each shape."""
    machine = product_rate(cupy, sizes.product_side)
    copying = copy_rate(cupy, sizes.copied)
    found.data |= {"cublas": machine, "copy": copying, "shapes": {}}
    found.row(f"cuBLAS, float16, {sizes.product_side}³", f"{machine / 1e12:.1f} TFLOP/s")
    found.row("copy on the device", f"{copying / 1e9:.0f} GB/s, read and written")
    for shape in sizes.shapes:
        window, free = sizes.window, int(cupy.cuda.runtime.memGetInfo()[0])
        place = f"{shape.name}, W {window}"
        needed = WindowShape(
            window, shape.patches, (shape.channels,) * shape.layers, _DEGREES, "fp16-fused"
        ).memory
        if needed > 0.7 * free:
            found.row(place, f"does not fit: {needed / 2**30:.1f} of {free / 2**30:.1f} GiB")
            continue
        bench = Bench(cupy, shape, window=window)
        times = {"fused_keys": bench.fused_ms()}
        rate = bench.operations / (1e-3 * times["fused_keys"])
        part = f"{rate / 1e12:.1f} TFLOP/s, {rate / machine:.0%} of cuBLAS"
        found.row(f"{place}: fused_keys", f"{times['fused_keys']:.3f} ms", part)
        for name, (work, size) in bench.others().items():
            times[name] = median_ms(cupy, work)
            rate = size / (1e-3 * times[name])
            part = f"{rate / 1e9:.0f} GB/s, {rate / copying:.0%} of a copy"
            found.row(f"{place}: {name}", f"{times[name]:.3f} ms", part)
        found.data["shapes"][place] = times
        del bench
        cupy.get_default_memory_pool().free_all_blocks()


def frames_cuda(cupy: Any, sizes: Sizes, found: Findings) -> None:
    """Time frames from picture to verdict."""
    _frames(cupy, sizes, found, "cuda")


def frames_tensorrt(cupy: Any, sizes: Sizes, found: Findings) -> None:
    """Time the same by TensorRT's engines, where it is installed."""
    if importlib.util.find_spec("tensorrt") is None:
        found.row("TensorRT", "not installed: nothing was measured")
        return
    _frames(cupy, sizes, found, "tensorrt")


def _frames(cupy: Any, sizes: Sizes, found: Findings, device: str) -> None:
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        names = {sizes.bundle: sizes.bundle} if sizes.bundle else {}
        if importlib.util.find_spec("onnx") is None:
            found.row("a vision transformer", "the package onnx is not here: nothing was measured")
        else:
            made = Path(folder) / "transformer"
            transformer(made, sizes)
            names["ViT-B/16@224, drawn weights"] = str(made)
        for name, bundle in names.items():
            _line(cupy, sizes, found, device, name, bundle)


def _line(cupy: Any, sizes: Sizes, found: Findings, device: str, name: str, where: str) -> None:
    from zeroline.runtime import RollingInspector, load_bundle

    began = time.perf_counter()
    bundle = load_bundle(where, device=device)
    count = sizes.window + max(8, sizes.frames // 2)
    drawn = frames(count, seed=11)
    with RollingInspector(bundle, window=sizes.window, min_window=2) as line:
        started = time.perf_counter() - began
        form, laps, stages = line.shape.form, [], []
        for frame in drawn:
            at = time.perf_counter()
            inspection = line.push(frame)
            laps.append(1e3 * (time.perf_counter() - at))
            stages.append(dict(inspection.latency))
        calls: dict[str, Any] = {}
        try:
            with counted() as nesting:
                line.push(drawn[0] ^ 1)
            calls = {**nesting.kinds(), "by_name": dict(nesting.names)}
            told = ", ".join(f"{calls[kind]} {kind}" for kind in ("launches", "waits", "copies"))
        except CallsError as error:
            told = str(error)
    late, late_stages = laps[sizes.window :], stages[sizes.window :]
    p50, p95 = (float(np.percentile(late, share)) for share in (50, 95))
    providers = list(bundle.session.providers)
    medians = {
        stage: 1e3 * float(np.median([lap.get(stage, 0.0) for lap in late_stages]))
        for stage in dict.fromkeys(stage for lap in late_stages for stage in lap)
    }
    found.row(
        f"{name}, W {sizes.window}, {form}",
        f"{1e3 / p50:.1f} frames a second, p50 {p50:.2f} ms, p95 {p95:.2f} ms",
        f"{providers[0]}, started in {started:.1f} s",
    )
    stage_text = ", ".join(f"{stage} {ms:.2f}" for stage, ms in medians.items())
    found.row(f"{name}: stages, ms", stage_text)
    found.row(f"{name}: calls of a frame", told)
    found.data[name] = {
        "p50_ms": p50, "p95_ms": p95, "stages_ms": medians, "providers": providers, "form": form,
        "start_seconds": started, "calls": calls,
        "pool_bytes": int(cupy.get_default_memory_pool().total_bytes()),
    }  # fmt: skip
    wanted = {"cuda": "CUDA", "tensorrt": "Tensorrt"}[device].lower()
    found.hold(wanted in providers[0].lower(), f"{name}: {providers[0]} is in use")
