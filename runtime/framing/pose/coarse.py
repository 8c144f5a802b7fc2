"""The coarse search: every turn and every place of the taught part, by its edge directions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from zeroline.runtime.framing.pose.field import direction_field, gradients, top
from zeroline.runtime.framing.pose.opencv import opencv
from zeroline.runtime.framing.pose.pixels import Bools, Floats, Grey, shrunk
from zeroline.runtime.framing.pose.rigid import Matrix, enlarged, turned

#: Turns that are tried: every 5 degrees. A pair half a turn apart shares one transform.
TURNS = 72
#: Smoothing before the derivative, in coarse pixels.
SMOOTHING = 0.6


@dataclass(frozen=True)
class Candidate:
    """A turn and place at which edge directions agree.

    Attributes
    ----------
    pose : array, shape (2, 3), float64
        Upright frame → picture, in pixels of the working picture.
    agreement : float
        1 where every direction agrees, 0 by chance.
    """

    pose: Matrix
    agreement: float


class CoarseSearch:
    """The taught part at 72 turns, as spectra.

    With the field z of a picture and the field t of the part, the agreement at a place is
    Σ Re(z·conj(t)) / Σ |t|². A Fourier transform gives it for all places at once. The real parts
    of two turns make one complex transform.

    Parameters
    ----------
    upright : array, shape (n, n), uint8
        The taught part, grey, in the upright frame.
    near : array, shape (n, n), bool
        The pixels that count.
    factor : int
        Working pixels of a coarse pixel.
    shape : tuple of int
        Height and width of the working pictures.

    Notes
    -----
    Ours. Places are those of the part's middle inside the picture. The canvas is larger than the
    picture by the part's radius, so that nothing comes in again on the other side.
    """

    def __init__(self, upright: Grey, near: Bools, *, factor: int, shape: tuple[int, int]) -> None:
        cv2 = opencv()
        self.factor, self._middle = factor, (len(upright) - 1) / 2
        self._places = tuple(max(1, side // factor) for side in shape)
        templates = list(self._templates(upright, near))
        radius = len(templates[0][0][0]) // 2
        self._canvas = tuple(cv2.getOptimalDFTSize(side + radius) for side in self._places)
        self._level = _level(*templates[0])
        fields = [self._field(grey, mask) for grey, mask in templates]
        self._energies = np.array([float((field**2).sum()) or 1.0 for field in fields])
        spectra = [self._spectra(field, radius) for field in fields]
        half = TURNS // 2
        self._pairs = [
            tuple(_pair(a, b) for a, b in zip(spectra[turn], spectra[turn + half], strict=True))
            for turn in range(half)
        ]

    def _templates(self, upright: Grey, near: Bools) -> Iterator[tuple[Grey, Floats]]:
        """Yield the coarse grey values and weights of the part at each turn."""
        cv2 = opencv()
        down, right = np.nonzero(near)
        reach = float(np.hypot(down - self._middle, right - self._middle).max()) + 2
        side = (2 * int(np.ceil(reach / self.factor)) + 1) * self.factor
        there = ((side - 1) / 2,) * 2
        for turn in range(TURNS):
            pose = turned(360 / TURNS * turn, about=(self._middle,) * 2, to=there)
            laid, weight = (
                cv2.warpAffine(plane, pose, (side, side), borderMode=border)
                for plane, border in (
                    (upright, cv2.BORDER_REPLICATE),
                    (np.where(near, np.uint8(255), np.uint8(0)), cv2.BORDER_CONSTANT),
                )
            )
            yield shrunk(laid, self.factor), shrunk(weight, self.factor) / np.float32(255)

    def _field(self, grey: Grey, weight: Floats) -> Floats:
        field = direction_field(*gradients(grey, smoothing=SMOOTHING), level=self._level)
        return field * weight

    def _spectra(self, field: Floats, radius: int) -> list[npt.NDArray[np.complex64]]:
        """Return the transform of each component, the part's middle at the first pixel."""
        height, width = field.shape[1:]
        canvas = np.zeros((2, *self._canvas), np.float32)
        canvas[:, :height, :width] = field
        return [_transform(plane) for plane in np.roll(canvas, (-radius, -radius), axis=(1, 2))]

    def agreements(self, grey: Grey, /) -> npt.NDArray[np.float32]:
        """Return the agreement at every turn and place.

        Parameters
        ----------
        grey : array, shape (h, w), uint8
            The working picture.

        Returns
        -------
        array, shape (72, h // factor, w // factor), float32
        """
        cv2 = opencv()
        height, width = self._places
        coarse = shrunk(grey, self.factor)
        canvas = np.zeros((2, *self._canvas), np.float32)
        canvas[:, :height, :width] = self._field(coarse, np.ones((1, 1), np.float32))
        first, second = (_as_pairs(_transform(plane)) for plane in canvas)
        found = np.empty((2, TURNS // 2, height, width), np.float32)
        flags = cv2.DFT_INVERSE | cv2.DFT_SCALE
        for turn, (of_first, of_second) in enumerate(self._pairs):
            product = cv2.mulSpectrums(first, of_first, 0)
            product += cv2.mulSpectrums(second, of_second, 0)
            back = cv2.dft(product, flags=flags, nonzeroRows=0)
            found[:, turn] = np.moveaxis(back[:height, :width], 2, 0)
        agreements = found.reshape(TURNS, height, width)
        agreements /= self._energies[:, None, None].astype(np.float32)
        return agreements

    def candidates(self, grey: Grey, /, *, most: int) -> list[Candidate]:
        """Return the best place at each turn that is better than its neighbours, best first."""
        agreements = self.agreements(grey)
        places = agreements.reshape(TURNS, -1).argmax(axis=1)
        best = agreements.reshape(TURNS, -1)[np.arange(TURNS), places]
        peak = (best >= np.roll(best, 1)) & (best > np.roll(best, -1))
        turns = [int(turn) for turn in np.argsort(-best, kind="stable") if peak[turn]][:most]
        return [
            Candidate(self._pose(agreements[turn], turn + top(best, turn)), float(best[turn]))
            for turn in turns
        ]

    def _pose(self, agreement: Floats, turn: float) -> Matrix:
        """Return the pose of the best place, between the pixels."""
        down, right = np.unravel_index(agreement.argmax(), agreement.shape)
        x = right + top(agreement[down], int(right))
        y = down + top(agreement[:, right], int(down))
        there = enlarged(self.factor) @ (x, y, 1)
        return turned(
            360 / TURNS * turn, about=(self._middle,) * 2, to=(float(there[0]), float(there[1]))
        )


def _level(grey: Grey, weight: Floats) -> float:
    """Return the field's level: the 75th percentile of gradients on the part."""
    length = np.hypot(*gradients(grey, smoothing=SMOOTHING))[weight > 0.5]
    return max(float(np.percentile(length, 75)) if length.size else 0.0, 1e-3)


def _transform(plane: Floats) -> npt.NDArray[np.complex64]:
    cv2 = opencv()
    pairs = cv2.dft(plane, flags=cv2.DFT_COMPLEX_OUTPUT)
    return np.asarray(pairs[..., 0] + 1j * pairs[..., 1], dtype=np.complex64)


def _pair(spectrum: npt.NDArray[np.complex64], half_turn_on: npt.NDArray[np.complex64]) -> Floats:
    """Join two turns: one agreement becomes the real part, the other the imaginary part."""
    return _as_pairs(np.conj(spectrum) + 1j * np.conj(half_turn_on))


def _as_pairs(spectrum: npt.NDArray[np.complexfloating]) -> Floats:
    return np.ascontiguousarray(np.stack((spectrum.real, spectrum.imag), axis=2), np.float32)
