"""Matching on a CUDA device: the kernels' own sources, run on the host by a stand-in for CuPy.

On a machine with a GPU the same tests run on it, with CuPy itself.
"""

import dataclasses
import shutil
import subprocess

import numpy as np
import pytest

from support.literal import literal_distances
from support.machine import has_gpu
from support.windows import kept_window, matched_by
from zeroline.runtime import Tokens, match_distances
from zeroline.runtime.errors import DeviceError
from zeroline.runtime.line.finest import finest_table, patch_distances
from zeroline.runtime.line.inspector import RollingInspector
from zeroline.runtime.line.known import KnownDefect, Recognition
from zeroline.runtime.line.slots import Slot, Slots
from zeroline.runtime.line.tracker import DefectTracker
from zeroline.runtime.matching import launches as cuda_kernels
from zeroline.runtime.matching.forms import FORMS, pick_form
from zeroline.runtime.stages.interval import average_on_device, interval_average
from zeroline.runtime.workers import WorkerPool


def unit_rows(rng, *shape):
    rows = rng.standard_normal(shape) + np.random.default_rng(9).standard_normal(shape[1:])
    return (rows / np.linalg.norm(rows, axis=-1, keepdims=True)).astype(np.float32)


FORM = "fp16-fused"


@pytest.fixture
def form():
    return FORM


def rounded(features):
    """What the device holds, in wider numbers."""
    return features.astype(np.float16).astype(np.float32)


@pytest.mark.parametrize("late", [True, False], ids=["copies late", "copies at once"])
@pytest.mark.parametrize("shape", [(3, 1, 3), (3, 36, 32), (2, 49, 70), (3, 150, 64), (2, 256, 40)])
def test_kernels_find_what_a_plain_search_finds(cupy, form, shape, late, monkeypatch):
    """Tiles that the image fills and does not, channels that fill a step and do not."""
    monkeypatch.setattr(cupy, "copies_land_late", late, raising=False)
    features = unit_rows(np.random.default_rng(0), *shape)
    found = matched_by(form, cupy.asarray(features)).get()
    assert found.dtype == np.float32
    exact = literal_distances(rounded(features))
    np.testing.assert_allclose(found, exact, rtol=2e-4, atol=1e-5)
    there = np.isfinite(exact)
    assert abs(found[there] - literal_distances(features)[there]).mean() < 1e-3


def test_near_copies_are_measured_anew(cupy, form):
    rng = np.random.default_rng(1)
    features = unit_rows(rng, 5, 49, 96)
    features[3] = features[0][::-1]
    features[4] = unit_rows(rng, 1, 49, 96)[0] * 1e-3 + features[0][::-1]
    found = matched_by(form, cupy.asarray(features)).get()
    assert (found[0, :, 3] == 0).all()
    assert (found[3, :, 0] == 0).all()
    exact = literal_distances(rounded(features))
    for one, other in ((0, 4), (4, 0)):
        np.testing.assert_allclose(found[one, :, other], exact[one, :, other], atol=1e-6)


def test_ignored_patches_and_groups(cupy, form):
    rng = np.random.default_rng(2)
    features = rounded(unit_rows(rng, 7, 49, 32))
    ignore = rng.random((7, 49)) < 0.4
    ignore[5] = True
    groups = np.array([0, 0, 1, 2, 3, 4, 4])
    wanted = match_distances(features, ignore=ignore, groups=groups)
    found = matched_by(
        form,
        cupy.asarray(features),
        ignore=cupy.asarray(ignore),
        groups=cupy.asarray(groups),
    ).get()
    np.testing.assert_allclose(found, wanted, rtol=2e-4, atol=1e-5)


