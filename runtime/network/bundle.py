"""Model bundles: a folder with an ONNX file and a manifest, checked before it is used."""

from __future__ import annotations

import hashlib
from pathlib import Path

from zeroline.runtime.errors import BundleError
from zeroline.runtime.network.manifest import Manifest

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
    """Return the hexadecimal sha256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def check_files(folder: Path, manifest: Manifest) -> None:
    """Refuse a bundle whose files are not those that its manifest lists."""
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
