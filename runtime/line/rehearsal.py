"""The first frames of a line on a device, with drawn tokens and a small window.

CuPy compiles each kernel when it is first called. That takes seconds to a minute, and a line's
first frame would wait for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from zeroline.runtime.errors import DeviceError
from zeroline.runtime.results import Verdict
from zeroline.runtime.tokens import Tokens

if TYPE_CHECKING:
    from zeroline.runtime.network.model import Bundle

#: Slots, and frames: more than fit, so that one is replaced.
_WINDOW, _FRAMES = 3, 4


def rehearse(line: Callable[..., Any], bundle: Bundle, **options: Any) -> None:
    """Push drawn frames through a small line, and end it.

    Parameters
    ----------
    line : callable
        `RollingInspector`.
    bundle : Bundle
    options
        Of the line that is to come.

    Raises
    ------
    DeviceError
        If the device fails.
    """
    rng = np.random.default_rng(0)
    class_channels = bundle.manifest.outputs.class_token.channels
    with line(bundle, window=_WINDOW, min_window=2, warm_up=False, **options) as small:
        shape = small.shape
        places = [
            rng.standard_normal((1, shape.patches, c), dtype=np.float32) for c in shape.channels
        ]
        xp = bundle.session.arrays
        for _ in range(_FRAMES):
            # one product, and no copies
            layers = [rows + 0.3 * rng.standard_normal(rows.shape, np.float32) for rows in places]
            tokens = Tokens(
                tuple(xp.asarray(rows.astype(np.float32)) for rows in layers),
                xp.asarray(np.eye(1, class_channels, dtype=np.float32)),
                shape.tiles,
            )
            inspection = small.push_tokens(tokens)
            if inspection.verdict is Verdict.FAULT:
                raise DeviceError(inspection.fault)
        small.scores()
