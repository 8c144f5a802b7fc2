"""The check for machines with a GPU: it must be able to fail. By stand-ins for CuPy and CUDA.

Each of the ten assertions holds on the stand-in, and fails with a fault put into what it looks at.
"""

import json
import os
import re
import subprocess
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
from benchmarks.gpu_check import __main__ as check
from benchmarks.gpu_check import calls, numerical, processes, rates, sanitizer
from benchmarks.gpu_check.findings import Findings
from benchmarks.gpu_check.parts import ASSERTIONS, PARTS, Part
from benchmarks.gpu_check.sizes import SMALL

from support.machine import ROOT, STAND_INS, has_gpu
from zeroline.runtime import RollingInspector, cuda
from zeroline.runtime.line import shape
from zeroline.runtime.line.cuda_store import CudaStore
from zeroline.runtime.matching import units
from zeroline.runtime.matching.forms import FORMS
from zeroline.runtime.matching.launches import MatchingKernels, kernel_source, matching_kernels
from zeroline.runtime.network import onnxruntime as provider

NAMES = [part.name for part in PARTS[:ASSERTIONS]]
HOST = STAND_INS / "cuda_on_host.hpp"


@pytest.fixture
def device(hosted_cuda, monkeypatch):
    """The stand-ins for CuPy and the CUDA provider; our product is quick there."""
    hosted, cupy = hosted_cuda
    monkeypatch.setitem(cupy.pace, "fused_keys", 1e-3)
    monkeypatch.setattr(rates, "run", lambda *_, **__: started(0.5))
    monkeypatch.setattr(sanitizer, "program", lambda: None)
    monkeypatch.setattr(shape, "pick_form", form_of)
    monkeypatch.setenv("PYTHONPATH", str(STAND_INS))
    return SimpleNamespace(cupy=cupy, hosted=hosted)


def form_of(*_, xp, **__):
    return FORMS["float32" if xp is np else "fp16-fused"]


def started(seconds):
    return subprocess.CompletedProcess([], 0, json.dumps({"seconds": seconds}), "")


def run(device, name):
    """Run a part here; what it raises is a failure, as it is in a process of its own."""
    part = next(part for part in PARTS if part.name == name)
    try:
        return processes.run_here(part, SMALL, device.cupy)
    except Exception as error:  # noqa: BLE001
        return Findings(failures=[f"{type(error).__name__}: {error}"])


def other_kernel(device, monkeypatch, there, broken):
    """Put a fault into the kernels' source."""
    host = kernel_source(HOST.read_text())
    assert host.count(there) == 1
    module = device.cupy.RawModule.of_source(host.replace(there, broken))
    kernels = matching_kernels(device.cupy)
    for name in kernels.by_name:
        monkeypatch.setitem(kernels.by_name, name, module.get_function(name))


def on_the_cpu(device, monkeypatch):
    device.hosted.absent = True
    return "CUDAExecutionProvider was asked for, CPUExecutionProvider is in use"


def other_tokens(device, monkeypatch):
    usual = provider.OnnxRuntimeSession.run

    def scaled(self, *arguments):
        factor = np.float32(1.01 if self.device == "cuda" else 1)
        outputs = usual(self, *arguments)
        return {
            name: outputs[name] * factor if "tokens" in name else outputs[name] for name in outputs
        }

    monkeypatch.setattr(provider.OnnxRuntimeSession, "run", scaled)
    monkeypatch.setattr("zeroline.runtime.network.provider.check_cuda", lambda *_, **__: None)
    return "off the CPU's, in its rms"


def too_many_registers(device, monkeypatch):
    monkeypatch.setattr(device.cupy._Function, "num_regs", 129)
    return "registers of fused_keys: 129"


def spills(device, monkeypatch):
    monkeypatch.setattr(device.cupy._Function, "local_size_bytes", 8)
    return "fused_keys spills: 8 bytes"


def one_block(device, monkeypatch):
    monkeypatch.setattr(device.cupy, "occupancy", 1)
    return "blocks of fused_keys on a multiprocessor: 1"


def hidden_patches_are_matched(device, monkeypatch):
    there = "order_key(value, mask, code));\n          least = min"
    other_kernel(device, monkeypatch, there, there.replace("code)", "code & ~IGNORED)"))
    return "a hidden patch is matched"


