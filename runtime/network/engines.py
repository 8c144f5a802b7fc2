"""TensorRT engines: built on the device that runs them, compared before use."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from zeroline.runtime.cuda import Gpu, current_gpu, installed_cupy, working_cupy
from zeroline.runtime.errors import DeviceError, MissingExtraError, ParityError, ZerolineError
from zeroline.runtime.files import replacing
from zeroline.runtime.network.engine_store import EngineKey, EngineStore
from zeroline.runtime.network.manifest import Manifest
from zeroline.runtime.network.model import Bundle
from zeroline.runtime.network.parity import LIMITS, Parity, Scorer, check_parity
from zeroline.runtime.network.probes import probe_frames
from zeroline.runtime.network.session import Session, Tell
from zeroline.runtime.network.tensorrt import TensorRTSession, tensorrt_package
from zeroline.runtime.network.tensorrt_build import BATCHES, Batches, Form, build_engine
from zeroline.runtime.tokens import joined

_PROBES = slice(2, 6)  # four of the drawn frames, two with a defect


def open_engine(
    folder: Path,
    manifest: Manifest,
    *,
    tell: Tell,
    scorer: Scorer,
    batches: Batches | None = None,
) -> TensorRTSession:
    """Open the engine of a bundle on this device; build and compare it first if there is none.

    Parameters
    ----------
    folder : Path
        The bundle's.
    manifest : Manifest
    tell : callable
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
        If TensorRT is of a version that does not serve, or cannot build.
    ParityError
        If the engine does not follow the ONNX file.
    """
    trt = tensorrt_package()
    cupy = working_cupy()
    kind = EngineKey.of(manifest, trt.__version__, current_gpu(cupy), batches or BATCHES)
    store = EngineStore(folder)
    stored = store.find(kind, any_batches=batches is None)
    if stored is not None:
        try:
            return TensorRTSession(stored.content, label=str(stored.path))
        except DeviceError as error:
            tell(f"{error}; it is built anew")
    tell(
        f'building a TensorRT engine of bundle "{manifest.name}" for {kind.gpu.name}; '
        "this takes minutes, and is kept"
    )
    failures: list[str] = []
    unfit: type[ZerolineError] = DeviceError
    for form in Form.for_version(trt):
        began = time.monotonic()
        try:
            built = build_engine(
                trt,
                folder / manifest.model,
                input_name=manifest.input.name,
                size=manifest.input.size,
                batches=kind.batches,
                form=form,
                timings=store.timings(kind),
                tell=tell,
            )
            session = TensorRTSession(built.engine, label=f'bundle "{manifest.name}"')
            parity = compare(session, folder, manifest, tell=tell, scorer=scorer)
        except (DeviceError, ParityError) as error:
            unfit = type(error)
            failures.append(f"{form.value}: {error}")
            tell(failures[-1])
            continue
        store.keep_timings(kind, built.timings)
        notes = {
            "bundle": manifest.name,
            "form": form.value,
            "seconds": round(time.monotonic() - began, 1),
            "parity": None if parity is None else parity.figures(),
        }
        path = store.keep(kind, built.engine, notes)
        tell(f"engine kept in {path} ({len(built.engine) / 2**20:.1f} MiB)")
        return session
    raise unfit(f'no engine of bundle "{manifest.name}" is fit: {"; ".join(failures)}')


def open_provider(folder: Path, manifest: Manifest, *, tell: Tell, scorer: Scorer) -> Session:
    """Open a bundle by onnxruntime's TensorRT provider, which builds and keeps its own engines.

    Compared with the CPU when it is first opened.

    Parameters
    ----------
    folder : Path
        The bundle's.
    manifest : Manifest
    tell : callable
        Takes lines of progress.
    scorer : callable
        See `check_parity`.

    Raises
    ------
    DeviceError
        If onnxruntime has no TensorRT provider, or falls back to another one.
    ParityError
        If the outputs do not follow the CPU's.
    """
    import onnxruntime

    from zeroline.runtime.network.onnxruntime import OnnxRuntimeSession

    model = folder / manifest.model
    if "TensorrtExecutionProvider" not in onnxruntime.get_available_providers():
        return OnnxRuntimeSession(model, device="tensorrt")  # says what is missing
    cupy = installed_cupy()
    gpu = Gpu("a CUDA device", "") if cupy is None else current_gpu(cupy)
    kind = EngineKey.of(manifest, f"onnxruntime {onnxruntime.__version__}", gpu, BATCHES)
    place = EngineStore(folder).writable() / f"onnxruntime-{kind.key}"
    compared = place / "parity.json"
    if not compared.exists():
        tell(f'building a TensorRT engine of bundle "{manifest.name}" by onnxruntime')
    place.mkdir(exist_ok=True)
    session = OnnxRuntimeSession(
        model, device="tensorrt", tensorrt=provider_options(place, manifest, BATCHES)
    )
    if not compared.exists():
        parity = compare(session, folder, manifest, tell=tell, scorer=scorer)
        with replacing(compared) as file:
            file.write(json.dumps(parity and parity.figures()).encode())
    return session


def provider_options(place: Path, manifest: Manifest, batches: Batches) -> dict[str, Any]:
    """Return the options of onnxruntime's TensorRT provider for a bundle.

    Parameters
    ----------
    place : Path
        Folder of its engines.
    manifest : Manifest
    batches : Batches
    """
    side = manifest.input.size
    shapes = {
        end: f"{manifest.input.name}:{batch}x3x{side}x{side}"
        for end, batch in (("min", batches.least), ("opt", batches.best), ("max", batches.most))
    }
    return {
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(place),
        "trt_timing_cache_enable": True,
        "trt_timing_cache_path": str(place),
        "trt_fp16_enable": manifest.precision == "fp16",
        "trt_int8_enable": manifest.precision == "int8",
        "trt_layer_norm_fp32_fallback": True,
        **{f"trt_profile_{end}_shapes": shape for end, shape in shapes.items()},
    }


def compare(
    session: Session, folder: Path, manifest: Manifest, *, tell: Tell, scorer: Scorer
) -> Parity | None:
    """Compare an engine with its ONNX file on the CPU, over drawn frames.

    Parameters
    ----------
    session : Session
    folder : Path
        The bundle's.
    manifest : Manifest
    tell : callable
        Takes lines of progress.
    scorer : callable
        See `check_parity`.

    Returns
    -------
    Parity or None
        None where onnxruntime is not installed; this is told.

    Raises
    ------
    ParityError
        If the engine differs by more than the limits of the bundle's precision.
    """
    from zeroline.runtime.network.onnxruntime import OnnxRuntimeSession

    try:
        original = OnnxRuntimeSession(folder / manifest.model, device="cpu")
    except MissingExtraError:
        tell("onnxruntime is not installed: the engine is not compared with its ONNX file")
        return None
    outputs = manifest.outputs
    bundles = [
        Bundle(folder, manifest, network, network.inputs[manifest.input.name][0])
        for network in (original, session)
    ]
    images = [bundles[0].prepare(frame)[None] for frame in probe_frames()[_PROBES]]
    wanted, made = (joined(bundle.embed(image) for image in images) for bundle in bundles)
    parity = check_parity(
        wanted,
        made,
        LIMITS[manifest.precision],
        names=(*(t.name for t in outputs.tokens), outputs.class_token.name),
        size=manifest.input.size,
        scorer=scorer,
        label=f'the TensorRT engine of bundle "{manifest.name}"',
        original="its ONNX file",
    )
    tell(f"engine against ONNX file: {parity}")
    return parity
