"""A CUDA device that fails in the middle of a line: FAULT, told once, nothing wrong after it."""

from typing import Any

import numpy as np
import pytest

from zeroline.edge_app.bench import measure_bundle
from zeroline.runtime import RollingInspector, Verdict, load_bundle
from zeroline.runtime.errors import DeviceError, ScoringError
from zeroline.runtime.line import shape
from zeroline.runtime.matching.forms import FORMS
from zeroline.runtime.matching.launches import MatchingKernels
from zeroline.runtime.results import Reason

WINDOW = 5
ILLEGAL = "cudaErrorIllegalAddress: an illegal memory access was encountered"


@pytest.fixture
def cupy(hosted_cuda):
    return hosted_cuda[1]


@pytest.fixture(params=["fp16-fused", "float32-plain"])
def form(request):
    return request.param


@pytest.fixture
def line(cupy, form, bundle_folder, monkeypatch):
    monkeypatch.setattr(shape, "pick_form", lambda *_, **__: FORMS[form])
    bundle = load_bundle(bundle_folder, device="cuda", report=lambda _: None)
    options: dict[str, Any] = {"window": WINDOW, "min_window": 3, "settle": 2}
    with RollingInspector(bundle, degrees=(1,), warm_up=False, **options) as inspector:
        yield inspector


def check_distances(line):
    """The least distance of two frames is the same both ways; empty places have none."""
    held = np.array(line.window.half_squared.get())
    filled = line._slots.filled
    assert np.isinf(held[:, ~filled]).all()
    assert np.isinf(held[:, :, ~filled]).all()
    places = np.flatnonzero(filled)
    least = held.min(axis=3)[:, places][:, :, places]
    assert np.isinf(np.diagonal(least, axis1=1, axis2=2)).all()
    assert np.isfinite(least).sum() == len(held) * len(places) * (len(places) - 1)
    np.testing.assert_allclose(least, least.transpose(0, 2, 1), rtol=1e-3, atol=1e-5)


