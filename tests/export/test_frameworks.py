"""Frameworks that are missing, or do not fit each other: one line says the cure."""

import sys

import pytest

from zeroline.export.errors import ExportError
from zeroline.export.frameworks import framework
from zeroline.runtime.errors import MissingExtraError

CPU = "https://download.pytorch.org/whl/cpu"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Write modules that shall be found first."""
    monkeypatch.syspath_prepend(tmp_path)

    def written(**sources):
        for name, source in sources.items():
            monkeypatch.delitem(sys.modules, name, raising=False)
            (tmp_path / f"{name}.py").write_text(source)

    yield written
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.mark.parametrize("name", ["open_clip", "timm"])
@pytest.mark.parametrize(
    "trouble",
    [
        'RuntimeError("operator torchvision::nms does not exist")',
        'OSError("libcudart.so.13: cannot open shared object file")',
        "ImportError(\"cannot import name 'is_compiling' from 'torch.compiler'\")",
    ],
)
def test_a_torchvision_that_does_not_fit_torch_is_one_line(install, name, trouble):
    """A CUDA torchvision beside a CPU torch ended every call with a traceback of 40 lines."""
    install(
        torch='__version__ = "2.13.0+cpu"',
        torchvision=f"raise {trouble}",
        **{name: "import torchvision"},
    )
    with pytest.raises(ExportError) as caught:
        framework(name)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith("torchvision does not fit PyTorch 2.13.0+cpu (")
    assert line.endswith(
        f"): install both from one index, without a GPU by: pip install --force-reinstall "
        f"torch torchvision --index-url {CPU}"
    )


def test_what_is_not_torchvisions_is_not_laid_on_it(install):
    install(torch='__version__ = "2.13.0"', timm='raise RuntimeError("of its own")')
    with pytest.raises(RuntimeError, match="of its own"):
        framework("timm")


def test_without_a_framework_the_line_says_what_a_clone_needs(install):
    install(open_clip="import a_package_that_nobody_has")
    with pytest.raises(MissingExtraError) as caught:
        framework("open_clip")
    assert str(caught.value) == (
        "open_clip is not installed and is needed to export a backbone; "
        'in a clone of zeroline: pip install ".[backbones]"'
    )