def a_column_is_left_out(device, monkeypatch):
    there = "int code = column < patches ? bank_codes"
    other_kernel(device, monkeypatch, there, there.replace("patches", "patches && column != 5"))
    return "of what is allowed"


def norms_are_too_long(device, monkeypatch):
    there = "read_late(half_mine + row) + margin"
    other_kernel(device, monkeypatch, there, there.replace("+ margin", "* 1.02f + margin"))
    return "off a plain search there"


def near_ones_stay(device, monkeypatch):
    monkeypatch.setattr(units, "NEAR", 0.0)
    return "a copy is at"


def a_barrier_is_missing(device, monkeypatch):
    there = "value;\n  __syncthreads();\n  Number sum"
    other_kernel(device, monkeypatch, there, there.replace("  __syncthreads();\n", ""))
    usual = MatchingKernels.aggregate
    turns = iter(device.cupy.ORDERS * 1000)

    def in_turn(self, *arguments, **options):
        monkeypatch.setattr(device.cupy, "order", next(turns))
        usual(self, *arguments, **options)

    monkeypatch.setattr(MatchingKernels, "aggregate", in_turn)
    return "different results"


def streams_do_not_wait(device, monkeypatch):
    usual, usual_push = cuda.between_events, RollingInspector.push
    pushed = []  # where a bundle is opened it is seen as well

    def push(self, frame):
        pushed.append(frame)
        made = usual_push(self, frame)
        pushed.pop()
        device.cupy._later.clear()  # what it would be written to is gone
        return made

    def between(*streams):
        return nullcontext() if pushed else usual(*streams)

    monkeypatch.setattr(RollingInspector, "push", push)
    monkeypatch.setattr(provider, "between_events", between)
    return "CuPy's usual stream: 0 scores, not"


def scores_are_off(device, monkeypatch):
    usual = CudaStore.averages

    def scaled(self, *arguments, **options):
        made = usual(self, *arguments, **options)
        made *= np.float32(1.05)
        return made

    monkeypatch.setattr(CudaStore, "averages", scaled)
    return "scores off the CPU's"


def memory_grows(device, monkeypatch):
    kept = []
    usual = CudaStore.answers

    def keeping(self, *arguments):
        kept.append(device.cupy.zeros(9, dtype=np.float32))
        return usual(self, *arguments)

    monkeypatch.setattr(CudaStore, "answers", keeping)
    return "bytes in use grow"


def a_slow_product(device, monkeypatch):
    monkeypatch.setitem(device.cupy.pace, "fused_keys", 1.0)
    return "of cuBLAS's rate"


def uneven_frames(device, monkeypatch):
    usual, number = MatchingKernels.aggregate, iter(range(10**6))

    def sometimes(self, *arguments, **options):
        device.cupy.clock += 9.0 * (next(number) % 12 == 0)
        usual(self, *arguments, **options)

    monkeypatch.setattr(MatchingKernels, "aggregate", sometimes)
    return "frames are uneven"


def a_slow_start(device, monkeypatch):
    monkeypatch.setattr(rates, "run", lambda *_, **__: started(7.0))
    return "second start, seconds: 7"


FAULTS = {
    "provider": [on_the_cpu, other_tokens],
    "attributes": [too_many_registers, spills, one_block],
    "keys": [hidden_patches_are_matched, a_column_is_left_out],
    "forms": [norms_are_too_long],
    "copies": [near_ones_stay],
    "repeats": [a_barrier_is_missing],
    "streams": [streams_do_not_wait],
    "line": [scores_are_off, memory_grows],
    "rates": [a_slow_product, uneven_frames, a_slow_start],
}


@pytest.mark.parametrize("name", FAULTS)
def test_an_assertion_holds(device, name):
    found = run(device, name)
    assert found.failures == []
    assert found.rows


@pytest.mark.parametrize(
    ("name", "fault"), [(name, fault) for name, faults in FAULTS.items() for fault in faults]
)
def test_an_assertion_fails(device, monkeypatch, name, fault):
    told = fault(device, monkeypatch)
    found = run(device, name)
    assert any(told in failure for failure in found.failures), found.failures


