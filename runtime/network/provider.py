"""onnxruntime's CUDA provider: compared with the CPU where a bundle is first opened on a device."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

from zeroline.runtime.cuda import current_gpu
from zeroline.runtime.errors import DeviceError
from zeroline.runtime.network.compared import compare
from zeroline.runtime.network.engines import EngineStore
from zeroline.runtime.network.manifest import Manifest
from zeroline.runtime.network.model import Report, probe_images
from zeroline.runtime.network.onnxruntime import OnnxRuntimeSession
from zeroline.runtime.network.parity import Scorer


def check_cuda(
    session: OnnxRuntimeSession,
    folder: Path,
    manifest: Manifest,
    *,
    report: Report,
    scorer: Scorer,
) -> None:
    """Refuse a CUDA session whose tokens are not the CPU's.

    It is done once for a bundle, an onnxruntime and a GPU. What was measured is noted where
    TensorRT engines are kept.

    Parameters
    ----------
    session : OnnxRuntimeSession
        On CUDA.
    folder : Path
        The bundle's.
    manifest : Manifest
    report : callable
        Takes lines of progress.
    scorer : callable
        See `check_parity`.

    Raises
    ------
    ParityError
        If it differs by more than the limits of the bundle's precision.
    BundleError
        If the network fails on the device.
    """
    import onnxruntime

    # memory for a run is asked for now
    batch = session.inputs[manifest.input.name][0] if manifest.input.name in session.inputs else 1
    session.run(manifest.input.name, probe_images(manifest.input.size, batch=batch or 1))
    key = {
        "files": sorted(manifest.files.items()),
        "onnxruntime": onnxruntime.__version__,
        "gpu": asdict(current_gpu(session.arrays)),
    }
    name = f"cuda-{hashlib.sha256(json.dumps(key).encode()).hexdigest()[:16]}"
    store = EngineStore(folder)
    if store.notes(name) is not None:
        return
    parity = compare(
        session, folder, manifest, label="the network on CUDA", report=report, scorer=scorer
    )
    if parity is not None:
        try:
            store.note(name, {"on": key, "parity": parity.figures()})
        except DeviceError as error:  # nowhere to write: it is compared at each start
            report(str(error))
