"""The exceptions of zeroline: one tree, every message one line that a user can act on.

::

    ZerolineError
    ├── BundleError            a model bundle
    ├── DeviceError            a device or an execution provider
    ├── FrameError             a frame
    ├── FramingError           what of a picture is looked at
    ├── MissingExtraError      an optional package (also ImportError)
    ├── ParityError            a network that differs from its original
    ├── ReferenceFileError     a reference set
    ├── ScoringError           arrays and options (also ValueError)
    └── StateFileError         the window of an earlier run

    ProviderWarning            the network runs on another device than was preferred
"""

from __future__ import annotations

import warnings
from pathlib import Path


def in_one_line(error: BaseException, /) -> str:
    """Return an error's message in one line; its kind, where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class ZerolineError(Exception):
    """Anything that zeroline itself refuses; the command line prints it as one line.

    What a message repeats of a file or of a name may hold line ends, or codes that a terminal
    obeys. They are escaped.
    """

    def __init__(self, *words: object) -> None:
        super().__init__(*(_printable(word) if isinstance(word, str) else word for word in words))


class BundleError(ZerolineError):
    """A model bundle that is missing, damaged, or not what its manifest says."""


class FrameError(ZerolineError):
    """A frame whose shape or type the pipeline does not take."""


class FramingError(ZerolineError):
    """A framing that does not fit the picture, or leaves nothing to look at."""


class ScoringError(ZerolineError, ValueError):
    """Arrays or options that a scoring stage does not take."""


class StateFileError(ZerolineError):
    """The window of an earlier run that is damaged, or of another bundle or framing."""


class DeviceError(ZerolineError):
    """A device or an execution provider that was asked for and cannot be had."""


class ParityError(ZerolineError):
    """A network that does not do what the one that it was made from does."""


#: Instead of extras that bring OpenCV or onnxruntime from PyPI: NVIDIA's would be hidden by them.
_ON_JETSON = {
    "app": (
        'pip install ".[app-no-opencv]", in an environment that sees the system\'s OpenCV '
        "(python3 -m venv --system-site-packages, docs/install.md)"
    ),
    "cpu": (
        "NVIDIA's wheel of onnxruntime-gpu on JetPack 6, "
        'pip install ".[cuda13]" on JetPack 7 (docs/install.md)'
    ),
}


def is_jetson(root: Path = Path("/")) -> bool:
    """Tell whether the machine is a Jetson, by the files of NVIDIA's system."""
    try:
        model = (root / "proc/device-tree/model").read_text(encoding="utf-8", errors="replace")
    except OSError:
        model = ""
    return "Jetson" in model or (root / "etc/nv_tegra_release").is_file()


def extra_hint(extra: str) -> str:
    """Return what to do in a clone of zeroline for an extra, on this kind of machine."""
    usual = f'pip install ".[{extra}]"'
    return _ON_JETSON.get(extra, usual) if is_jetson() else usual


class MissingExtraError(ZerolineError, ImportError):
    """An optional package that is not installed.

    Parameters
    ----------
    package : str
        The package that could not be imported, as its project is called.
    extra : str
        The extra of zeroline that brings it.
    purpose : str
        What it is needed for, to end the sentence "… is needed".
    hint : str, optional
        What to do in a clone of zeroline, where it is more than to install the extra.
    """

    def __init__(
        self, package: str, *, purpose: str, extra: str = "", hint: str | None = None
    ) -> None:
        super().__init__(
            f"{package} is not installed and is needed {purpose}; "
            f"in a clone of zeroline: {hint or extra_hint(extra)}"
        )


class ProviderWarning(UserWarning):
    """The session runs on another provider than the one that was preferred."""


def warn_of_cpu(reason: Exception, /, *, what: str = "network and scores are") -> None:
    """Say in one line what the CPU does in place of the device that was preferred, and why."""
    message = f"{what} on the CPU, CUDA cannot be used: {reason}"
    warnings.warn(message, ProviderWarning, stacklevel=3)


class ReferenceFileError(ZerolineError):
    """A reference set that cannot be used."""