def test_a_window_on_the_device_is_the_one_on_the_host(cupy, form):
    rng = np.random.default_rng(3)
    roi = rng.random(49) < 0.8
    counted = int(roi.sum())
    with WorkerPool(1) as pool:
        device = kept_window((4, 49, (40, 20), (1, 3), form, counted), pool, roi=roi, xp=cupy)
        host = kept_window((4, 49, (40, 20), (1, 3), "float32", counted), pool, roi=roi)
        nbytes = device.store.nbytes + device.half_squared.nbytes
        assert device.shape.memory == nbytes < host.shape.memory
        for number in range(7):
            tokens = [rng.standard_normal((49, c)).astype(np.float32) for c in (40, 20)]
            ignored = rng.random(49) < 0.2
            apart = np.arange(4) == (number - 1) % 4
            scores = []
            for window, place in ((device, cupy.asarray), (host, np.asarray)):
                features = window.features_of([place(layer) for layer in tokens])
                matches = window.match(features, ignore=ignored, apart=apart)
                scores.append(window.score(matches, without=[number % 4]))
                window.admit(number % 4, matches)
            assert (scores[0] is None) == (scores[1] is None)
            if scores[0] is not None and scores[1] is not None:
                np.testing.assert_allclose(scores[0], scores[1], rtol=2e-3, atol=1e-4)
        for slot in range(4):
            mine, theirs = device.patch_scores(slot), host.patch_scores(slot)
            assert mine is not None
            assert theirs is not None
            np.testing.assert_allclose(mine, theirs, rtol=2e-3, atol=1e-4)


@pytest.mark.parametrize("form", [FORM, "float32-plain"])
def test_a_line_on_the_device(cupy, form, tmp_path, paint, monkeypatch):
    """Frames to verdicts, copies and a reference set included."""
    for package in ("onnx", "onnxruntime", "pydantic"):
        pytest.importorskip(package)
    from support.small_network import write_bundle
    from zeroline.runtime import load_bundle
    from zeroline.runtime.line import shape

    class OnCuda:
        """A network that is said to run on CUDA."""

        device = "cuda"
        arrays = cupy

        def __init__(self, session):
            self._session = session

        def __getattr__(self, name):
            return getattr(self._session, name)

    write_bundle(tmp_path / "small")
    frames = [paint(seed, scratch=seed == 6) for seed in range(8)]
    frames.insert(4, frames[3])
    lines = {}
    with load_bundle(tmp_path / "small", device="cpu") as host:
        device = dataclasses.replace(host, session=OnCuda(host.session))
        for name, bundle in (("float32", host), (form, device)):
            monkeypatch.setattr(shape, "pick_form", lambda *_, form=name, **__: FORMS[form])
            with RollingInspector(bundle, window=5, min_window=4, degrees=(1,)) as line:
                assert line.shape.form == name
                lines[name] = [line.push(frame) for frame in frames]
                assert line.save_reference(tmp_path / f"{name}.npz").frames == 4  # not the scratch
            with RollingInspector(bundle, window=6, min_window=4, degrees=(1,)) as line:
                assert line.load_reference(tmp_path / f"{name}.npz").frames == 4
                assert line.push(frames[0]).compared_with == 4
    for exact, mine in zip(lines["float32"], lines[form], strict=True):
        assert mine.verdict == exact.verdict
        assert mine.near_duplicate == exact.near_duplicate
        if exact.scores is not None:
            assert mine.scores is not None
            assert mine.scores.score == pytest.approx(exact.scores.score, rel=5e-3)
    assert [n for n, inspection in enumerate(lines[form]) if inspection.near_duplicate] == [4]
    assert lines[form][7].verdict.value == "NG"


