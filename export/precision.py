"""From a float32 network to the same network in another precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import onnx

from zeroline.export.errors import ExportError
from zeroline.export.gate import Original, network_tokens
from zeroline.export.half import LEVELS, Islands, rounded, to_half
from zeroline.export.int8 import to_int8
from zeroline.export.overflow import LARGE, Overflows, find_overflows
from zeroline.runtime.batch import patch_and_image_scores
from zeroline.runtime.errors import ParityError
from zeroline.runtime.frames import Frame
from zeroline.runtime.network.model import Report
from zeroline.runtime.network.parity import LIMITS, Parity, marked, measure_parity, probe_frames
from zeroline.runtime.tokens import Tokens

#: Frames that int8 is calibrated on, at the least.
LEAST_CALIBRATION = 2


@dataclass(frozen=True)
class SampleFrames:
    """Frames of one kind of part that the networks are run on.

    Attributes
    ----------
    gate : sequence of arrays, shape (H, W, 3), uint8
        For the parity gate; drawn ones when not given.
    calibration : sequence of arrays, shape (H, W, 3), uint8
        Others, that int8 is calibrated on.
    """

    gate: Sequence[Frame] = field(default_factory=probe_frames)
    calibration: Sequence[Frame] = ()


@dataclass(frozen=True)
class Narrowed:
    """A network of another precision.

    Attributes
    ----------
    path : Path
        Its ONNX file.
    kept : tuple of str
        What stays in float32 by measured error.
    simulated : Path or None
        A float32 network with the roundings of a half-precision one.
    """

    path: Path
    kept: tuple[str, ...] = ()
    simulated: Path | None = None


def check_request(precision: str, samples: SampleFrames) -> None:
    """Refuse a precision that does not exist, or that lacks what it needs.

    Raises
    ------
    ExportError
    """
    if precision not in LIMITS:
        raise ExportError(f'precision "{precision}": {" or ".join(LIMITS)} is expected')
    if precision == "int8" and len(samples.calibration) < LEAST_CALIBRATION:
        raise ExportError(
            "int8 is calibrated on frames of your line: --calibration DIR with at least "
            f"{len(samples.gate) + LEAST_CALIBRATION} pictures is expected"
        )


def narrow(
    path: Path,
    precision: str,
    original: Original,
    samples: SampleFrames,
    folder: Path,
    *,
    wanted: Tokens,
    report: Report,
) -> Narrowed:
    """Make a network of another precision.

    Parameters
    ----------
    path : Path
        The float32 ONNX file.
    precision : {"fp32", "fp16", "int8"}
    original : Original
        What the result is compared with.
    samples : SampleFrames
    folder : Path
        For the new files.
    wanted : Tokens
        What the original gives for the gate's frames.
    report : callable
        Takes lines of progress.

    Raises
    ------
    ParityError
        If int8, or fp16 with any islands, does not keep to the limits.
    """
    if precision == "fp16":
        return _half(path, original, samples, folder, wanted, report)
    if precision == "int8":
        return _int8(path, original, samples, folder, wanted, report)
    return Narrowed(path)


def _half(
    plain: Path,
    original: Original,
    samples: SampleFrames,
    folder: Path,
    wanted: Tokens,
    report: Report,
) -> Narrowed:
    """Choose the fewest islands that keep to the limits.

    Layers whose values half precision does not hold stay in float32 as well. They are looked for
    only where the result is not finite, since the search takes as long as the comparison.
    """
    model = onnx.load(plain)
    path, simulated = folder / "half.onnx", folder / "simulated.onnx"
    failures: list[str] = []
    wide: Overflows | None = None

    def tried(islands: Islands) -> Parity:
        half = to_half(model, islands, wide=() if wide is None else wide.nodes)
        onnx.save(half, path)
        onnx.save(rounded(half), simulated)
        parity = _parity(simulated, original, samples, wanted)
        report(f"fp16 with {', '.join((islands.name, *beside()))} in float32: {parity}")
        return parity

    def beside() -> tuple[str, ...]:
        return () if wide is None else wide.layers

    for islands in LEVELS:
        parity = tried(islands)
        if not parity.finite and wide is None:
            wide = find_overflows(model, [original.prepare(frame) for frame in samples.gate])
            report(f"values over {LARGE:.0f}, too large for fp16, in {wide}")
            parity = tried(islands)
        failures = parity.failures(LIMITS["fp16"])
        if not failures:
            return Narrowed(path, (islands.name, *beside()), simulated)
    raise ParityError(f"fp16 does not follow float32 with any islands: {'; '.join(failures)}")


def _int8(
    plain: Path,
    original: Original,
    samples: SampleFrames,
    folder: Path,
    wanted: Tokens,
    report: Report,
) -> Narrowed:
    """Calibrate int8 on the calibration frames, and on each a second time with marks on it.

    Frames of a line show few defects, and what lies outside the calibrated ranges is cut off.
    """
    frames = samples.calibration
    with_marks = [marked(frame, seed) for seed, frame in enumerate(frames)]
    inputs = [original.prepare(frame) for frame in (*frames, *with_marks)]
    path = to_int8(plain, inputs, folder)
    parity = _parity(path, original, samples, wanted)
    report(f"int8: {parity}")
    if failures := parity.failures(LIMITS["int8"]):
        raise ParityError(f"int8 does not follow float32: {'; '.join(failures)}")
    return Narrowed(path)


def _parity(path: Path, original: Original, samples: SampleFrames, wanted: Tokens) -> Parity:
    """Compare a network with the original on the gate's frames."""
    return measure_parity(
        wanted,
        network_tokens(path, original, samples.gate),
        names=original.names,
        size=original.size,
        scorer=patch_and_image_scores,
    )
