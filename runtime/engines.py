"""TensorRT engines: built on the device that runs them, kept under a key, compared before use.

An engine fits one network, one TensorRT version, one GPU, one range of batches. All of that is in
its key, so that an engine of another kind is never loaded. Beside each engine lies a JSON file
with the key in plain words, the engine's hash and how closely it follows the ONNX file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zeroline.runtime.bundle import Bundle
from zeroline.runtime.cuda import Gpu, current_gpu, installed_cupy, working_cupy
from zeroline.runtime.errors import DeviceError, MissingExtraError, ParityError, ZerolineError
from zeroline.runtime.files import replacing
from zeroline.runtime.manifest import Manifest
from zeroline.runtime.parity import LIMITS, Parity, check_parity
from zeroline.runtime.probes import probe_frames
from zeroline.runtime.session import Session, Tell
from zeroline.runtime.tensorrt_build import BATCHES, Batches, Form, build_engine
from zeroline.runtime.tensorrt_session import TensorRTSession, tensorrt_package
from zeroline.runtime.tokens import joined

FOLDER = "engines"
_PROBES = slice(2, 6)  # four of the drawn frames, two with a defect


@dataclass(frozen=True)
class Kind:
    """What an engine depends on.

    Attributes
    ----------
    network : str
        sha256 of the bundle's files.
    tensorrt : str
        Version.
    gpu : Gpu
    batches : Batches
    size : int
        Side of the input.
    precision : str
        Of the bundle.
    """

    network: str
    tensorrt: str
    gpu: Gpu
    batches: Batches
    size: int
    precision: str

    @classmethod
    def of(cls, manifest: Manifest, version: str, gpu: Gpu, batches: Batches) -> Kind:
        """Describe the engine of a bundle on a device."""
        content = json.dumps(sorted(manifest.files.items()))
        network = hashlib.sha256(content.encode()).hexdigest()
        return cls(network, version, gpu, batches, manifest.input.size, manifest.precision)

    @property
    def key(self) -> str:
        """Return the engine's name: 16 hexadecimal digits over all parts."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def device_key(self) -> str:
        """Return the timing cache's name: TensorRT's version and the GPU."""
        text = f"{self.tensorrt}-{self.gpu.name}-{self.gpu.capability}"
        return "".join(c if c.isalnum() or c in ".-" else "_" for c in text)


@dataclass(frozen=True)
class Stored:
    """An engine from the store."""

    path: Path
    content: bytes
    notes: dict[str, Any]


class EngineStore:
    """Engines of one bundle: in its folder, and in the user's cache where that cannot be written.

    Parameters
    ----------
    bundle : Path
        The bundle's folder.
    """

    def __init__(self, bundle: Path) -> None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self._folders = (bundle / FOLDER, cache / "zeroline" / FOLDER)

    def find(self, kind: Kind, *, any_batches: bool = False) -> Stored | None:
        """Return the engine of a kind; None where there is none, or only a damaged one.

        With `any_batches` an engine for other batches will do, the newest of them.
        """
        wanted = asdict(kind)
        found = [path for folder in self._folders for path in folder.glob("*.json")]
        with contextlib.suppress(OSError):
            found.sort(key=lambda path: -path.stat().st_mtime)
        for path in found:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                notes = json.loads(path.read_text(encoding="utf-8"))
                there = notes["kind"]
                if any_batches:
                    there["batches"] = wanted["batches"]
                if there != wanted:
                    continue
                engine = path.with_suffix(".engine")
                content = engine.read_bytes()
                if notes["sha256"] == hashlib.sha256(content).hexdigest():
                    return Stored(engine, content, notes)
        return None

    def keep(self, kind: Kind, content: bytes, notes: dict[str, Any]) -> Path:
        """Store an engine and what is to be known of it; return its file."""
        described = {
            "sha256": hashlib.sha256(content).hexdigest(),
            "kind": asdict(kind),
            **notes,
        }
        folder = self.writable()
        path = folder / f"{kind.key}.engine"
        _write(path, content)
        text = json.dumps(described, indent=1)
        _write(path.with_suffix(".json"), text.encode())
        return path

    def timings(self, kind: Kind) -> bytes:
        """Return the timing cache for a device; empty where there is none."""
        for folder in self._folders:
            with contextlib.suppress(OSError):
                return (folder / f"{kind.device_key}.timing").read_bytes()
        return b""

    def keep_timings(self, kind: Kind, content: bytes) -> None:
        """Store the timing cache of a device."""
        _write(self.writable() / f"{kind.device_key}.timing", content)

    def writable(self) -> Path:
        """Return the first folder that files can be written to.

        Raises
        ------
        DeviceError
            If there is none.
        """
        reasons = []
        for folder in self._folders:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=folder):
                    return folder
            except OSError as error:  # noqa: PERF203 - the next folder may do
                reasons.append(f'"{folder}": {error.strerror}')
        raise DeviceError(f"no folder for TensorRT engines can be written: {'; '.join(reasons)}")