def test_recurring_defects_on_the_device(cupy, form):
    """What a known defect needs: ignored patches, a newcomer's distances, a table to search."""
    patches, channels, frames = 16, 32, 5
    places = np.random.default_rng(6).standard_normal((patches, channels))
    defect = 1.5 * np.random.default_rng(7).standard_normal(channels)

    def tokens_of(number):
        rng = np.random.default_rng((8, number))
        rows = places + 0.4 * rng.standard_normal((patches, channels))
        if number % 3 == 0:
            rows[5] = defect + 0.1 * rng.standard_normal(channels)
        return rows.astype(np.float32)

    outcomes, numbers = [], []
    with WorkerPool(1) as pool:
        for name, xp in (("float32", np), (form, cupy)):
            window = kept_window((frames, patches, (channels,), (1,), name), pool, xp=xp)
            slots = Slots(frames)
            tracker = DefectTracker(window, slots, roi=np.ones(patches, bool), wait=True)
            for number in range(frames):
                features = window.features_of([xp.asarray(tokens_of(number))])
                window.admit(number, window.match(features))
                slots.put(number, Slot(number, None, Tokens((), np.zeros((1, 1), np.float32))))
            table = finest_table(window, [3, 0, 4])
            worst = patch_distances(window, [0, 3], [5, 5])
            known = KnownDefect(1, 0, None, one_place=True, relevant=0.0, gap=1.0)
            for slot in (0, 3):
                ignored = tracker.add_member(
                    slot, Recognition(known, np.arange(patches) == 5), confirmed=True
                )
                window.ignore_patches(slot, ignored, reachable=window.filled)
            marks = []
            for number in (6, 7):
                features = window.features_of([xp.asarray(tokens_of(number))])
                recognition = tracker.recognise(
                    window.match(features), place=1, limit=np.zeros(patches)
                )
                marks.append(None if recognition is None else recognition.marks.tolist())
            scores = [window.patch_scores(slot) for slot in range(frames)]
            numbers.append((table, worst, np.stack([row for row in scores if row is not None])))
            outcomes.append((marks, window.ignored.tolist()))
            tracker.close()
    host, device = outcomes
    assert host == device
    found, not_found = device[0]
    assert found is not None
    assert found[5]
    assert not_found is None
    assert np.argwhere(device[1]).tolist() == [[0, 5], [3, 5]]
    for mine, theirs in zip(*numbers, strict=True):
        np.testing.assert_allclose(theirs, mine, rtol=5e-3, atol=2e-3)


def test_the_average_on_the_device(xp):
    rng = np.random.default_rng(4)
    half_squared = rng.random((2, 9, 16), dtype=np.float32)
    half_squared[0, rng.random((9, 16)) < 0.4] = np.inf
    half_squared[:, 3] = np.inf
    half_squared[1, 0] = 0.3
    for low, high in ((0.0, 0.3), (0.3, 0.5), (0.0, 0.01)):
        wanted = np.mean(
            [
                interval_average(np.sqrt(2 * scale).T[None], low=low, high=high)[0]
                for scale in half_squared
            ],
            axis=0,
        )
        found = xp.host(average_on_device(xp.array(half_squared), low=low, high=high))
        np.testing.assert_allclose(found, wanted, atol=1e-6)
    half_squared[0, :, 5] = np.inf
    found = xp.host(average_on_device(xp.array(half_squared), low=0.0, high=0.3))
    assert np.flatnonzero(np.isnan(found)).tolist() == [5]


def test_fast_is_measured_on_the_device(cupy):
    def picked(matching):
        return pick_form(matching, patches=16, channels=(8,), xp=cupy).name

    assert picked("fast") in (FORM, "float32-plain")
    assert picked("exact") == "float32-plain"


def test_an_older_device_is_refused(cupy, monkeypatch):
    if has_gpu():
        return
    monkeypatch.setattr(
        cupy.cuda.runtime, "getDeviceProperties",
        lambda _: {"major": 7, "minor": 2, "l2CacheSize": 1},
    )  # fmt: skip
    with pytest.raises(DeviceError, match=r"need compute capability 8\.0, found 7\.2"):
        FORMS["fp16-fused"].bank.empty(2, 16, 8, turn=0, xp=cupy)


@pytest.mark.parametrize("architecture", ["sm_80", "sm_86", "sm_87", "sm_89", "sm_90", "sm_120"])
def test_kernels_compile_without_spilling(architecture, tmp_path):
    """Registers of each kernel, and none spilt: two blocks of 256 threads fit a multiprocessor."""
    if shutil.which("nvcc") is None:
        pytest.skip("nvcc is not here")
    source = tmp_path / "matching.cu"
    source.write_text(cuda_kernels.kernel_source(), encoding="utf-8")
    command = ["nvcc", f"-arch={architecture}", "-cubin", "-Xptxas", "-v", "-o"]
    done = subprocess.run(
        [*command, str(tmp_path / "matching.cubin"), str(source)],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    used = [int(line.split("Used ")[1].split()[0]) for line in lines if "Used " in line]
    assert len(used) == 6
    assert max(used) <= 128
    spilt = [line for line in lines if "spill" in line]
    assert len(spilt) == 6
    assert all("0 bytes spill stores, 0 bytes spill loads" in line for line in spilt)
