"""Load a bundle: where the network and the scoring meet, since an engine is compared by scores."""

from __future__ import annotations

import logging
from pathlib import Path

from zeroline.runtime.batch import patch_and_image_scores
from zeroline.runtime.network.model import Bundle, Report
from zeroline.runtime.network.open import open_bundle


def load_bundle(
    name_or_path: str | Path,
    /,
    *,
    device: str = "auto",
    threads: int | None = None,
    report: Report | None = None,
) -> Bundle:
    """Load a model bundle and check that it is what its manifest says.

    Parameters
    ----------
    name_or_path : str or Path
        The name of a bundled model, or a bundle's folder.
    device : {"auto", "cpu", "cuda", "tensorrt"}
        Where network and scores shall run. "auto": on CUDA where all of it works there, else on
        the CPU, with a `ProviderWarning` that says why.
    threads : int or None
        CPU threads of the network; None takes all cores.
    report : callable, optional
        Takes lines of progress, when a TensorRT engine is built; the log does when not given.

    Returns
    -------
    Bundle

    Raises
    ------
    BundleError
        If the folder, a file, a hash, an input or an output is not as the manifest says.
    DeviceError
        If the device cannot be had.
    MissingExtraError
        If a package that the device needs is not installed.
    ParityError
        If a TensorRT engine, or CUDA where it is asked for by name, does not follow the ONNX file.

    Examples
    --------
    >>> with load_bundle("tiny") as bundle:
    ...     bundle.name, bundle.size, bundle.patches
    ('tiny', 320, 400)
    """
    return open_bundle(
        name_or_path,
        device=device,
        threads=threads,
        report=report or logging.getLogger(__name__).warning,
        scorer=patch_and_image_scores,
    )