def open_engine(
    folder: Path, manifest: Manifest, *, tell: Tell, batches: Batches | None = None
) -> TensorRTSession:
    """Open the engine of a bundle on this device; build and compare it first if there is none.

    Parameters
    ----------
    folder : Path
        The bundle's.
    manifest : Manifest
    tell : callable
        Takes lines of progress.
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
    kind = Kind.of(manifest, trt.__version__, current_gpu(cupy), batches or BATCHES)
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
            parity = compare(session, folder, manifest, tell=tell)
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


def open_provider(folder: Path, manifest: Manifest, *, tell: Tell) -> Session:
    """Open a bundle by onnxruntime's TensorRT provider, which builds and keeps its own engines.

    Compared with the CPU when it is first opened.

    Parameters
    ----------
    folder : Path
        The bundle's.
    manifest : Manifest
    tell : callable
        Takes lines of progress.

    Raises
    ------
    DeviceError
        If onnxruntime has no TensorRT provider, or falls back to another one.
    ParityError
        If the outputs do not follow the CPU's.
    """
    import onnxruntime

    from zeroline.runtime.onnxruntime_session import OnnxRuntimeSession

    model = folder / manifest.model
    if "TensorrtExecutionProvider" not in onnxruntime.get_available_providers():
        return OnnxRuntimeSession(model, device="tensorrt")  # says what is missing
    cupy = installed_cupy()
    gpu = Gpu("a CUDA device", "") if cupy is None else current_gpu(cupy)
    kind = Kind.of(manifest, f"onnxruntime {onnxruntime.__version__}", gpu, BATCHES)
    place = EngineStore(folder).writable() / f"onnxruntime-{kind.key}"
    compared = place / "parity.json"
    if not compared.exists():
        tell(f'building a TensorRT engine of bundle "{manifest.name}" by onnxruntime')
    place.mkdir(exist_ok=True)
    session = OnnxRuntimeSession(
        model, device="tensorrt", tensorrt=provider_options(place, manifest, BATCHES)
    )
    if not compared.exists():
        parity = compare(session, folder, manifest, tell=tell)
        _write(compared, json.dumps(parity and parity.figures()).encode())
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


def compare(session: Session, folder: Path, manifest: Manifest, *, tell: Tell) -> Parity | None:
    """Compare an engine with its ONNX file on the CPU, over drawn frames.

    Parameters
    ----------
    session : Session
    folder : Path
        The bundle's.
    manifest : Manifest
    tell : callable
        Takes lines of progress.

    Returns
    -------
    Parity or None
        None where onnxruntime is not installed; this is told.

    Raises
    ------
    ParityError
        If the engine differs by more than the limits of the bundle's precision.
    """
    from zeroline.runtime.onnxruntime_session import OnnxRuntimeSession

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
        label=f'the TensorRT engine of bundle "{manifest.name}"',
        original="its ONNX file",
    )
    tell(f"engine against ONNX file: {parity}")
    return parity


def _write(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all."""
    with replacing(path) as file:
        file.write(content)
