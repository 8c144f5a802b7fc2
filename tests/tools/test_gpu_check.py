"""The check for machines with a GPU: it must be able to fail. By CuPy's stand-in."""

import importlib
import importlib.util
import os
import subprocess
import sys

import pytest

from support.machine import ROOT, has_gpu

SCRIPT = ROOT / "benchmarks" / "gpu_check.py"


@pytest.fixture
def check(monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # as it sets itself
    spec = importlib.util.spec_from_file_location("gpu_check", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def cupy(cupy_stand_in):
    return cupy_stand_in


def test_without_a_gpu_it_ends_with_1_and_one_line(tmp_path):
    (tmp_path / "cupy.py").write_text("raise ImportError('libcuda.so.1: not found')")
    path = os.pathsep.join([str(tmp_path), str(ROOT / "src")])
    done = subprocess.run(
        [sys.executable, SCRIPT], check=False, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": path, "CUPY_CACHE_DIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "Error: CuPy is installed and cannot be imported: libcuda.so.1: not found\n"
    )


def test_a_compiler_without_headers_is_no_gpu(cupy, monkeypatch):
    """CuPy's CompileException is a plain Exception: all tests ended in errors."""

    class CompileError(Exception):
        pass

    def failing(_):
        raise CompileError("cuda_fp16.h: no such file")

    assert has_gpu()
    monkeypatch.setattr(cupy, "arange", failing)
    assert not has_gpu()


@pytest.mark.parametrize("wrong", [0.0, 0.5], ids=["right", "wrong"])
def test_wrong_distances_fail(check, cupy, monkeypatch, wrong):
    """An error of 0.5 in a distance, of 0 to 2, once gave the exit code 0."""
    usual = check.matched_by
    monkeypatch.setattr(check, "matched_by", lambda *given: usual(*given) + wrong)
    rows = check.errors(cupy, 16, 8)
    assert len(rows) == len(check.FORMS)
    assert all(row[1].startswith("failed: mean") == bool(wrong) for row in rows)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("def test_right():\n    pass", "1 passed"),
        ("def test_wrong():\n    assert False", "failed: 1 failed"),
        ("", "failed: no tests ran"),
        ("import nothing_of_this_name", "failed: 1 error"),
        (
            "import pytest\ndef test_right():\n    pass\n"
            "def test_cupy():\n    pytest.skip('CuPy with a working GPU is not here')",
            "failed: tests with CuPy were skipped; 1 passed, 1 skipped",
        ),
    ],
)
def test_only_tests_that_ran_and_held_count(check, tmp_path, monkeypatch, content, told):
    """All of these once gave the exit code 0."""
    (tmp_path / "tests" / "runtime").mkdir(parents=True)
    (tmp_path / "tests" / "runtime" / "test_one.py").write_text(content)
    monkeypatch.setattr(check, "ROOT", tmp_path)
    monkeypatch.setattr(check, "TESTS", ("test_one.py",))
    ((_, figure, _),) = check.run_tests(60)
    assert figure.startswith(told)


def test_tests_that_do_not_end_fail(check, tmp_path, monkeypatch):
    (tmp_path / "tests" / "runtime").mkdir(parents=True)
    (tmp_path / "tests" / "runtime" / "test_one.py").write_text("import time\ntime.sleep(60)")
    monkeypatch.setattr(check, "ROOT", tmp_path)
    monkeypatch.setattr(check, "TESTS", ("test_one.py",))
    ((_, figure, _),) = check.run_tests(1)
    assert figure == "failed: not finished"
