"""The forms of matching: what a feature bank is, the table of all forms, and which is the quickest.

A feature bank holds the features of W frames of one layer and degree; a new frame is matched with
all of them at once. A line's window and a set stand on the same banks. Users choose between two
words: "exact" finds every neighbour by float32 products; "fast" takes the quickest form on this
machine, by a short measurement, and that may be the exact one.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

from zeroline.runtime.arrays import Bools, to_host
from zeroline.runtime.compiled import compiled_loops
from zeroline.runtime.cuda import device_errors
from zeroline.runtime.errors import DeviceError, ProviderWarning, ScoringError
from zeroline.runtime.matching.cuda import CudaBank
from zeroline.runtime.matching.exact import ExactBank
from zeroline.runtime.matching.operand import tile_shape
from zeroline.runtime.matching.plain import PlainBank
from zeroline.runtime.matching.screened import Int8Bank, PcaBank
from zeroline.runtime.matching.screens import MOST_PATCHES
from zeroline.runtime.workers import single_threaded_blas


class FeatureBank(Protocol):
    """W slots of P patches with C channels.

    Attributes
    ----------
    block : int
        Slots that one call of `minima` should take, for its tile to stay in the cache.
    """

    block: int

    @classmethod
    def empty(cls, slots: int, patches: int, channels: int, *, turn: int, xp: Any) -> FeatureBank:
        """Return an empty bank on the device of `xp`.

        `turn`: where among W admissions a bank renews what it fits to its frames, so that banks
        take turns.
        """

    @classmethod
    def holding(cls, features: Any, ignore: Any) -> FeatureBank:
        """Return a bank that holds a set: features (N, P, C), and `ignore` (N, P) or None."""

    @classmethod
    def patch_bytes(cls, channels: int) -> int:
        """Return the bytes of one patch in a bank."""

    @property
    def features(self) -> Any:
        """Unit rows (W, P, C), float32 or float16; zeros in a slot that was never filled."""

    @property
    def nbytes(self) -> int:
        """Bytes of the large arrays; `MatchingForm.bank_bytes` tells them in advance."""

    def put(self, slot: int, features: Any, ignore: Bools) -> None:
        """Write a frame's features (P, C) to a slot; `ignore` (P,): patches nobody may match."""

    def query(self, features: Any, ignore: Bools) -> Any:
        """Prepare a new frame's features (P, C) for `minima`."""

    def minima(self, query: Any, start: int, stop: int, rows: Any, columns: Any) -> None:
        """Match a new frame with the slots from `start` to `stop`.

        Writes to `rows` (slots, P) ½‖x - y‖² from each patch x of the frame to its best match y
        in each slot, and to `columns` (slots, P) the same from each patch of each slot to the
        frame. `IGNORED` or more stands where all patches of the other frame are ignored.
        """


#: What `matching` may be.
MATCHING = ("exact", "fast")


def _has_loops() -> bool:
    return compiled_loops() is not None


def _has_integer_product() -> bool:
    return _has_loops() and find_spec("onnxruntime") is not None


@dataclass(frozen=True)
class MatchingForm:
    """One way to find neighbours.

    Attributes
    ----------
    name : str
        What results and reports call it.
    bank : type of FeatureBank
        Who makes its banks, and tells their bytes.
    devices : tuple of {"cpu", "cuda"}
        Where it runs.
    exact : bool
        Whether every neighbour is the true one.
    available : callable
        Tells whether what it needs is installed.
    most_patches : int or None
        Largest P; None: any.
    """

    name: str
    bank: type[FeatureBank]
    devices: tuple[str, ...]
    exact: bool = False
    available: Callable[[], bool] = lambda: True
    most_patches: int | None = MOST_PATCHES

    def bank_bytes(self, slots: int, patches: int, channels: int) -> int:
        """Return the bytes that a bank holds: features, and what the product takes."""
        return slots * patches * self.bank.patch_bytes(channels)

    def serves(self, device: str, patches: int) -> bool:
        """Tell whether it can be used on a device, for P patches."""
        fits = self.most_patches is None or patches <= self.most_patches
        return device in self.devices and fits and self.available()


#: All forms, by name; exact ones of a device in the order of preference.
FORMS = {
    form.name: form
    for form in (
        MatchingForm("float32", ExactBank, ("cpu",), True, _has_loops, None),
        MatchingForm("float32-plain", PlainBank, ("cpu", "cuda"), True, most_patches=None),
        MatchingForm("pca", PcaBank, ("cpu",), available=_has_loops),
        MatchingForm("int8", Int8Bank, ("cpu",), available=_has_integer_product),
        MatchingForm("fp16-fused", CudaBank, ("cuda",)),
    )
}


def exact_form(device: str) -> MatchingForm:
    """Return the exact form of a device, "cpu" or "cuda"."""
    return next(form for form in FORMS.values() if form.exact and form.serves(device, 1))


def fast_forms(device: str, patches: int) -> list[MatchingForm]:
    """Return the forms that may be quicker than the exact one there."""
    return [form for form in FORMS.values() if not form.exact and form.serves(device, patches)]


def check_matching(matching: str) -> None:
    """Refuse another word than "exact" and "fast".

    Raises
    ------
    ScoringError
    """
    if matching not in MATCHING:
        raise ScoringError(f'matching is "{matching}", allowed: {", ".join(MATCHING)}')


