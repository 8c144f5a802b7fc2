"""Open a bundle: check its files, load its network on a device, compare it with the manifest."""

from __future__ import annotations

from pathlib import Path

from zeroline.runtime.errors import DeviceError
from zeroline.runtime.network.bundle import check_files, find_bundle
from zeroline.runtime.network.manifest import Manifest, read_manifest
from zeroline.runtime.network.model import Bundle, check_network
from zeroline.runtime.network.parity import Scorer
from zeroline.runtime.network.session import DEVICES, Report, Session


def open_bundle(
    name_or_path: str | Path,
    /,
    *,
    device: str,
    threads: int | None,
    report: Report,
    scorer: Scorer,
) -> Bundle:
    """Load a model bundle; see `zeroline.runtime.load_bundle`.

    Parameters
    ----------
    name_or_path, device, threads, report
        See there.
    scorer : callable
        How an engine's tokens are scored where it is compared; see `check_parity`.
    """
    folder = find_bundle(name_or_path)
    manifest = read_manifest(folder)
    check_files(folder, manifest)
    session = open_session(
        folder, manifest, device=device, threads=threads, report=report, scorer=scorer
    )
    batch = check_network(session, manifest, label=str(folder))
    return Bundle(folder, manifest, session, batch)


def open_session(
    folder: Path,
    manifest: Manifest,
    *,
    device: str,
    threads: int | None,
    report: Report,
    scorer: Scorer,
) -> Session:
    """Open a bundle's network on a device.

    Parameters
    ----------
    folder : Path
        The bundle's.
    manifest : Manifest
    device : {"auto", "cpu", "cuda", "tensorrt"}
        "tensorrt" runs an engine, built now if there is none yet; "auto" never does.
    threads : int or None
        CPU threads; None takes all cores.
    report : callable
        Takes lines of progress.
    scorer : callable
        See `open_bundle`.

    Raises
    ------
    DeviceError
        If the device cannot be had.
    MissingExtraError
        If a package that the device needs is not installed.
    ParityError
        If a TensorRT engine does not follow the ONNX file.
    BundleError
        If the network cannot be loaded.
    """
    if device not in DEVICES:
        raise DeviceError(f'device is "{device}", allowed: {", ".join(DEVICES)}')
    if device == "tensorrt":
        from zeroline.runtime.network.engines import open_engine

        return open_engine(folder, manifest, report=report, scorer=scorer)
    from zeroline.runtime.network.onnxruntime import OnnxRuntimeSession

    return OnnxRuntimeSession(folder / manifest.model, device=device, threads=threads)
