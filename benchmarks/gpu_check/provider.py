"""Assertion 1: the network runs on CUDA, and gives the CPU's tokens."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from benchmarks.gpu_check.findings import Findings
from benchmarks.gpu_check.sizes import Sizes

#: The largest difference of tokens from the CPU's, in parts of their root mean square.
TOKEN_ERROR = 1e-3


def provider(cupy: Any, sizes: Sizes, found: Findings) -> None:  # noqa: ARG001
    """Open the bundled model by `auto` and by name; compare its tokens with the CPU's."""
    from zeroline.runtime import load_bundle
    from zeroline.runtime.errors import ProviderWarning
    from zeroline.runtime.network.model import probe_images

    with warnings.catch_warnings():
        warnings.simplefilter("error", ProviderWarning)  # `auto` may not go to the CPU
        sessions = {name: load_bundle("tiny", device=name).session for name in ("auto", "cuda")}
    host = load_bundle("tiny", device="cpu")
    for name, session in sessions.items():
        first = session.providers[0]
        found.row(f"--device {name}", f"{session.device}, {first}")
        found.hold(first == "CUDAExecutionProvider", f"--device {name}: {first} is in use")
    images = probe_images(host.size, batch=1)
    name = host.manifest.input.name
    theirs, wanted = sessions["cuda"].run(name, images), host.session.run(name, images)
    for output, tokens in wanted.items():
        mine = np.asarray(theirs[output].get())
        found.hold(np.isfinite(mine).all(), f"{output}: NaN or inf")
        scale = float(np.sqrt(np.square(tokens).mean()))
        off = float(np.abs(mine - tokens).max()) / scale
        found.at_most(f"{output} off the CPU's, in its rms", off, TOKEN_ERROR)
