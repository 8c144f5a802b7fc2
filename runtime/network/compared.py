"""Whether a network does on a device what its ONNX file does on the CPU."""

from __future__ import annotations

from pathlib import Path

from zeroline.runtime.errors import MissingExtraError
from zeroline.runtime.network.manifest import Manifest
from zeroline.runtime.network.model import Bundle, Report, Session
from zeroline.runtime.network.onnxruntime import OnnxRuntimeSession
from zeroline.runtime.network.parity import LIMITS, Parity, Scorer, check_parity, probe_frames
from zeroline.runtime.tokens import joined

_PROBES = slice(2, 6)  # four of the drawn frames, two with a defect


def compare(
    session: Session,
    folder: Path,
    manifest: Manifest,
    *,
    label: str,
    report: Report,
    scorer: Scorer,
) -> Parity | None:
    """Compare a network on a device with its ONNX file on the CPU, over drawn frames.

    Parameters
    ----------
    session : Session
    folder : Path
        The bundle's.
    manifest : Manifest
    label : str
        Names the network in errors.
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
        If it differs by more than the limits of the bundle's precision.
    """
    try:
        original = OnnxRuntimeSession(folder / manifest.model, device="cpu")
    except MissingExtraError:
        report(f"onnxruntime is not installed: {label} is not compared with its ONNX file")
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
        label=f'{label} of bundle "{manifest.name}"',
        original="its ONNX file on the CPU",
    )
    report(f"{label} against its ONNX file on the CPU: {parity}")
    return parity
