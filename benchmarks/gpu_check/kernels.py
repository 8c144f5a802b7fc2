"""Assertion 2: what the compiler made of the kernels fits a multiprocessor as it is meant to."""

from __future__ import annotations

from typing import Any

from benchmarks.gpu_check.findings import Findings
from benchmarks.gpu_check.sizes import Sizes

#: Registers of a thread of fused_keys: two blocks of 256 threads share 65,536.
MOST_REGISTERS = 128
_THREADS = 256
_BLOCKS = 2


def attributes(cupy: Any, sizes: Sizes, found: Findings) -> None:  # noqa: ARG001
    """Look at each kernel's registers, local and shared memory, and at the blocks side by side."""
    from zeroline.runtime.matching.launches import matching_kernels

    kernels = matching_kernels(cupy)
    for name, kernel in kernels.by_name.items():
        registers, local = int(kernel.num_regs), int(kernel.local_size_bytes)
        found.row(
            name,
            f"{registers} registers, {local} bytes spilt",
            f"{int(kernel.shared_size_bytes)} bytes of shared memory",
        )
        found.hold(local == 0, f"{name} spills: {local} bytes of local memory")
    fused = kernels.by_name["fused_keys"]
    found.at_most("registers of fused_keys", int(fused.num_regs), MOST_REGISTERS)
    blocks = cupy.cuda.driver.occupancyMaxActiveBlocksPerMultiprocessor(
        fused.kernel.ptr, _THREADS, 0
    )
    found.at_least("blocks of fused_keys on a multiprocessor", int(blocks), _BLOCKS)
