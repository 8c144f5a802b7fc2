"""The bank on a CUDA device: float16 features, products with float32 sums, minima beside them.

One kernel multiplies and takes the minima; docs/gpu.md says why cuBLAS does not multiply.

A bank in float16 halves memory and its traffic. Against the exact form the distances of unit rows
come out some 1e-4 off (docs/algorithms.md); near matches are measured anew from the same rows.
Nothing here waits for the device: all is queued on CuPy's current stream.

A line's window puts the banks of all scales and tiles into one `CudaUnits`
(`zeroline.runtime.line.cuda_store`); here is the bank of one, for sets.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zeroline.runtime.arrays import array_namespace, to_host
from zeroline.runtime.matching.launches import filled
from zeroline.runtime.matching.operand import check_finite
from zeroline.runtime.matching.units import CudaUnits, Marks, Sides


class CudaBank:
    """Features in float16; see `zeroline.runtime.matching.forms`.

    Parameters
    ----------
    slots, patches, channels : int
        W, P, C.
    cupy : module

    Raises
    ------
    DeviceError
        If the device cannot run the kernels.
    """

    def __init__(self, slots: int, patches: int, channels: int, *, cupy: Any) -> None:
        self._units = CudaUnits(slots, [channels], [slice(0, patches)], cupy=cupy)
        self._nothing = cupy.zeros(patches, dtype=cupy.int32)
        self._reachable = cupy.full(slots, 1, dtype=cupy.int32)
        self.block = slots

    @classmethod
    def empty(cls, slots: int, patches: int, channels: int, *, turn: int, xp: Any) -> CudaBank:  # noqa: ARG003
        """Return an empty bank; see `FeatureBank`."""
        return cls(slots, patches, channels, cupy=xp)

    @classmethod
    def patch_bytes(cls, channels: int) -> int:
        """Return the bytes of one patch in a bank."""
        return 2 * filled(channels) + 8

    @classmethod
    def holding(cls, features: Any, ignore: Any) -> CudaBank:
        """Return a bank that holds a set; see `FeatureBank`.

        Raises
        ------
        ScoringError
            For NaN or inf; names the image.
        """
        cupy = array_namespace(features)
        images, patches, channels = features.shape
        bank = cls(images, patches, channels, cupy=cupy)
        nothing = np.zeros((images, patches), bool)
        ignored = nothing if ignore is None else to_host(ignore)
        for image in range(images):
            check_finite(features[image], image=image)
            bank.put(image, features[image], ignored[image])
        return bank

    @property
    def features(self) -> Any:
        """Features (W, P, C), float16, on the device."""
        return self._units.held()[0]

    @property
    def nbytes(self) -> int:
        """Bytes of features, norms and codes."""
        return self._units.nbytes

    def put(self, slot: int, features: Any, ignore: Any) -> None:
        """Write a frame to a slot."""
        self._units.put(slot, self.query(features, ignore))

    def query(self, features: Any, ignore: Any) -> Sides:
        """Prepare a frame for `minima`."""
        marks = self._units.marks(to_host(ignore), np.zeros(self._units.slots, bool))
        return Sides(*self._units.rounded([features]), marks.codes)

    def minima(self, query: Sides, start: int, stop: int, rows: Any, columns: Any) -> None:
        """Match a frame with some slots; see `FeatureBank.minima`."""
        marks = Marks(query.codes, self._nothing, self._reachable[start:stop])
        self._units.match(
            query, marks, rows[None], columns[None], place=slice(start, stop),
        )  # fmt: skip
