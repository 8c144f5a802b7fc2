"""From a float32 network to one of another precision, by measured error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from zeroline.export.errors import ExportError
from zeroline.export.gate import Original, network_tokens
from zeroline.export.half import LEVELS, rounded, to_half
from zeroline.export.int8 import SHARES, Form, Quantiser
from zeroline.runtime.batch import patch_and_image_scores
from zeroline.runtime.errors import ParityError
from zeroline.runtime.frames import Frame
from zeroline.runtime.network.parity import LIMITS, measure_parity
from zeroline.runtime.network.probes import marked
from zeroline.runtime.tokens import Tokens

Tell = Callable[[str], None]

#: Frames that int8 is calibrated on, at the least.
LEAST_CALIBRATION = 2


@dataclass(frozen=True)
class Shown:
    """What the networks are shown.

    Attributes
    ----------
    frames : sequence of arrays, shape (H, W, 3), uint8
        For the parity gate.
    calibration : sequence of arrays, shape (H, W, 3), uint8
        Others, that int8 is calibrated on.
    """

    frames: Sequence[Frame]
    calibration: Sequence[Frame] = ()


@dataclass(frozen=True)
class Narrowed:
    """A network of another precision.

    Attributes
    ----------
    path : Path
        Its ONNX file.
    kept : tuple of str
        What stays in float32.
    simulated : Path or None
        A float32 network with the roundings of a half-precision one.
    """

    path: Path
    kept: tuple[str, ...] = ()
    simulated: Path | None = None


def check_request(precision: str, shown: Shown) -> None:
    """Refuse a precision that does not exist, or that lacks what it needs.

    Raises
    ------
    ExportError
    """
    if precision not in LIMITS:
        raise ExportError(f'precision "{precision}": {" or ".join(LIMITS)} is expected')
    if precision == "int8" and len(shown.calibration) < LEAST_CALIBRATION:
        raise ExportError(
            "int8 is calibrated on frames of your line: --calibration DIR with at least "
            f"{len(shown.frames) + LEAST_CALIBRATION} pictures is expected"
        )


def narrow(
    path: Path,
    precision: str,
    original: Original,
    shown: Shown,
    folder: Path,
    *,
    wanted: Tokens | None = None,
    form: Form = Form.CPU,
    tell: Tell = lambda _: None,
) -> Narrowed:
    """Make a network of another precision, leaving in float32 what the limits ask for.

    Parameters
    ----------
    path : Path
        The float32 ONNX file.
    precision : {"fp32", "fp16", "int8"}
    original : Original
        What the result is compared with.
    shown : Shown
    folder : Path
        For the new files.
    wanted : Tokens, optional
        What the original gives for the gate's frames, where that is known already.
    form : Form
        Of int8.
    tell : callable
        Takes lines of progress.

    Raises
    ------
    ParityError
        If nothing that may be left out suffices.
    """
    if precision == "fp16":
        return _half(path, original, shown, folder, wanted, tell)
    if precision == "int8":
        return _int8(path, original, shown, folder, form, tell)
    return Narrowed(path)


def _half(
    plain: Path,
    original: Original,
    shown: Shown,
    folder: Path,
    wanted: Tokens | None,
    tell: Tell,
) -> Narrowed:
    """Choose the fewest islands that keep to the limits."""
    model = onnx.load(plain)
    wanted = wanted or original.tokens(shown.frames)
    path, simulated = folder / "half.onnx", folder / "simulated.onnx"
    failures: list[str] = []
    for islands in LEVELS:
        half = to_half(model, islands)
        onnx.save(half, path)
        onnx.save(rounded(half), simulated)
        made = network_tokens(simulated, original, shown.frames)
        parity = measure_parity(
            wanted, made, names=original.names, size=original.size, scorer=patch_and_image_scores
        )
        failures = parity.failures(LIMITS["fp16"])
        tell(f"fp16 with {islands.name} in float32: {parity}")
        if not failures:
            return Narrowed(path, (islands.name,), simulated)
    raise ParityError(f"fp16 does not follow float32 with any islands: {'; '.join(failures)}")


def _int8(
    plain: Path, original: Original, shown: Shown, folder: Path, form: Form, tell: Tell
) -> Narrowed:
    """Leave the fewest layers in float32 that keep to the limits.

    Frames of a line show few defects, and what lies outside the calibrated ranges is cut off, so
    each frame is shown a second time with marks on it. What is left out is decided on frames that
    int8 was calibrated on, so that the gate's frames decide about the result alone.
    """
    with_marks = [marked(frame, seed) for seed, frame in enumerate(shown.calibration)]
    frames = [*shown.calibration[:6], *with_marks[:2]]
    wanted = original.tokens(frames)
    inputs = [original.prepare(frame) for frame in (*shown.calibration, *with_marks)]
    quantiser = Quantiser(plain, inputs, form, folder)
    failures: list[str] = []
    order: list[str] = []
    for share in SHARES:
        if share and not order:
            tell(f"int8: measuring each of {len(quantiser.layers)} layers by itself")
            order = quantiser.by_error(wanted, original, frames)
        kept = tuple(order[: round(share * len(order))])
        path = quantiser.quantised(leave=kept)
        made = network_tokens(path, original, frames)
        parity = measure_parity(
            wanted, made, names=original.names, size=original.size, scorer=patch_and_image_scores
        )
        failures = parity.failures(LIMITS["int8"])
        tell(f"int8 but for {len(kept)} of {len(quantiser.layers)} layers: {parity}")
        if not failures:
            return Narrowed(path, kept)
    raise ParityError(
        f"int8 does not follow float32, even with {SHARES[-1]:.0%} of the layers left out: "
        f"{'; '.join(failures)}"
    )