def test_too_little_memory_at_each_allocation(cupy, line, paint):
    """One frame is FAULT wherever memory ends. What is held stays true, and the line goes on."""
    numbers = iter(range(10_000))

    def pushed(left=None):
        number = next(numbers)
        cupy.memory.left = left
        inspection = line.push(paint(number))
        asked = 0 if left is None else left - cupy.memory.left
        cupy.memory.left = None
        assert inspection.frame_id == number
        return inspection, asked

    for _ in range(WINDOW + 1):
        assert pushed()[0].verdict is not Verdict.FAULT
    _, asked = pushed(left=10_000)
    searches = failures = 0
    for left in range(0, asked, max(1, asked // 12)):
        inspection, tried = pushed(left)
        if tried <= left:  # what a frame asks for depends on how many patches are near
            continue
        failures += 1
        assert inspection.frame_id not in line.frame_ids or inspection.search_failed
        if inspection.search_failed:  # the last part of a frame: its verdict stands
            searches += 1
            assert "Out of memory" in inspection.search_failed
        else:
            assert (inspection.verdict, inspection.reason) == (Verdict.FAULT, Reason.STATION)
            assert inspection.fault.startswith("the CUDA device failed: Out of memory allocating")
            assert inspection.device_failed == inspection.fault
            again, _ = pushed(0)
            assert again.verdict is Verdict.FAULT
            assert again.device_failed == ""  # told
        assert line.device_lost == ""
        assert len(line.frame_ids) >= WINDOW - 1
        check_distances(line)
        later, _ = pushed()
        assert later.verdict is not Verdict.FAULT
        assert later.admitted
        assert len(line.frame_ids) == WINDOW
        check_distances(line)
    assert failures > 9
    assert searches <= 1
    ids, scores = line.scores()
    assert len(ids) == WINDOW
    assert np.isfinite(scores.scores).all()


@pytest.mark.parametrize("when", ["kernel", "network"])
def test_a_device_that_is_lost(cupy, line, paint, when, monkeypatch):
    """An illegal address spoils all that the process asks later: every further frame is FAULT."""
    for number in range(3):
        assert line.push(paint(number)).verdict is not Verdict.FAULT
    error = cupy.CUDARuntimeError(ILLEGAL)
    if when == "kernel":
        usual = line.window.match

        def spoilt(*arguments, **options):
            monkeypatch.setattr(cupy, "broken", error)
            return usual(*arguments, **options)

        monkeypatch.setattr(line.window, "match", spoilt)
    else:
        monkeypatch.setattr(cupy, "broken", error)
    first = line.push(paint(3))
    assert (first.frame_id, first.verdict, first.reason) == (3, Verdict.FAULT, Reason.STATION)
    assert first.device_failed == first.fault == line.device_lost
    assert first.fault == (
        f"the CUDA device failed: {ILLEGAL}; this process can use it no more: start zeroline again"
    )
    monkeypatch.undo()  # nothing asks it again: what it gave would not be to be trusted
    for number in (4, 5):
        later = line.push(paint(number))
        assert (later.frame_id, later.verdict, later.reason) == (
            number, Verdict.FAULT, Reason.STATION,
        )  # fmt: skip
        assert (later.fault, later.device_failed) == (line.device_lost, "")
    assert line.frame_ids == [0, 1, 2]


def test_a_network_that_fails_with_its_device(cupy, line, paint, monkeypatch):
    """onnxruntime's error says nothing of the device, so it is asked."""
    from zeroline.runtime.errors import BundleError

    def fail(*_):
        raise BundleError("the model failed on 1 image(s): CUDA error 700")

    line.push(paint(0))
    monkeypatch.setattr(type(line._reader._bundle), "embed", fail)
    alone = line.push(paint(1))
    assert (alone.reason, alone.device_failed, line.device_lost) == (Reason.MODEL, "", "")
    monkeypatch.setattr(cupy, "broken", cupy.CUDARuntimeError(ILLEGAL))
    lost = line.push(paint(2))
    assert lost.reason is Reason.STATION
    assert lost.device_failed == line.device_lost != ""


def test_other_errors_are_not_the_devices(line, paint, monkeypatch):
    """A wrong argument and a fault of ours are raised, as on the CPU."""
    line.push(paint(0))
    with pytest.raises(ScoringError, match="ignore has shape"):
        line.push(paint(1), ignore=np.zeros(3, bool))

    def fail(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(line.window, "match", fail)
    with pytest.raises(ZeroDivisionError):
        line.push(paint(1))
    assert line.device_lost == ""


def test_what_is_not_a_frame_says_so_too(cupy, line, paint, tmp_path, bundle_folder, monkeypatch):
    for number in range(WINDOW):
        line.push(paint(number))
    monkeypatch.setattr(cupy, "broken", cupy.CUDARuntimeError(ILLEGAL))
    for work in (line.scores, lambda: line.save_reference(tmp_path / "set.npz")):
        with pytest.raises(DeviceError, match=r"^the CUDA device failed: cudaErrorIllegalAddress"):
            work()
    assert not (tmp_path / "set.npz").exists()
    monkeypatch.undo()


def test_a_rehearsal_that_fails(cupy, bundle_folder, monkeypatch):
    """Drawn frames that are FAULT: the line would begin with kernels that do not run."""
    bundle = load_bundle(bundle_folder, device="cuda", report=lambda _: None)
    monkeypatch.setattr(shape, "pick_form", lambda *_, **__: FORMS["fp16-fused"])

    def fail(*_, **__):
        raise cupy.CUDARuntimeError(ILLEGAL)

    monkeypatch.setattr(MatchingKernels, "measure", fail)
    with pytest.raises(DeviceError, match=r"^the CUDA device failed: cudaErrorIllegalAddress"):
        RollingInspector(bundle, window=WINDOW, min_window=3)


def test_nothing_is_measured_of_a_device_that_fails(cupy, bundle_folder, paint, monkeypatch):
    bundle = load_bundle(bundle_folder, device="cuda", report=lambda _: None)
    usual, frames = RollingInspector.push, [paint(number) for number in range(6)]

    def push(line, frame):
        cupy.memory.left = 0 if frame is frames[4] else None
        return usual(line, frame)

    monkeypatch.setattr(RollingInspector, "push", push)
    with pytest.raises(DeviceError, match=r"^nothing is measured: the CUDA device failed: Out of"):
        measure_bundle(bundle, frames, window=3, degrees=(1,), threads=1)
    cupy.memory.left = None


def test_a_start_that_fails(cupy, bundle_folder, monkeypatch):
    bundle = load_bundle(bundle_folder, device="cuda", report=lambda _: None)
    monkeypatch.setattr(shape, "pick_form", lambda *_, **__: FORMS["fp16-fused"])
    cupy.memory.left = 2
    with pytest.raises(
        DeviceError, match=r"^a line cannot start on the CUDA device: Out of memory"
    ):
        RollingInspector(bundle, window=WINDOW, min_window=3)
    cupy.memory.left = None
