"""A network that is loaded: what a session is, and the bundle round it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from zeroline.runtime.arrays import Float32, to_host
from zeroline.runtime.errors import BundleError
from zeroline.runtime.frames import Frame
from zeroline.runtime.network.manifest import Manifest
from zeroline.runtime.network.preprocess import prepare
from zeroline.runtime.tokens import Tokens, joined

DEVICES = ("auto", "cpu", "cuda", "tensorrt")

#: Takes lines of progress.
Report = Callable[[str], None]


class Session(Protocol):
    """A loaded network. `run` may be called from several threads."""

    @property
    def device(self) -> str:
        """Where it runs: "cpu", "cuda" or "tensorrt"."""

    @property
    def providers(self) -> tuple[str, ...]:
        """What is really in use, the first one first."""

    @property
    def arrays(self) -> Any:
        """Whose arrays the outputs are, and where they are scored: NumPy, or CuPy on CUDA."""

    @property
    def named(self) -> bool:
        """Whether the device was asked for by its name: then nothing falls back to the CPU."""

    @property
    def inputs(self) -> Mapping[str, tuple[int | None, ...]]:
        """Names and shapes of the inputs; None for a symbolic dimension."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs."""

    def run(self, name: str, images: Float32) -> dict[str, Any]:
        """Feed (B, 3, S, S) images to the input called `name`; outputs by name.

        Images are NumPy's, or those of `arrays`; outputs are those of `arrays`.
        """


Images = Float32


@dataclass(frozen=True)
class Bundle:
    """A checked bundle with its network loaded; made by `load_bundle`.

    It may be shared by threads and by several inspectors.

    Attributes
    ----------
    path : Path
        Its folder.
    manifest : Manifest
        What the folder says of the network.
    session : Session
        The loaded network.
    batch : int or None
        Fixed batch size of the network, None where it takes any.

    Examples
    --------
    >>> import numpy as np
    >>> with load_bundle("tiny") as bundle:
    ...     image = bundle.prepare(np.zeros((48, 64, 3), np.uint8))
    ...     tokens = bundle.embed(image[None])
    >>> image.shape, len(tokens)
    ((3, 320, 320), 1)
    """

    path: Path
    manifest: Manifest
    session: Session
    batch: int | None

    @property
    def name(self) -> str:
        """The manifest's name."""
        return self.manifest.name

    @property
    def size(self) -> int:
        """Side S of the network's input, in pixels."""
        return self.manifest.input.size

    @property
    def batch_size(self) -> int:
        """How many images to embed at once: on a CPU single ones, whose work stays in the cache.

        (Measured with MobileNetV2 at 320 pixels on one core: 15 ms an image one by one, 27 ms
        in batches of eight.)
        """
        self._check_open()
        return self.batch or (1 if self.session.device == "cpu" else 8)

    @property
    def patches(self) -> int:
        """P, the number of patches of an image."""
        return self.manifest.outputs.tokens[0].patches

    @property
    def channels(self) -> tuple[int, ...]:
        """C_l of each layer."""
        return tuple(output.channels for output in self.manifest.outputs.tokens)

    def prepare(self, frame: Frame) -> Images:
        """Turn a uint8 BGR frame into a (3, S, S) float32 input; see `preprocess.prepare`."""
        self._check_open()
        return prepare(frame, self.manifest.input, bundle_name=self.name)

    def embed(self, images: Images) -> Tokens:
        """Run the network on prepared images.

        Parameters
        ----------
        images : array, shape (B, 3, S, S), float32
            As `prepare` gives them, any B ≥ 1; a network with a fixed batch is fed in parts.

        Returns
        -------
        Tokens
            Of the B images. They may hold NaN or inf: `Tokens.finite` tells.

        Raises
        ------
        BundleError
            If the bundle is closed, or the network fails.
        """
        self._check_open()
        spec = self.manifest
        step = self.batch or len(images)
        parts = []
        for start in range(0, len(images), step):
            part = images[start : start + step]
            real = len(part)
            if real < step:  # a fixed batch is filled up with copies of the last image
                part = np.concatenate([part, np.repeat(part[-1:], step - real, axis=0)])
            outputs = self.session.run(spec.input.name, part)
            layers = tuple(outputs[token.name][:real] for token in spec.outputs.tokens)
            parts.append(Tokens(layers, outputs[spec.outputs.class_token.name][:real]))
        return joined(parts)

    def close(self) -> None:
        """Let go of the network; the bundle cannot be used afterwards."""
        object.__setattr__(self, "session", None)

    def _check_open(self) -> None:
        if self.session is None:
            raise BundleError(f'bundle "{self.name}" is closed')

    def __enter__(self) -> Bundle:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def probe_images(size: int, *, batch: int) -> Images:
    """Return plain reproducible noise, shape (batch, 3, size, size), for a probe run."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((batch, 3, size, size), dtype=np.float32)


def fixed_batch(session: Session, name: str, size: int, *, label: str) -> int | None:
    """Return the input's batch size, None where it is free; refuse another shape."""
    if name not in session.inputs:
        raise BundleError(f'{label}: input "{name}" is missing, there is {_listed(session.inputs)}')
    if len(session.inputs) > 1:
        raise BundleError(f"{label}: one input is expected, there are {_listed(session.inputs)}")
    shape = session.inputs[name]
    fits = len(shape) == 4 and all(
        side in (None, wanted) for side, wanted in zip(shape[1:], (3, size, size), strict=True)
    )
    if not fits:
        raise BundleError(
            f'{label}: input "{name}" has shape {_shape(shape)}, (B, 3, {size}, {size}) is expected'
        )
    return shape[0]


