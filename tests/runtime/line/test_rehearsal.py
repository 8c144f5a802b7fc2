"""The first frame on a device waits for no compiler: all that it calls was called before."""

from typing import Any

import pytest

from zeroline.runtime import RollingInspector, load_bundle
from zeroline.runtime.line import shape
from zeroline.runtime.matching.forms import FORMS


@pytest.fixture
def cupy(hosted_cuda):
    return hosted_cuda[1]


@pytest.mark.parametrize("form", ["float32-plain", "fp16-fused"])
def test_the_first_frames_call_nothing_new(cupy, bundle_folder, paint, monkeypatch, form):
    """CuPy compiles a kernel for each function and types: 10 to 60 s within the first frame."""
    called = set()
    usual, find = cupy.ndarray.__array_ufunc__, cupy.__getattr__

    def noting(self, ufunc, method, *inputs, **options):
        kinds = tuple(str(getattr(value, "dtype", type(value))) for value in inputs)
        called.add((ufunc.__name__, method, kinds))
        return usual(self, ufunc, method, *inputs, **options)

    def noting_name(name):
        called.add(name)
        return find(name)

    monkeypatch.setattr(cupy.ndarray, "__array_ufunc__", noting)
    monkeypatch.setattr(cupy, "__getattr__", noting_name)
    monkeypatch.setattr(shape, "pick_form", lambda *_, **__: FORMS[form])
    bundle = load_bundle(bundle_folder, device="cuda", report=lambda _: None)
    options: dict[str, Any] = {"window": 3, "min_window": 2, "degrees": (1,)}
    with RollingInspector(bundle, **options) as inspector:
        assert inspector.frame_ids == []
        rehearsed = set(called)
        called.clear()
        for number in range(4):
            assert inspector.push(paint(number)).frame_id == number
        assert len(called) > 5
        assert called - rehearsed == set()
