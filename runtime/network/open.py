"""Open a bundle: find and check its files, load its network on a device."""

from __future__ import annotations

import hashlib
import posixpath
from pathlib import Path, PurePosixPath

from zeroline.runtime.errors import BundleError, DeviceError, ParityError, warn_of_cpu
from zeroline.runtime.files import open_regular
from zeroline.runtime.network.external import external_files
from zeroline.runtime.network.manifest import Manifest, read_manifest
from zeroline.runtime.network.model import DEVICES, Bundle, Report, Session, check_network
from zeroline.runtime.network.parity import Scorer

#: Bundles that come with the package are folders here, found by their name.
BUNDLED = Path(__file__).parent.parent / "models"


def bundled_names() -> list[str]:
    """Return the names of the models that come with the package."""
    return sorted(p.parent.name for p in BUNDLED.glob("*/manifest.json"))


def find_bundle(name_or_path: str | Path) -> Path:
    """Return the folder of a bundled model's name, or of a path."""
    name = str(name_or_path)
    if name in bundled_names():
        return BUNDLED / name
    folder = Path(name_or_path)
    if not folder.is_dir():
        known = ", ".join(bundled_names()) or "none in this version"
        raise BundleError(
            f'model "{name}" is neither a folder nor a bundled model (bundled: {known}); '
            '"zeroline export" makes a bundle'
        )
    return folder


def sha256_of(path: Path) -> str:
    """Return the hexadecimal sha256 of a regular file; OSError for another."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_files(folder: Path, manifest: Manifest) -> None:
    """Refuse a bundle whose files are not those that its manifest lists, or that names others.

    Raises
    ------
    BundleError
        If a file is missing, changed or no regular file, or if the network reads tensors from a
        file that has no hash.
    """
    for name, expected in manifest.files.items():
        path = folder / name
        try:
            actual = sha256_of(path)
        except FileNotFoundError as error:
            raise BundleError(f'bundle "{folder}": file "{name}" is missing') from error
        except OSError as error:
            raise BundleError(f'bundle "{folder}": file "{name}": {error.strerror}') from error
        if actual != expected:
            raise BundleError(
                f'bundle "{folder}": file "{name}" has sha256 {actual[:12]}…, '
                f"the manifest says {expected[:12]}…: it was changed or damaged"
            )
    model = PurePosixPath(manifest.model)
    listed = {posixpath.normpath(name) for name in manifest.files}
    for name in external_files(folder / model):
        if (model.parent / name).as_posix() not in listed:
            raise BundleError(
                f'bundle "{folder}": the network reads "{name}", and the manifest has no sha256 '
                "of it: export it anew"
            )


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
        "tensorrt" runs an engine, built now if there is none yet; "auto" never does. "cuda" and
        "auto" compare CUDA with the CPU, where that has not been done yet.
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
        If a TensorRT engine, or CUDA where it is asked for by name, does not follow the ONNX file.
    BundleError
        If the network cannot be loaded.
    """
    if device not in DEVICES:
        raise DeviceError(f'device is "{device}", allowed: {", ".join(DEVICES)}')
    if device == "tensorrt":
        from zeroline.runtime.network.engines import open_engine

        return open_engine(folder, manifest, report=report, scorer=scorer)
    from zeroline.runtime.network.onnxruntime import OnnxRuntimeSession

    session = OnnxRuntimeSession(folder / manifest.model, device=device, threads=threads)
    if session.device == "cuda":
        from zeroline.runtime.network.provider import check_cuda

        try:
            check_cuda(session, folder, manifest, report=report, scorer=scorer)
        except (BundleError, DeviceError, ParityError) as error:
            if session.named:
                raise
            session = OnnxRuntimeSession(folder / manifest.model, device="cpu", threads=threads)
            warn_of_cpu(error)
    return session
