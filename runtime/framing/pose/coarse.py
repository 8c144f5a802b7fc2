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
#: Places of a turn that go on, and how far they are apart, in coarse pixels.
PLACES, APART = 3, 2
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
        fields, self._level = turned_fields(upright, near, factor=factor)
        radius = fields.shape[-1] // 2
        self._canvas = tuple(
            cv2.getOptimalDFTSize(max(side + radius, 2 * radius + 1)) for side in self._places
        )
        self._energies = np.maximum((fields**2).sum(axis=(1, 2, 3)), np.float32(1e-6))
        half = TURNS // 2
        self._pairs = [
            tuple(map(_pair, self._spectra(field), self._spectra(half_turn_on)))
            for field, half_turn_on in zip(fields[:half], fields[half:], strict=True)
        ]

    def _spectra(self, field: Floats) -> list[npt.NDArray[np.complex64]]:
        """Return the transform of each component, the part's middle at the first pixel."""
        side = field.shape[-1]
        canvas = np.zeros((2, *self._canvas), np.float32)
        canvas[:, :side, :side] = field
        middle_first = np.roll(canvas, (-(side // 2), -(side // 2)), axis=(1, 2))
        return [_transform(plane) for plane in middle_first]

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
        canvas[:, :height, :width] = coarse_field(coarse, level=self._level)
        first, second = (_as_pairs(_transform(plane)) for plane in canvas)
        found = np.empty((2, TURNS // 2, height, width), np.float32)
        flags = cv2.DFT_INVERSE | cv2.DFT_SCALE
        for turn, (of_first, of_second) in enumerate(self._pairs):
            product = cv2.mulSpectrums(first, of_first, 0)
            product += cv2.mulSpectrums(second, of_second, 0)
            back = cv2.dft(product, flags=flags, nonzeroRows=0)
            for part in (0, 1):
                found[part, turn] = cv2.extractChannel(back, part)[:height, :width]
        agreements = found.reshape(TURNS, height, width)
        agreements /= self._energies[:, None, None]
        return agreements

    def candidates(self, grey: Grey, /, *, most: int) -> list[Candidate]:
        """Return the best places, at turns that are better than their neighbours, best first.

        A turn has several places: a row of pins agrees with itself one pin further too.
        """
        agreements = self.agreements(grey)
        best = agreements.max(axis=(1, 2))
        peak = (best >= np.roll(best, 1)) & (best > np.roll(best, -1))
        turns = [int(turn) for turn in np.argsort(-best, kind="stable") if peak[turn]][:most]
        found = [
            Candidate(self._pose(agreements[turn], place, turn + top(best, turn)), agreement)
            for turn in turns
            for place, agreement in _places(agreements[turn], most=PLACES)
        ]
        return sorted(found, key=lambda candidate: -candidate.agreement)[:most]

    def _pose(self, agreement: Floats, place: tuple[int, int], turn: float) -> Matrix:
        """Return the pose at a place and a turn, between the pixels."""
        down, right = place
        x = right + top(agreement[down], right)
        y = down + top(agreement[:, right], down)
        there = enlarged(self.factor) @ (x, y, 1)
        return turned(
            360 / TURNS * turn, about=(self._middle,) * 2, to=(float(there[0]), float(there[1]))
        )


def _places(agreement: Floats, *, most: int) -> Iterator[tuple[tuple[int, int], float]]:
    """Yield the best places and their agreement, each apart from those before."""
    left = agreement.copy()
    for _ in range(most):
        down, right = divmod(int(left.argmax()), left.shape[1])
        yield (down, right), float(agreement[down, right])
        left[
            max(0, down - APART) : down + APART + 1, max(0, right - APART) : right + APART + 1
        ] = -1


def turned_fields(upright: Grey, near: Bools, /, *, factor: int) -> tuple[Floats, float]:
    """Return the field of the part at each turn, and its level.

    Parameters
    ----------
    upright : array, shape (n, n), uint8
        Grey values.
    near : array, shape (n, n), bool
        The pixels that count, at least one.
    factor : int
        Working pixels of a coarse pixel.

    Returns
    -------
    fields : array, shape (72, 2, s, s), float32
        s is odd; the part's middle is the middle pixel.
    level : float
        The 75th percentile of coarse gradients on the part.
    """
    middle = (len(upright) - 1) / 2
    down, right = np.nonzero(near)
    reach = float(np.hypot(down - middle, right - middle).max()) + 2
    side = (2 * int(np.ceil(reach / factor)) + 1) * factor
    there = ((side - 1) / 2,) * 2
    poses = [turned(360 / TURNS * turn, about=(middle,) * 2, to=there) for turn in range(TURNS)]
    weight = np.where(near, np.uint8(255), np.uint8(0))
    turns = [(_laid(upright, pose, side), _laid(weight, pose, side)) for pose in poses]
    coarse = [(shrunk(grey, factor), shrunk(on, factor) / np.float32(255)) for grey, on in turns]
    first, on = coarse[0]
    length = np.hypot(*gradients(first, smoothing=SMOOTHING))[on > 0.5]
    level = max(float(np.percentile(length, 75)) if length.size else 0.0, 1e-3)
    return np.stack([coarse_field(grey, level=level) * on for grey, on in coarse]), level


def coarse_field(grey: Grey, /, *, level: float) -> Floats:
    """Return the field of a coarse picture, shape (2, h, w)."""
    return direction_field(*gradients(grey, smoothing=SMOOTHING), level=level)


def _laid(plane: Grey, pose: Matrix, side: int) -> Grey:
    cv2 = opencv()
    return np.asarray(cv2.warpAffine(plane, pose, (side, side), borderMode=cv2.BORDER_REPLICATE))


def _transform(plane: Floats) -> npt.NDArray[np.complex64]:
    cv2 = opencv()
    pairs = cv2.dft(plane, flags=cv2.DFT_COMPLEX_OUTPUT)
    return np.asarray(pairs[..., 0] + 1j * pairs[..., 1], dtype=np.complex64)


def _pair(spectrum: npt.NDArray[np.complex64], half_turn_on: npt.NDArray[np.complex64]) -> Floats:
    """Join two turns: one agreement becomes the real part, the other the imaginary part."""
    return _as_pairs(np.conj(spectrum) + 1j * np.conj(half_turn_on))


def _as_pairs(spectrum: npt.NDArray[np.complexfloating]) -> Floats:
    return np.ascontiguousarray(np.stack((spectrum.real, spectrum.imag), axis=2), np.float32)
