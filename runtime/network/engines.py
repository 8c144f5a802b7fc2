"""TensorRT engines: built on the device that runs them, compared before use."""

from __future__ import annotations

import time
from pathlib import Path

from zeroline.runtime.cuda import current_gpu, working_cupy
from zeroline.runtime.errors import DeviceError, MissingExtraError
from zeroline.runtime.network.engine_store import EngineKey, EngineStore
from zeroline.runtime.network.manifest import Manifest
from zeroline.runtime.network.model import Bundle
from zeroline.runtime.network.parity import LIMITS, Parity, Scorer, check_parity
from zeroline.runtime.network.probes import probe_frames
from zeroline.runtime.network.session import Report, Session
from zeroline.runtime.network.tensorrt import TensorRTSession, tensorrt_package
from zeroline.runtime.network.tensorrt_build import BATCHES, Batches, build_engine
from zeroline.runtime.tokens import joined

_PROBES = slice(2, 6)  # four of the drawn frames, two with a defect


def open_engine(
    folder: Path,
    manifest: Manifest,
    *,
    report: Report,
    scorer: Scorer,
    batches: Batches | None = None,
) -> TensorRTSession:
    """Open the engine of a bundle on this device; build and compare it first if there is none.

    Parameters
    ----------
    folder : Path
        The bundle's.
    manifest : Manifest
    report : callable
        Takes lines of progress.
    scorer : callable
        See `check_parity`.
    batches : Batches, optional
        What the engine must be built for; any engine of the bundle will do when not given.

    Raises
    ------
    MissingExtraError
        If TensorRT or CuPy is not installed.
    DeviceError
        If TensorRT is of a version that does not serve, cannot read the network, or cannot build.
    ParityError
        If the engine does not follow the ONNX file.
    """
    trt = tensorrt_package()
    cupy = working_cupy()
    key = EngineKey.of(manifest, trt.__version__, current_gpu(cupy), batches or BATCHES)
    store = EngineStore(folder)
    stored = store.find(key, any_batches=batches is None)
    if stored is not None:
        try:
            return TensorRTSession(stored.content, label=str(stored.path))
        except DeviceError as error:
            report(f"{error}; it is built anew")
    report(
        f'building a TensorRT engine of bundle "{manifest.name}" for {key.gpu.name}; '
        "this takes minutes, and is kept"
    )
    began = time.monotonic()
    built = build_engine(
        trt,
        folder / manifest.model,
        input_name=manifest.input.name,
        size=manifest.input.size,
        batches=key.batches,
        timings=store.timings(key),
        report=report,
    )
    session = TensorRTSession(built.engine, label=f'bundle "{manifest.name}"')
    parity = compare(session, folder, manifest, report=report, scorer=scorer)
    store.keep_timings(key, built.timings)
    notes = {
        "bundle": manifest.name,
        "seconds": round(time.monotonic() - began, 1),
        "parity": None if parity is None else parity.figures(),
    }
    path = store.keep(key, built.engine, notes)
    report(f"engine kept in {path} ({len(built.engine) / 2**20:.1f} MiB)")
    return session


def compare(
    session: Session, folder: Path, manifest: Manifest, *, report: Report, scorer: Scorer
) -> Parity | None:
    """Compare an engine with its ONNX file on the CPU, over drawn frames.

    Parameters
    ----------
    session : Session
    folder : Path
        The bundle's.
    manifest : Manifest
    report : callable
        Takes lines of progress.
    scorer : callable
        See `check_parity`.

    Returns
    -------
    Parity or None
        None where onnxruntime is not installed; this is reported.

    Raises
    ------
    ParityError
        If the engine differs by more than the limits of the bundle's precision.
    """
    from zeroline.runtime.network.onnxruntime import OnnxRuntimeSession

    try:
        original = OnnxRuntimeSession(folder / manifest.model, device="cpu")
    except MissingExtraError:
        report("onnxruntime is not installed: the engine is not compared with its ONNX file")
        return None
    outputs = manifest.outputs
    bundles = [
        Bundle(folder, manifest, network, network.inputs[manifest.input.name][0])
        for network in (original, session)
    ]
    images = [bundles[0].prepare(frame)[None] for frame in probe_frames()[_PROBES]]
    wanted, actual = (joined(bundle.embed(image) for image in images) for bundle in bundles)
    parity = check_parity(
        wanted,
        actual,
        LIMITS[manifest.precision],
        names=(*(t.name for t in outputs.tokens), outputs.class_token.name),
        size=manifest.input.size,
        scorer=scorer,
        label=f'the TensorRT engine of bundle "{manifest.name}"',
        original="its ONNX file",
    )
    report(f"engine against ONNX file: {parity}")
    return parity
