"""PyTorch with its vision libraries, for tests: absent ones skip, a misfit is mended.

A torchvision built for CUDA does not import beside a PyTorch built for the CPU, since it cannot
register what it knows of `nms`; a declaration of that operator is all that it lacks.
"""

from __future__ import annotations

from typing import Any

import pytest

_LIBRARIES: list[Any] = []  # a library forgets its operators when it goes


def need_frameworks() -> Any:
    """Return torch, or skip the module that asks."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra backbones)")
    pytest.importorskip("onnxscript", reason="onnxscript is not installed (extra backbones)")
    try:
        import torchvision  # noqa: F401
    except ModuleNotFoundError:
        pytest.skip("torchvision is not installed (extra backbones)", allow_module_level=True)
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _LIBRARIES.append(library)
    torch.set_num_threads(1)  # its threads spin, which another busy program makes very slow
    pytest.importorskip("open_clip", reason="open_clip is not installed (extra backbones)")
    pytest.importorskip("timm", reason="timm is not installed (extra backbones)")
    return torch