def watching(folder, monkeypatch, script=""):
    """Put a program called compute-sanitizer in the way, which runs what it is given."""
    program = folder / "compute-sanitizer"
    program.write_text(
        "#!/bin/sh\n"
        'while [ "$1" != "5" ]; do shift; done; shift\n'  # after --print-limit 5
        f'{script}\n"$@" || exit $?\necho "========= ERROR SUMMARY: 0 errors"\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr(sanitizer, "program", lambda: str(program))
    monkeypatch.setattr(sanitizer, "TOOLS", ("memcheck",))


def test_the_sanitizer_watches_the_kernels(device, monkeypatch, tmp_path):
    watching(tmp_path, monkeypatch)
    found = run(device, "sanitizer")
    assert found.failures == []
    assert found.rows[0].note == "ERROR SUMMARY: 0 errors"


BEYOND = """
import zeroline.runtime.matching.launches as launches
usual = launches.kernel_source
there = "column < patches ? half_bank[base + column]"
launches.kernel_source = lambda *given: usual(*given).replace(there, "true" + there[16:])
"""


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ('echo "========= ERROR SUMMARY: 3 errors"; exit 9', "memcheck: ERROR SUMMARY: 3 errors"),
        ('echo "========= ERROR SUMMARY: 0 errors"; exit 0', "memcheck: the kernels did not run"),
        ("echo no driver >&2; exit 1", "memcheck: exit code 1: no driver"),
        ("PYTHONPATH={fault}:$PYTHONPATH; export PYTHONPATH", "memcheck: exit code 139"),
    ],
    ids=["errors", "nothing ran", "cannot run", "read beyond an array"],
)
def test_the_sanitizer_fails(device, monkeypatch, tmp_path, script, told):
    """In the stand-in the pages round each array see the last fault, as memcheck would."""
    (tmp_path / "sitecustomize.py").write_text(BEYOND)
    watching(tmp_path, monkeypatch, script.format(fault=tmp_path))
    assert run(device, "sanitizer").failures[0].startswith(told)


def test_without_the_sanitizer_its_assertion_fails(device):
    (failure,) = run(device, "sanitizer").failures
    assert failure.startswith("compute-sanitizer is not found: it is part of CUDA's toolkit")


def test_the_page_has_each_assertion():
    page = (ROOT / "docs" / "gpu.md").read_text(encoding="utf-8")
    table = page.partition("| part | what it asserts |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `([a-z-]+)` \|", table, flags=re.MULTILINE) == NAMES


def test_each_assertion_has_a_fault():
    assert {*FAULTS, "sanitizer"} == set(NAMES)
    assert len(NAMES) == len(FAULTS) + 1 == 10


def test_kernels_are_timed(device):
    found = run(device, "kernel-times")
    assert found.failures == []
    (times,) = found.data["shapes"].values()
    others = {"LNAMD", "measure", "place_distances", "scores", "put"}
    assert set(times) == {"fused_keys", *others}
    assert all(ms > 0 for ms in times.values())


def test_frames_are_timed_from_picture_to_verdict(device):
    """Without CUPTI, or a driver, calls are not counted; nothing fails for that."""
    found = run(device, "frames-cuda")
    assert found.failures == []
    (line,) = (found.data[name] for name in found.data)
    assert line["providers"][0] == "CUDAExecutionProvider"
    assert {"network", "match", "score", "verdict"} <= set(line["stages_ms"])
    assert "CUPTI" in found.rows[-1].figure


SMALL_PARTS = (
    Part("attributes", "kernels", "registers"),
    Part("forms", "forms", "forms agree"),
)


def test_all_parts_in_one_table_and_one_file(device, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(check, "PARTS", SMALL_PARTS)
    output = tmp_path / "check.json"
    assert check.main(["--small", "--output", str(output)]) == 0
    printed = capsys.readouterr().out
    assert "2 of 2 assertions held" in printed
    assert "registers of fused_keys" in printed
    report = json.loads(output.read_text())
    assert [part["name"] for part in report["parts"]] == ["attributes", "forms"]
    assert all(part["held"] and part["ran"] for part in report["parts"])
    assert report["machine"]["device"] == "Stand-in"
    assert {"begun", "before", "after", "machine", "parts"} == set(report)


def ended(kind, tmp_path, monkeypatch):
    """A part whose process ends in some way: another module of this name."""
    package = tmp_path / "benchmarks" / "gpu_check"
    package.mkdir(parents=True)
    (package / "__main__.py").write_text(f"import os, sys, time\n{kind}\n")
    monkeypatch.setattr(processes, "ROOT", tmp_path)
    return processes.run_part(Part("forms", "forms", "forms agree", seconds=1), small=True)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("os.abort()", "ended by SIGABRT: it says nothing"),
        ("sys.exit('no memory')", "exit code 1: no memory"),
        ("time.sleep(60)", "not finished after 1 s"),
        ("", "it ended without a result"),
        ("open(sys.argv[-2], 'w').write('{')", "it ended without a result"),
    ],
    ids=["crash", "error", "too long", "nothing", "half a result"],
)
def test_a_process_that_does_not_end_well_fails(tmp_path, monkeypatch, kind, told):
    outcome = ended(kind, tmp_path, monkeypatch)
    assert (outcome.ran, outcome.held, outcome.failures) == (False, False, (told,))


