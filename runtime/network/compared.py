"""Whether a network does on a device what its ONNX file does on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zeroline.runtime.errors import MissingExtraError, ParityError
from zeroline.runtime.network.drawn import Drawn, drawn_images, read_drawn, tokens_one_by_one
from zeroline.runtime.network.manifest import Manifest
from zeroline.runtime.network.model import Bundle, Images, Report, Session
from zeroline.runtime.network.onnxruntime import OnnxRuntimeSession
from zeroline.runtime.network.parity import LIMITS, Parity, Scorer, measure_parity, worst
from zeroline.runtime.tokens import Tokens, joined


@dataclass(frozen=True)
class _FromOnnx:
    """All tokens of the drawn frames, by the ONNX file on the CPU."""

    tokens: Tokens
    manifest: Manifest
    scorer: Scorer
    original = "its ONNX file on the CPU"

    def parity(self, actual: Tokens, which: list[int]) -> Parity:
        """Compare tokens of some of the frames with these."""
        outputs = self.manifest.outputs
        return measure_parity(
            self.tokens.select(which),
            actual,
            names=(*(t.name for t in outputs.tokens), outputs.class_token.name),
            size=self.manifest.input.size,
            scorer=self.scorer,
        )


@dataclass(frozen=True)
class _FromBundle:
    """Class tokens and scores of the drawn frames, as the export wrote them into the bundle."""

    drawn: Drawn
    manifest: Manifest
    scorer: Scorer
    original = "what the bundle says of drawn frames"

    def parity(self, actual: Tokens, which: list[int]) -> Parity:
        """Compare tokens of some of the frames with these."""
        name, size = self.manifest.outputs.class_token.name, self.manifest.input.size
        return self.drawn.select(which).parity(actual, name=name, size=size, scorer=self.scorer)


def compare(
    session: Session,
    folder: Path,
    manifest: Manifest,
    *,
    label: str,
    report: Report,
    scorer: Scorer,
    batches: Sequence[int] = (),
) -> Parity | None:
    """Compare a network on a device with its ONNX file on the CPU, over drawn frames.

    Where onnxruntime is not installed, it is compared with what the bundle says of the frames.

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
    batches : sequence of int
        How many images to feed at once, each in its turn; single ones when not given.

    Returns
    -------
    Parity or None
        The worst of all batches. None where there is nothing to compare with; this is reported.

    Raises
    ------
    ParityError
        If it differs by more than the limits of the bundle's precision.
    """
    bundle = _bundle(folder, manifest, session)
    images = drawn_images(bundle)
    wanted = _wanted(folder, manifest, images, scorer)
    if wanted is None:
        report(
            f"onnxruntime is not installed, and the bundle does not say what it gives for drawn "
            f"frames: {label} is not compared with its ONNX file. Install onnxruntime, or export "
            "it anew"
        )
        return None
    found = []
    for batch in sorted(set(batches)) or [1]:
        about = f" ({batch} image{'s' * (batch > 1)} at a time)" if batches else ""
        parity = _parity(bundle, images, batch, wanted)
        if failures := parity.failures(LIMITS[manifest.precision]):
            raise ParityError(
                f'{label} of bundle "{manifest.name}"{about} does not follow {wanted.original}: '
                f"{'; '.join(failures)}"
            )
        report(f"{label}{about} against {wanted.original}: {parity}")
        found.append(parity)
    return worst(found)


def _bundle(folder: Path, manifest: Manifest, session: Session) -> Bundle:
    return Bundle(folder, manifest, session, session.inputs[manifest.input.name][0])


def _parity(bundle: Bundle, images: Images, batch: int, wanted: _FromOnnx | _FromBundle) -> Parity:
    """Feed the images in turn, so many at a time, until each was fed; the worst of all rows."""
    count = len(images)
    fed = [number % count for number in range(-(-count // batch) * batch)]
    tokens = joined(
        bundle.embed(images[fed[start : start + batch]]) for start in range(0, len(fed), batch)
    )
    # any `count` rows that follow each other are all the images once
    starts = sorted({*range(0, len(fed) - count, count), len(fed) - count})
    return worst(
        [
            wanted.parity(tokens.select(slice(start, start + count)), fed[start : start + count])
            for start in starts
        ]
    )


def _wanted(
    folder: Path, manifest: Manifest, images: Images, scorer: Scorer
) -> _FromOnnx | _FromBundle | None:
    try:
        original = OnnxRuntimeSession(folder / manifest.model, device="cpu")
    except MissingExtraError:
        drawn = read_drawn(folder, manifest)
        return None if drawn is None else _FromBundle(drawn, manifest, scorer)
    tokens = tokens_one_by_one(_bundle(folder, manifest, original), images)
    return _FromOnnx(tokens, manifest, scorer)