def check_network(session: Session, manifest: Manifest, *, label: str) -> int | None:
    """Compare a network's real input and outputs with the manifest, by one probe run.

    Returns
    -------
    int or None
        The fixed batch size, None where the network takes any.
    """
    label = f'bundle "{label}"'
    batch = fixed_batch(session, manifest.input.name, manifest.input.size, label=label)
    images = probe_images(manifest.input.size, batch=batch or 2)
    declared: Sequence[tuple[str, tuple[int, ...]]] = [
        *((t.name, (len(images), t.patches, t.channels)) for t in manifest.outputs.tokens),
        (
            manifest.outputs.class_token.name,
            (len(images), manifest.outputs.class_token.channels),
        ),
    ]
    for name, _ in declared:
        if name not in session.outputs:
            raise BundleError(f'{label}: output "{name}" is missing, there is '
                              f"{_listed(session.outputs)}")  # fmt: skip
    outputs = session.run(manifest.input.name, images)
    for name, expected in declared:
        output = outputs[name]
        if output.shape != expected:
            raise BundleError(
                f'{label}: output "{name}" has shape {_shape(output.shape)}, '
                f"the manifest says {_shape(expected)}"
            )
        if output.dtype != np.float32:
            raise BundleError(f'{label}: output "{name}" is {output.dtype}, float32 is expected')
        check_finite(output, name, label=label)
    check_class_tokens(
        outputs[manifest.outputs.class_token.name],
        unit=manifest.outputs.class_token.unit,
        label=label,
    )
    return batch


def check_finite(output: Float32, name: str, *, label: str) -> None:
    """Refuse an output that holds NaN or inf: no image could be scored by it."""
    wrong = int((~np.isfinite(to_host(output))).sum())
    if wrong:
        raise BundleError(
            f'{label}: output "{name}" holds {wrong} NaN or inf of {output.size} values for plain '
            "noise: the weights may be damaged, or too large for their precision"
        )


def check_class_tokens(class_tokens: Float32, *, unit: bool, label: str) -> None:
    """Refuse class tokens that RsCIN cannot use: not of unit length where `unit`, or zero."""
    length = np.linalg.norm(to_host(class_tokens).astype(np.float64), axis=1)
    if not unit and not length.all():
        raise BundleError(f"{label}: the class token is zero for plain noise")
    if unit and not np.allclose(length, 1, atol=1e-3):
        raise BundleError(
            f"{label}: the class token has length {length[0]:.4g}, 1 is expected: "
            "add an L2 normalisation to the graph"
        )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names) or "none"


def _shape(shape: Sequence[int | None]) -> str:
    return "(" + ", ".join("B" if d is None else str(d) for d in shape) + ")"
