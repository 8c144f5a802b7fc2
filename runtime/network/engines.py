"""TensorRT engines: built on the device that runs them, kept under a key, compared before use.

An engine fits one network, one TensorRT version, one GPU, one range of batches. All of that is in
its key, so that an engine of another kind is never loaded. Beside each engine lies a JSON file
with the key in plain words, the engine's hash and how closely it follows the ONNX file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zeroline.runtime.cuda import Gpu, current_gpu, half_of_free_memory, working_cupy
from zeroline.runtime.errors import DeviceError
from zeroline.runtime.files import cache_folder, open_regular, replacing
from zeroline.runtime.network.compared import compare
from zeroline.runtime.network.manifest import Manifest
from zeroline.runtime.network.model import Report
from zeroline.runtime.network.parity import Scorer
from zeroline.runtime.network.tensorrt import (
    BATCHES,
    Batches,
    TensorRTSession,
    build_engine,
    tensorrt_package,
)

FOLDER = "engines"
_DIGEST = hashlib.sha256().digest_size


@dataclass(frozen=True)
class EngineKey:
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
    def of(cls, manifest: Manifest, version: str, gpu: Gpu, batches: Batches) -> EngineKey:
        """Describe the engine of a bundle on a device."""
        content = json.dumps(sorted(manifest.files.items()))
        network = hashlib.sha256(content.encode()).hexdigest()
        return cls(network, version, gpu, batches, manifest.input.size, manifest.precision)

    @property
    def name(self) -> str:
        """Return the engine's name: 16 hexadecimal digits over all parts."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def device_key(self) -> str:
        """Return the timing cache's name: TensorRT's version and the GPU."""
        text = f"{self.tensorrt}-{self.gpu.name}-{self.gpu.capability}"
        return "".join(c if c.isalnum() or c in ".-" else "_" for c in text)


@dataclass(frozen=True)
class StoredEngine:
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
        self._folders = (bundle / FOLDER, cache_folder() / FOLDER)

    def find(self, key: EngineKey, *, any_batches: bool = False) -> StoredEngine | None:
        """Return the engine of a key; None where there is none, or only a damaged one.

        With `any_batches` an engine for other batches will do, the newest of them.
        """
        wanted = asdict(key)
        paths = [path for folder in self._folders for path in folder.glob("*.json")]
        with contextlib.suppress(OSError):
            paths.sort(key=lambda path: -path.stat().st_mtime)
        for path in paths:
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                with open_regular(path) as file:
                    notes = json.load(file)
                there = notes["key"]
                if any_batches:
                    there["batches"] = wanted["batches"]
                if there != wanted:
                    continue
                engine = path.with_suffix(".engine")
                with open_regular(engine) as file:
                    content = file.read()
                if notes["sha256"] == hashlib.sha256(content).hexdigest():
                    return StoredEngine(engine, content, notes)
        return None

    def keep(self, key: EngineKey, content: bytes, notes: dict[str, Any]) -> Path:
        """Store an engine and what is to be known of it; return its file."""
        described = {
            "sha256": hashlib.sha256(content).hexdigest(),
            "key": asdict(key),
            **notes,
        }
        folder = self.writable()
        path = folder / f"{key.name}.engine"
        _write(path, content)
        text = json.dumps(described, indent=1)
        _write(path.with_suffix(".json"), text.encode())
        return path

    def timings(self, key: EngineKey, *, report: Report) -> bytes:
        """Return the timing cache for a device; empty where there is none, or only a damaged one.

        A damaged one is reported.
        """
        for folder in self._folders:
            path = folder / f"{key.device_key}.timing"
            with contextlib.suppress(OSError):
                with open_regular(path) as file:
                    digest, content = file.read(_DIGEST), file.read()
                if digest == hashlib.sha256(content).digest():
                    return content
                report("the timing cache is damaged, a new one is begun")
                return b""
        return b""

    def keep_timings(self, key: EngineKey, content: bytes) -> None:
        """Store the timing cache of a device, behind its sha256."""
        digest = hashlib.sha256(content).digest()
        _write(self.writable() / f"{key.device_key}.timing", digest + content)

    def notes(self, name: str) -> dict[str, Any] | None:
        """Return what was noted under a name; None where nothing was, or it cannot be read."""
        for folder in self._folders:
            with contextlib.suppress(OSError, ValueError):
                with open_regular(folder / f"{name}.json") as file:
                    noted = json.load(file)
                if isinstance(noted, dict):
                    return noted
        return None

    def note(self, name: str, content: dict[str, Any]) -> None:
        """Note something under a name."""
        _write(self.writable() / f"{name}.json", json.dumps(content, indent=1).encode())

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


def _write(path: Path, content: bytes) -> None:
    """Write a file that is there whole or not at all."""
    with replacing(path) as file:
        file.write(content)


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
        timings=store.timings(key, report=report),
        workspace=half_of_free_memory(cupy),
        report=report,
    )
    session = TensorRTSession(built.engine, label=f'bundle "{manifest.name}"')
    parity = compare(
        session,
        folder,
        manifest,
        label="the TensorRT engine",
        report=report,
        scorer=scorer,
        batches=session.batches,
    )
    store.keep_timings(key, built.timings)
    notes = {
        "bundle": manifest.name,
        "seconds": round(time.monotonic() - began, 1),
        "parity": None if parity is None else parity.figures(),
    }
    path = store.keep(key, built.engine, notes)
    report(f"engine kept in {path} ({len(built.engine) / 2**20:.1f} MiB)")
    return session