def test_one_part_that_fails_is_the_exit_code(device, monkeypatch, tmp_path, capsys):
    fault = tmp_path / "sitecustomize.py"
    fault.write_text("import cupy\ncupy.occupancy = 1\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(STAND_INS)]))
    monkeypatch.setattr(check, "PARTS", SMALL_PARTS)
    assert check.main(["--small", "--output", str(tmp_path / "check.json")]) == 1
    printed = capsys.readouterr().out
    assert "1 of 2 assertions held" in printed
    assert "blocks of fused_keys on a multiprocessor: 1, at least 2 is expected" in printed


def test_a_file_that_cannot_be_written_is_told_first(device, tmp_path, capsys):
    assert check.main(["--small", "--output", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f'Error: "{tmp_path}" cannot be written: Is a directory\n'


def test_calls_within_calls_are_counted_once():
    nesting = calls.Nesting()
    for enters, name in (
        (True, "cudaLaunchKernel_v7000"), (True, "cuLaunchKernel"), (False, "cuLaunchKernel"),
        (False, "cudaLaunchKernel_v7000"),
        (True, "cuStreamSynchronize"), (False, "cuStreamSynchronize"),
        (True, "cuMemcpyHtoDAsync_v2"), (False, "cuMemcpyHtoDAsync_v2"),
        (True, "cuMemAlloc_v2"), (False, "cuMemAlloc_v2"),
    ):  # fmt: skip
        nesting.see(enters=enters, name=name)
    assert nesting.kinds() == {"launches": 1, "waits": 1, "copies": 1}


def test_without_a_gpu_it_ends_with_1_and_one_line(tmp_path):
    (tmp_path / "cupy.py").write_text("raise ImportError('libcuda.so.1: not found')")
    path = os.pathsep.join([str(tmp_path), str(ROOT / "src")])
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gpu_check"], check=False, capture_output=True,
        text=True, cwd=ROOT,
        env=os.environ | {"PYTHONPATH": path, "CUPY_CACHE_DIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == (
        "Error: CuPy is installed and cannot be imported: libcuda.so.1: not found\n"
    )


def test_a_compiler_without_headers_is_no_gpu(cupy_stand_in, monkeypatch):
    """CuPy's CompileException is a plain Exception: all tests ended in errors."""

    class CompileError(Exception):
        pass

    def failing(_):
        raise CompileError("cuda_fp16.h: no such file")

    assert has_gpu()
    monkeypatch.setattr(cupy_stand_in, "arange", failing)
    assert not has_gpu()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("def test_right():\n    pass", None),
        ("def test_wrong():\n    assert False", "1 failed"),
        ("", "no tests ran"),
        ("import nothing_of_this_name", "1 error"),
        (
            "import pytest\ndef test_right():\n    pass\n"
            "def test_cupy():\n    pytest.skip('CuPy with a working GPU is not here')",
            "tests with CuPy were skipped; 1 passed, 1 skipped",
        ),
        ("import time\ntime.sleep(60)", "not finished after 3 s"),
    ],
)
def test_only_numerical_tests_that_ran_and_held_count(tmp_path, monkeypatch, content, told):
    """All but the first once gave the exit code 0."""
    (tmp_path / "tests" / "runtime").mkdir(parents=True)
    (tmp_path / "tests" / "runtime" / "test_one.py").write_text(content)
    for module in (numerical, processes):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(numerical, "FILES", ("test_one.py",))
    monkeypatch.setattr(numerical, "SECONDS", 3.0 if "sleep" in content else 60.0)
    found = Findings()
    numerical.tests(None, SMALL, found)
    assert [failure.startswith(told or "") for failure in found.failures] == [True] * bool(told)
