"""Forms of matching that a device cannot run: left out, and told. By CuPy's stand-in."""

import pytest

from zeroline.runtime.errors import DeviceError, ProviderWarning
from zeroline.runtime.matching.forms import form_trouble, match_seconds, pick_form
from zeroline.runtime.matching.launches import MatchingKernels


def picked(matching, cupy, patches=16):
    return pick_form(matching, patches=patches, channels=(8,), xp=cupy).name


@pytest.fixture
def cupy(cupy_stand_in):
    return cupy_stand_in


def test_a_form_is_tried_first(cupy):
    assert form_trouble("fp16-fused", cupy) is None


def test_an_older_device_matches_exactly(cupy, monkeypatch):
    """On Turing and Xavier this was a DeviceError, in spite of "auto"."""
    turing = {"name": b"T4", "major": 7, "minor": 5, "l2CacheSize": 4 << 20}
    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceProperties", lambda _: turing)
    with pytest.warns(ProviderWarning) as told:
        assert picked("fast", cupy) == "float32-plain"
    assert [str(warning.message) for warning in told] == [
        "matching on CUDA without fp16-fused: the matching kernels need compute capability 8.0, "
        "found 7.5"
    ]
    assert picked("exact", cupy) == "float32-plain"


def test_kernels_that_cannot_be_compiled(cupy, monkeypatch):
    def failing(**_):
        raise RuntimeError("cannot open source file cuda_fp16.h\nand more")

    monkeypatch.setattr(cupy, "RawModule", failing)
    with pytest.warns(ProviderWarning, match=r"cannot be compiled: cannot open .*cuda_fp16\.h$"):
        assert picked("fast", cupy) == "float32-plain"


def test_a_form_that_gives_wrong_distances(cupy, monkeypatch):
    def nothing(_, *given):
        given[-1][...] = given[-2][...] = 0

    monkeypatch.setattr(MatchingKernels, "measure", nothing)
    with pytest.warns(ProviderWarning, match=r"without fp16-fused: fp16-fused is off by .* half"):
        assert picked("fast", cupy) == "float32-plain"


def test_frames_with_too_many_patches_match_exactly(cupy):
    assert picked("fast", cupy, patches=4097) == "float32-plain"


def test_a_failure_on_the_device_is_one_line(cupy, monkeypatch):
    def failing(*_):
        raise RuntimeError("cudaErrorIllegalAddress: an illegal memory access")

    monkeypatch.setattr(cupy.ndarray, "get", failing)
    with pytest.raises(DeviceError, match=r"^matching by float32-plain fails: cudaErrorIll"):
        match_seconds("float32-plain", 16, (8,), cupy)