#: Another form must take less than this part of the exact one's time to be picked.
WORTHWHILE = 0.8
#: Slots of a measurement on CUDA: enough to fill a device.
_CUDA_SLOTS = 16


def pick_form(
    matching: str, /, *, patches: int, channels: tuple[int, ...], xp: Any = np
) -> MatchingForm:
    """Return the form of matching to use.

    Parameters
    ----------
    matching : {"exact", "fast"}
        "fast": the quickest form, where it takes less than 0.8 of the exact one's time.
    patches : int
        P.
    channels : tuple of int
        Of each layer.
    xp : module
        NumPy or CuPy: where the features lie.

    Returns
    -------
    MatchingForm

    Raises
    ------
    ScoringError
        For another word.
    DeviceError
        If the exact form cannot be used on the device.

    Notes
    -----
    A form that a device cannot run, or runs wrongly, is left out, with a `ProviderWarning`.
    Measured with drawn features on one thread, once in a process for each shape: a tenth of a
    second or so. Two runs may pick differently where two forms take about the same time.
    """
    check_matching(matching)
    device = "cpu" if xp is np else "cuda"
    exact = exact_form(device)
    others = fast_forms(device, patches) if matching == "fast" else []
    if xp is not np:
        others = _without_broken(others, xp)
    if not others:
        return exact
    seconds = {form.name: match_seconds(form.name, patches, channels, xp) for form in others}
    quickest = min(seconds, key=lambda name: seconds[name])
    limit = WORTHWHILE * match_seconds(exact.name, patches, channels, xp)
    return FORMS[quickest] if seconds[quickest] < limit else exact


def _without_broken(forms: list[MatchingForm], xp: Any) -> list[MatchingForm]:
    """Return the forms that a device runs rightly; one line names the others, and why."""
    troubles = {form.name: form_trouble(form.name, xp) for form in forms}
    broken = {name: trouble for name, trouble in troubles.items() if trouble is not None}
    if broken:
        reasons = "; ".join(dict.fromkeys(broken.values()))
        warnings.warn(
            f"matching on CUDA without {', '.join(broken)}: {reasons}",
            ProviderWarning,
            stacklevel=3,
        )
    return [form for form in forms if form.name not in broken]


#: Frames, patches and channels of a trial, and how far ½d² may be off.
_TRIAL, _TRIAL_ERROR = (3, 9, 32), 5e-3


@lru_cache(maxsize=64)
def form_trouble(form: str, xp: Any) -> str | None:
    """Match a few drawn frames on a device, and say what is wrong; None: nothing is.

    Parameters
    ----------
    form : str
    xp : module
        CuPy.
    """
    frames, patches, channels = _TRIAL
    drawn = np.random.default_rng(0).standard_normal(_TRIAL, dtype=np.float32)
    drawn /= np.linalg.norm(drawn, axis=2, keepdims=True)
    nothing, slots = np.zeros(patches, bool), frames - 1

    def matched(name: str, library: Any) -> tuple[Any, Any]:
        bank = FORMS[name].bank.empty(slots, patches, channels, turn=0, xp=library)
        for slot in range(slots):
            bank.put(slot, library.asarray(drawn[slot]), nothing)
        rows, columns = (library.empty((slots, patches), np.float32) for _ in range(2))
        bank.minima(bank.query(library.asarray(drawn[slots]), nothing), 0, slots, rows, columns)
        return to_host(rows), to_host(columns)

    try:
        with device_errors(f"{form} fails"):
            found = matched(form, xp)
    except DeviceError as error:
        return str(error)
    wanted = matched("float32-plain", np)
    off = max(float(abs(a - b).max()) for a, b in zip(found, wanted, strict=True))
    return None if off < _TRIAL_ERROR else f"{form} is off by {off:.2g} in half a squared distance"


@lru_cache(maxsize=64)
def match_seconds(form: str, patches: int, channels: tuple[int, ...], xp: Any) -> float:
    """Return the seconds that one frame and one slot take on one thread, all layers together."""
    on_device = nullcontext() if xp is np else device_errors(f"matching by {form} fails")
    with on_device, single_threaded_blas():
        return sum(_layer_seconds(form, patches, count, xp) for count in channels)


def _layer_seconds(form: str, patches: int, channels: int, xp: Any) -> float:
    slots = tile_shape(patches)[1] if xp is np else _CUDA_SLOTS
    nothing = np.zeros(patches, bool)
    rng = np.random.default_rng(0)
    bank = FORMS[form].bank.empty(slots, patches, channels, turn=0, xp=xp)
    drawn = rng.standard_normal((slots + 1, patches, channels), dtype=np.float32)
    drawn /= np.linalg.norm(drawn, axis=2, keepdims=True)
    features = xp.asarray(drawn)
    for slot in range(slots):
        bank.put(slot, features[slot], nothing)
    rows, columns = (xp.empty((slots, patches), np.float32) for _ in range(2))
    query = bank.query(features[slots], nothing)  # once for a whole window: not counted
    laps = []
    for _ in range(4):
        began = time.perf_counter()
        bank.minima(query, 0, slots, rows, columns)
        to_host(columns[:1, :1])  # waits for the device
        laps.append(time.perf_counter() - began)
    return min(laps[1:]) / slots
